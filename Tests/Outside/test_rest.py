# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""REST with plain HTTP: one message, a stream of lines, pools, operation, and every way to be refused."""

import base64
import json
import re
import uuid

import pytest
import requests
from conftest import wait_until
from errors import assert_problem

PATH = "/v1/pools/emails.fifo/messages"
NDJSON = {"Content-Type": "application/x-ndjson"}


def received(server, group):
    """Messages of the group, whatever else is in the pool."""
    return [m for m in server.drain("emails.fifo") if m["Attributes"]["MessageGroupId"] == group]


def test_a_message_is_accepted_and_comes_out_through_sqs(server, name):
    answer = server.post(PATH, json={"group": name, "body": "grüße ✓"})
    assert answer.status_code == 202
    assert answer.headers["Content-Type"].startswith("application/json")
    sent = answer.json()
    assert set(sent) == {"id", "shard", "sequenceNumber", "duplicate"}
    uuid.UUID(sent["id"])
    assert re.fullmatch(r"emails-000[0-7]\.fifo", sent["shard"])
    assert re.fullmatch(r"\d{20}", sent["sequenceNumber"])
    assert sent["duplicate"] is False
    message = received(server, name)[0]
    assert (message["Body"], message["MessageId"]) == ("grüße ✓", sent["id"])


def test_a_repeated_deduplication_id_is_answered_with_the_first_message(server, name):
    first = server.send("emails.fifo", name, "one", deduplicationId="d")
    again = server.send("emails.fifo", name, "two", deduplicationId="d")
    assert again["duplicate"] is True
    assert (again["id"], again["shard"]) == (first["id"], first["shard"])
    assert [m["Body"] for m in received(server, name)] == ["one"]


def test_without_a_deduplication_id_equal_messages_are_two(server, name):
    for _ in range(2):
        server.send("emails.fifo", name, "same")
    assert len(received(server, name)) == 2


def test_attributes_of_every_kind_arrive(server, name):
    server.send("emails.fifo", name, "x", attributes={
        "text": "t", "number": 12.5, "labelled": {"type": "Number.int", "value": "7"},
        "binary": {"type": "Binary", "value": base64.b64encode(b"\0\xff").decode()}})
    attributes = received(server, name)[0]["MessageAttributes"]
    assert attributes["text"] == {"DataType": "String", "StringValue": "t"}
    assert attributes["number"] == {"DataType": "Number", "StringValue": "12.5"}
    assert attributes["labelled"] == {"DataType": "Number.int", "StringValue": "7"}
    assert attributes["binary"] == {"DataType": "Binary", "BinaryValue": base64.b64encode(b"\0\xff").decode()}


@pytest.mark.parametrize("message, field", [
    ({"body": "x"}, "group"), ({"group": "g"}, "body"), ({"group": "g", "body": ""}, "body"),
    ({"group": "", "body": "x"}, "group"), ({"group": "x" * 129, "body": "x"}, "group"),
    ({"group": "a b", "body": "x"}, "group"), ({"group": 1, "body": "x"}, "group"),
    ({"group": "g", "body": ["x"]}, "body"), ({"group": "g", "body": "a\u0000"}, "body"),
    ({"group": "g", "body": "x", "deduplicationId": ""}, "deduplicationId"),
    ({"group": "g", "body": "x", "deduplicationId": "ü"}, "deduplicationId"),
    ({"group": "g", "body": "x", "delaySeconds": 5}, "delaySeconds"),
    ({"group": "g", "body": "x", "delaySeconds": "0"}, "delaySeconds"),
    ({"group": "g", "body": "x", "atributes": {}}, "message"),
    ({"group": "g", "body": "x", "attributes": []}, "attributes")])
def test_a_wrong_field_is_named(server, message, field):
    problem = assert_problem(server.post(PATH, json=message), 400, field)
    assert "xxxxxxxxxx" not in json.dumps(problem), "a value must not come back"


@pytest.mark.parametrize("attributes", [
    {"a": None}, {"a": True}, {"a": {"type": "String"}}, {"a": {"type": "Thing", "value": "x"}}, {"AWS.a": "x"},
    {"a": ""}, {"b": {"type": "Binary", "value": "not base64!"}}, {f"a{i}": "x" for i in range(11)}])
def test_a_wrong_attribute_is_refused(server, attributes):
    problem = assert_problem(server.post(PATH, json={"group": "g", "body": "x", "attributes": attributes}), 400)
    assert problem["field"].startswith("attributes")


def test_what_is_no_message_is_refused(server):
    for body in ("", "{", "[]", "null", '"text"', '{"group":"g","body":"x"} trailing', '{"group":"g","body":"\\ud800"}'):
        assert_problem(server.post(PATH, data=body, headers={"Content-Type": "application/json"}), 400)


def test_the_request_itself_may_be_wrong(server):
    message = json.dumps({"group": "g", "body": "x"})
    assert_problem(server.post(PATH, data=message, headers={"Content-Type": "text/plain"}), 415)
    assert_problem(server.post(PATH, data=message), 415)
    assert_problem(server.post("/v1/pools/absent.fifo/messages", json={"group": "g", "body": "x"}), 404)
    assert_problem(server.get("/v1/nothing"), 404)
    for method, path in (("GET", PATH), ("PUT", PATH), ("DELETE", "/v1/pools"), ("POST", "/healthz"),
                         ("PUT", "/v1/pools/emails.fifo")):
        answer = requests.request(method, server.url + path, timeout=10)
        assert_problem(answer, 405)
        assert answer.headers["Allow"]


def test_a_charset_in_the_content_type_and_a_chunked_body_are_fine(server, name):
    message = json.dumps({"group": name, "body": "x"}).encode()
    type = {"Content-Type": "application/json; charset=utf-8"}
    assert server.post(PATH, data=message, headers=type).status_code == 202
    assert server.post(PATH, data=iter([message[:5], message[5:]]), headers=type).status_code == 202


# Streams


def results(answer):
    assert answer.status_code == 200, answer.text[:300]
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def test_thousands_of_lines_are_answered_in_order_and_stored_in_order(servers):
    server = servers(pools=("emails.fifo=4",))
    count, groups = 20_000, 50

    def lines():
        for start in range(0, count, 500):
            yield "".join(json.dumps({"group": f"g{i % groups}", "body": str(i)}) + "\n"
                          for i in range(start, start + 500)).encode()

    rows = results(server.post(PATH, data=lines(), headers=NDJSON))
    assert [row["line"] for row in rows] == list(range(1, count + 1))
    assert all(row["duplicate"] is False for row in rows)
    assert len({row["id"] for row in rows}) == count
    last = {}
    for message in server.drain("emails.fifo"):
        group, number = message["Attributes"]["MessageGroupId"], int(message["Body"])
        assert number == last.get(group, int(group[1:]) - groups) + groups, "in order and complete"
        last[group] = number
    assert len(last) == groups and all(number >= count - groups for number in last.values())


def test_a_spoilt_line_is_told_and_the_others_are_sent(server, name):
    good = json.dumps({"group": name, "body": "x"})
    other = json.dumps({"group": name + "-other"})
    body = "\n".join([good, "{", other, good + "\r", '"text"', good])
    rows = results(server.post(PATH, data=body, headers=NDJSON))
    assert [row["line"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert ["error" in row for row in rows] == [False, True, True, False, True, False]
    error = rows[2]["error"]
    assert (error["status"], error["field"]) == (400, "body") and error["title"] and error["type"]
    assert len(received(server, name)) == 3


def test_a_line_longer_than_any_message_does_not_end_the_stream(server, name):
    good = json.dumps({"group": name, "body": "x"})
    body = good + "\n" + json.dumps({"group": name, "body": "y" * 20_000_000}) + "\n" + good + "\n"
    rows = results(server.post(PATH, data=body, headers=NDJSON))
    assert ["error" in row for row in rows] == [False, True, False]
    assert len(received(server, name)) == 2


def test_an_empty_stream_has_an_empty_answer(server):
    assert results(server.post(PATH, data="", headers=NDJSON)) == []


def test_results_come_while_the_stream_goes_on(server, name):
    """Constant memory on both sides: the first answers are read before the last lines are sent."""
    import http.client
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("POST", PATH)
    connection.putheader("Content-Type", "application/x-ndjson")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    line = (json.dumps({"group": name, "body": "x"}) + "\n").encode()
    chunk = b"%x\r\n%s\r\n" % (len(line), line)
    connection.send(chunk)
    answer = connection.getresponse()
    assert json.loads(answer.readline())["line"] == 1
    connection.send(chunk)
    assert json.loads(answer.readline())["line"] == 2
    connection.send(b"0\r\n\r\n")
    assert answer.read() == b""
    connection.close()


# Pools


def test_pools_are_made_listed_shown_and_purged(server, name):
    pool = name + ".fifo"
    made = server.post("/v1/pools", json={"name": pool, "shards": 3})
    assert made.status_code == 201, made.text
    assert [s["name"] for s in made.json()["shards"]] == [f"{name}-{i:04d}.fifo" for i in range(3)]
    assert server.post("/v1/pools", json={"name": pool, "shards": 3}).status_code == 200
    assert_problem(server.post("/v1/pools", json={"name": pool, "shards": 4}), 409)
    server.send(pool, "g", "x")
    shown = server.pool(pool)
    assert (shown["epoch"], shown["backlog"], shown["quota"]) == (1, 1, None)
    assert sum(s["slots"] for s in shown["shards"]) == 16_384
    assert max(s["slots"] for s in shown["shards"]) - min(s["slots"] for s in shown["shards"]) <= 1
    assert sum(s["backlog"] for s in shown["shards"]) == 1
    assert shown["deadLetterQueue"] == f"{name}-dlq.fifo"
    row = [p for p in server.get("/v1/pools").json()["pools"] if p["name"] == pool][0]
    assert (row["shards"], row["backlog"], row["inFlight"]) == (3, 1, 0)
    assert server.post(f"/v1/pools/{pool}/purge").json() == {"purged": 1}
    assert server.pool(pool)["backlog"] == 0


@pytest.mark.parametrize("body, field", [
    ({"name": "x", "shards": 1}, "name"), ({"name": "a b.fifo", "shards": 1}, "name"), ({"shards": 1}, "name"),
    ({"name": "x.fifo", "shards": 0}, "shards"), ({"name": "x.fifo", "shards": 257}, "shards"),
    ({"name": "x.fifo"}, "shards"), ({"name": "x.fifo", "shards": 1, "quota": 0}, "quota"),
    ({"name": "x.fifo", "shards": 1, "color": "red"}, "pool")])
def test_a_pool_with_a_wrong_field_is_not_made(server, body, field):
    assert_problem(server.post("/v1/pools", json=body), 400, field)


def test_a_name_of_a_shard_cannot_be_a_pool(server):
    assert_problem(server.post("/v1/pools", json={"name": "emails-0000.fifo", "shards": 1}), 409)


# Operation


def test_health_and_readiness(server):
    for path in ("/healthz", "/readyz"):
        answer = server.get(path)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain")


def metric(server, name, **labels):
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in server.get("/metrics").text.splitlines()
             if line.startswith(name + "{") and all(label in line for label in wanted)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_metrics_are_prometheus_text(server, name):
    answer = server.get("/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    types, seen = {}, set()
    for line in answer.text.splitlines():
        if line.startswith("# TYPE "):
            _, _, series, kind = line.split(" ")
            assert series not in types, f"{series} is declared twice"
            types[series] = kind
        elif not line.startswith("# HELP "):
            match = re.fullmatch(r'([a-z_]+)(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? (-?[0-9.e+]+)', line)
            assert match, line
            assert match[1] in types, f"{match[1]} has no TYPE"
            assert match[1].endswith("_total") == (types[match[1]] == "counter"), line
            assert match[1] + (match[2] or "") not in seen, "a row is there twice"
            seen.add(match[1] + (match[2] or ""))


def test_metrics_count_what_happens(server, name):
    pool = name + ".fifo"
    server.post("/v1/pools", json={"name": pool, "shards": 2})
    server.send(pool, "g", "x", deduplicationId="1")
    server.send(pool, "g", "x", deduplicationId="1")
    assert metric(server, "queuepool_sent_messages_total", pool=pool) == 1
    assert metric(server, "queuepool_duplicate_messages_total", pool=pool) == 1
    assert metric(server, "queuepool_backlog_messages", pool=pool) == 1
    server.drain(pool)
    assert metric(server, "queuepool_deleted_messages_total", pool=pool) == 1
    wait_until(lambda: metric(server, "queuepool_backlog_messages", pool=pool) == 0)


def test_the_console_is_a_page_that_loads_nothing_from_elsewhere(server):
    page = server.get("/")
    assert page.headers["Content-Type"].startswith("text/html")
    assert "queuepool" in page.text
    assert not re.findall(r'(?:src|href)="https?://', page.text)
