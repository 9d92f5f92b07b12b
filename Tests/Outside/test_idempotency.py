# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The header Idempotency-Key over REST: one key a pool stands for one request."""

import http.client
import json
import sqlite3
import threading

import pytest
import requests

from conftest import run, wait_until
from errors import assert_problem

EMAIL = {"from": "shop@example.com", "to": "ada@example.com", "subject": "Hello", "text": "It works."}
MESSAGE = {"group": "g", "body": "hello"}
BODIES = {"messages": [MESSAGE, {"group": "h", "body": "hello"}, {"group": "g", "body": "another"}],
          "emails": [EMAIL, {**EMAIL, "to": "bob@example.com"}, {**EMAIL, "text": "Another."}]}


def post(server, kind, body, key, pool="emails.fifo"):
    data = body if isinstance(body, (str, bytes)) else json.dumps(body)
    return server.post(f"/v1/pools/{pool}/{kind}", data=data, headers={
        "Content-Type": "application/json", "Idempotency-Key": key})


def assert_replayed(answer, first):
    assert answer.status_code == first.status_code == 202, answer.text
    assert answer.headers["Idempotent-Replayed"] == "true"
    assert answer.content == first.content and answer.headers["Content-Type"] == first.headers["Content-Type"]


@pytest.fixture(params=["messages", "emails"])
def kind(request):
    return request.param


def test_the_same_request_gets_the_first_answer_and_another_one_is_refused(server, kind, name):
    body, *others = BODIES[kind]
    first = post(server, kind, body, name)
    assert first.status_code == 202 and first.json()["duplicate"] is False
    assert "Idempotent-Replayed" not in first.headers
    for key in (name, f'"{name}"'):
        assert_replayed(post(server, kind, body, key), first)
    # Of the same group, of another group, the same values in another form, and one that is not valid.
    for other in (*others, json.dumps(body) + " ", "{"):
        problem = assert_problem(post(server, kind, other, name), 422, "Idempotency-Key")
        assert problem["type"].endswith(":idempotency-key-reused") and name not in problem["detail"]
    assert_replayed(post(server, kind, body, name), first)
    assert len(server.drain("emails.fifo")) == 1


def test_a_key_is_one_for_both_kinds_and_one_in_each_pool(server, name):
    assert post(server, "messages", MESSAGE, name).status_code == 202
    assert_problem(post(server, "emails", EMAIL, name), 422, "Idempotency-Key")
    server.boto().create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})
    other = post(server, "messages", BODIES["messages"][2], name, pool=name + ".fifo")
    assert other.status_code == 202 and other.json()["duplicate"] is False
    server.drain("emails.fifo")


def test_a_pool_made_anew_has_other_keys(server, name):
    for body in BODIES["messages"][:2]:
        assert server.post("/v1/pools", json={"name": name + ".fifo", "shards": 1}).status_code == 201
        assert post(server, "messages", body, name, pool=name + ".fifo").json()["duplicate"] is False
        assert requests.delete(f"{server.url}/v1/pools/{name}.fifo", timeout=30).status_code == 204


def test_the_messages_deduplication_id_is_its_own_or_the_key(server, name):
    long = name * 19
    post(server, "messages", MESSAGE, name)
    post(server, "messages", {**MESSAGE, "deduplicationId": name + "-own"}, name + "-2")
    post(server, "messages", MESSAGE, long)
    post(server, "messages", MESSAGE, name + " with spaces")
    ids = [m["Attributes"]["MessageDeduplicationId"] for m in server.drain("emails.fifo")]
    assert ids[:2] == [name, name + "-own"] and {len(id) for id in ids[2:]} == {64}


@pytest.mark.parametrize("key", ["", '""', '"open', '"a"b', "x" * 256, "caf\u00e9", "a\tb"])
def test_what_is_no_key_is_refused_without_its_value(server, kind, key):
    answer = server.post(f"/v1/pools/emails.fifo/{kind}", data=json.dumps(BODIES[kind][0]).encode(), headers={
        "Content-Type": "application/json", "Idempotency-Key": key.encode("latin-1")})
    problem = assert_problem(answer, 400, "Idempotency-Key")
    assert "255" in problem["detail"] and "xxx" not in problem["detail"]


def test_two_keys_are_refused(server, kind, name):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    body = json.dumps(BODIES[kind][0])
    connection.putrequest("POST", f"/v1/pools/emails.fifo/{kind}")
    for header, value in (("Content-Type", "application/json"), ("Content-Length", len(body)),
                          ("Idempotency-Key", name), ("Idempotency-Key", name)):
        connection.putheader(header, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    assert answer.status == 400 and json.load(answer)["field"] == "Idempotency-Key"


def test_a_stream_of_messages_has_no_key(server, name):
    answer = server.post("/v1/pools/emails.fifo/messages", data=json.dumps(MESSAGE) + "\n", headers={
        "Content-Type": "application/x-ndjson", "Idempotency-Key": name})
    assert "deduplicationId" in assert_problem(answer, 400, "Idempotency-Key")["detail"]
    assert server.drain("emails.fifo") == []


def test_a_request_that_was_refused_leaves_its_key_free(server, kind, name):
    for wrong in ("{", {**BODIES[kind][0], "grup": "g"}, {}):
        assert_problem(post(server, kind, wrong, name), 400)
    assert post(server, kind, BODIES[kind][0], name).json()["duplicate"] is False
    server.drain("emails.fifo")


def test_a_request_under_way_is_told_so_and_its_answer_kept_though_its_client_is_gone(servers, name):
    server = servers("--inject-latency-ms", "1500")
    started = threading.Barrier(6)
    answers = []

    def send():
        started.wait()
        answers.append(requests.post(f"{server.url}/v1/pools/emails.fifo/messages", json=MESSAGE, timeout=20, headers={
            "Idempotency-Key": name}))

    threads = [threading.Thread(target=send) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status_code for a in answers) == [202] + [409] * 5
    for answer in answers:
        if answer.status_code == 409:
            problem = assert_problem(answer, 409, "Idempotency-Key")
            assert problem["type"].endswith(":idempotency-key-in-use") and int(answer.headers["Retry-After"]) >= 1
    # One that does not wait for its answer finds it later.
    with pytest.raises(requests.Timeout):
        requests.post(f"{server.url}/v1/pools/emails.fifo/messages", json=MESSAGE, timeout=0.5, headers={
            "Idempotency-Key": name + "-2"})
    answers = []
    wait_until(lambda: answers.append(post(server, "messages", MESSAGE, name + "-2")) or answers[-1].status_code != 409,
               what="the end of the request")
    assert_replayed(answers[-1], answers[-1])
    assert answers[-1].json()["duplicate"] is False


def test_a_failure_is_not_replayed(servers, name):
    server = servers("--inject-error-rate", "0.5")
    bodies = set()
    for number in range(30):
        key = f"{name}-{number}"
        failures = 0
        while (answer := post(server, "messages", MESSAGE, key)).status_code == 500:
            assert "Idempotent-Replayed" not in answer.headers
            failures += 1
            assert failures < 60
        assert answer.status_code == 202 and answer.json()["duplicate"] is False
        bodies.add(answer.content)
        assert_replayed(post(server, "messages", MESSAGE, key), answer)
    assert len(bodies) == 30


def test_pools_of_queues_keep_keys_too(servers, tmp_path, moto, name):
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", moto, "--region", "us-east-1"]
    run("pool", "create", name + ".fifo", "--backend", "sqs", "--shards", 2, *control, check=0)
    server = servers(*control, pools=())
    first = post(server, "messages", MESSAGE, name, pool=name + ".fifo")
    assert first.status_code == 202, first.text
    assert_replayed(post(server, "messages", MESSAGE, name, pool=name + ".fifo"), first)
    for other in BODIES["messages"][1:]:
        assert_problem(post(server, "messages", other, name, pool=name + ".fifo"), 422)


@pytest.mark.parametrize("seconds", ["299", "0", "x", "604801"])
def test_the_window_has_bounds(tmp_path, seconds):
    done = run("serve", "--data-dir", tmp_path, "--idempotency-window-seconds", seconds)
    assert done.returncode != 0 and "server.idempotency-window-seconds" in done.stderr


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_answers_are_known_after_a_restart(servers, kind, name, end):
    first_server = servers()
    body, *others = BODIES[kind]
    firsts = [post(first_server, kind, body, f"{name}-{i}") for i in range(20)]
    getattr(first_server, end)()
    server = servers()
    for i, first in enumerate(firsts):
        assert_replayed(post(server, kind, body, f"{name}-{i}"), first)
    for other in others:
        assert_problem(post(server, kind, other, f"{name}-0"), 422)
    assert post(server, kind, body, name + "-new").json()["duplicate"] is False


def test_without_its_file_a_server_still_knows_the_message(servers, kind, name):
    first_server = servers()
    body = BODIES[kind][0]
    first = post(first_server, kind, body, name)
    first_server.kill9()
    for file in first_server.data.glob("idempotency.sqlite*"):
        file.unlink()
    again = post(servers(), kind, body, name)
    assert "Idempotent-Replayed" not in again.headers
    assert again.json() == {**first.json(), "duplicate": True}


def test_old_keys_leave_the_file(servers, name):
    """Beyond 1 MiB of keys the oldest go, from memory and from the file."""
    server = servers("--idempotency-bytes-max", "1048576")
    count = 4000

    def send(start):
        session = requests.Session()
        for i in range(start, count, 8):
            answer = session.post(f"{server.url}/v1/pools/emails.fifo/messages", timeout=30, headers={
                "Idempotency-Key": f"{name}-{i}"}, json={"group": f"g{i}", "body": "x"})
            assert answer.status_code == 202, answer.text

    threads = [threading.Thread(target=send, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers = [post(server, "messages", {"group": f"g{i}", "body": "x"}, f"{name}-{i}") for i in (0, count - 1)]
    assert [a.headers.get("Idempotent-Replayed") for a in answers] == [None, "true"]
    assert answers[0].json()["duplicate"] is True, "the shard knows it yet"
    server.stop()
    file = sqlite3.connect(server.data / "idempotency.sqlite")
    assert 2000 < file.execute("SELECT count(*) FROM keys").fetchone()[0] < 3000
    assert name.encode() not in b"".join(f.read_bytes() for f in server.data.glob("idempotency.sqlite*"))
    file.close()


def test_a_file_of_a_later_version_stops_the_start(servers):
    server = servers()
    server.stop()
    file = sqlite3.connect(server.data / "idempotency.sqlite")
    file.execute("PRAGMA user_version = 99")
    file.close()
    done = run("serve", "--listen", "127.0.0.1:0", "--data-dir", server.data, timeout=20)
    assert done.returncode != 0 and "idempotency.sqlite" in done.stderr and "version 99" in done.stderr
