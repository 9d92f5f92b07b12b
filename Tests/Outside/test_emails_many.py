# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Many emails in one request: arrays and streams."""

import json

import pytest
from errors import assert_problem

EMAIL = {"from": "Shop <shop@example.com>", "to": "ada@example.com", "subject": "Hello", "text": "Hello"}
SENT = {"id", "shard", "sequenceNumber", "duplicate"}
STREAM = {"Content-Type": "application/x-ndjson"}


@pytest.fixture
def pool(server, name):
    server.post("/v1/pools", json={"name": name + ".fifo", "shards": 4})
    return name + ".fifo"


def email(subject, **more):
    return {**EMAIL, "subject": subject, **more}


def post(server, pool, emails, query="", **options):
    return server.post(f"/v1/pools/{pool}/emails{query}", json=emails, **options)


def stream(server, pool, lines):
    answer = server.post(f"/v1/pools/{pool}/emails", data="".join(line + "\n" for line in lines), headers=STREAM)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


def results(answer):
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"results"}
    return answer.json()["results"]


def subjects(server, pool):
    """Of what is stored, by group."""
    stored = {}
    for message in server.drain(pool):
        assert message["MessageAttributes"]["Content-Type"]["StringValue"] == "application/vnd.queuepool.email+json"
        stored.setdefault(message["Attributes"]["MessageGroupId"], []).append(json.loads(message["Body"])["subject"])
    return stored


def test_an_array_is_answered_in_its_order(server, pool):
    emails = [email(str(i), group=f"g{i % 7}") for i in range(1_000)]
    answers = results(post(server, pool, emails))
    assert len(answers) == 1_000 and all(set(result) == SENT for result in answers)
    assert len({result["id"] for result in answers}) == 1_000
    assert subjects(server, pool) == {f"g{g}": [str(i) for i in range(g, 1_000, 7)] for g in range(7)}
    assert results(post(server, pool, [])) == []


def test_each_email_of_an_array_has_its_own_answer(server, pool):
    emails = [email("0", group="a"), email("1", group="a", to="secret nobody"), email("2", group="b"), 7,
              email("4", group="a"), {**email("5"), "to": ["grace@example.com"], "typo": 1},
              email("6", to="grace@example.com"), email("7", to="Grace@Example.com", group="c")]
    answers = results(post(server, pool, emails))
    assert [result.get("error", {}).get("status") for result in answers] == [None, 400, None, 400, 424, 400, 424, None]
    assert answers[1]["error"]["field"] == "to" and "secret" not in json.dumps(answers)
    assert answers[3]["error"]["field"] == "email" and answers[5]["error"]["field"] == "email"
    assert subjects(server, pool) == {"a": ["0"], "b": ["2"], "c": ["7"]}


def test_strict_sends_all_or_nothing(server, pool):
    bad = [email(str(i), group="a", **({"from": "secret"} if i % 2 else {})) for i in range(50)]
    answer = post(server, pool, bad, "?mode=strict")
    problem = assert_problem(answer, 400)
    assert problem["field"] == "[1]" and "25 of 50" in problem["detail"]
    assert [fault["index"] for fault in problem["errors"]] == list(range(1, 21, 2)), "the first ten"
    assert problem["errors"][0]["error"]["field"] == "from" and "secret" not in answer.text
    assert server.pool(pool)["backlog"] == 0
    assert len(results(post(server, pool, bad[::2], "?mode=strict"))) == 25
    assert server.pool(pool)["backlog"] == 25
    assert len(results(post(server, pool, bad, "?mode=each"))) == 50


def test_an_array_has_bounds(server, pool):
    problem = assert_problem(post(server, pool, [email(str(i)) for i in range(1_001)]), 400)
    assert "1001" in problem["detail"] and "1000" in problem["detail"]
    assert problem["field"] == "emails"
    assert assert_problem(post(server, pool, [EMAIL], "?mode=all"), 400)["field"] == "mode"
    keyed = post(server, pool, [EMAIL], headers={"Idempotency-Key": "k"})
    assert assert_problem(keyed, 400)["field"] == "Idempotency-Key"
    for text, at in (('[{"from":1},]', 12), ('[{} {}]', 4), ('[{}', 3), ('[{}]x', 4), (' [{"a":1,"a":2}', 9)):
        answer = server.post(f"/v1/pools/{pool}/emails", data=text, headers={"Content-Type": "application/json"})
        problem = assert_problem(answer, 400)
        assert problem["type"].endswith("malformed-json") and f"at byte {at}" in problem["detail"], (text, problem)
    assert server.pool(pool)["backlog"] == 0


def test_a_stream_is_answered_line_by_line(server, pool):
    lines = [json.dumps(email(str(i), group=f"g{i % 7}")) for i in range(3_000)]
    answers = stream(server, pool, ["", *lines])
    assert [answer["line"] for answer in answers] == list(range(2, 3_002))
    assert all(set(answer) == SENT | {"line"} for answer in answers)
    assert subjects(server, pool) == {f"g{g}": [str(i) for i in range(g, 3_000, 7)] for g in range(7)}


def test_behind_a_line_that_fails_its_group_fails_and_no_other(server, pool):
    lines = [email("0"), email("1", html=7), email("2", to="grace@example.com"), email("3"),
             email("4", group="a", html=7), email("5", group="a"), email("6", group=7), email("7", group="b")]
    answers = stream(server, pool, [*map(json.dumps, lines), "no JSON", '{"to":"' + "x" * 2_097_152, json.dumps(lines[2])])
    assert [answer.get("error", {}).get("status") for answer in answers] == [
        None, 400, None, 424, 400, 424, 400, None, 400, 413, None]
    assert sorted(sum(subjects(server, pool).values(), [])) == ["0", "2", "2", "7"]


def test_lines_and_emails_have_deduplication_ids(server, pool, name):
    one = email("once", deduplicationId=name)
    answers = stream(server, pool, [json.dumps(one), json.dumps(one)]) + results(post(server, pool, [one]))
    assert [answer["duplicate"] for answer in answers] == [False, True, True]
    assert post(server, pool, one).json()["duplicate"] is True
    (message,) = server.drain(pool)
    assert message["Attributes"]["MessageDeduplicationId"] == name
    assert set(json.loads(message["Body"])) == {"from", "to", "subject", "text"}
    for wrong in ("", "a b", "x" * 129, 7):
        problem = assert_problem(post(server, pool, {**one, "deduplicationId": wrong}), 400)
        assert problem["field"] == "deduplicationId"


def test_a_stream_has_neither_key_nor_strictness(server, pool):
    keyed = {**STREAM, "Idempotency-Key": "k"}
    path = f"/v1/pools/{pool}/emails"
    assert assert_problem(server.post(path, data="{}\n", headers=keyed), 400)["field"] == "Idempotency-Key"
    assert assert_problem(server.post(path + "?mode=strict", data="{}\n", headers=STREAM), 400)["field"] == "mode"
    assert server.post(path + "?mode=each", data=json.dumps(EMAIL), headers=STREAM).status_code == 200
