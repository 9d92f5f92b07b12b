# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""How much a key may use: requests and bytes in a second, connections. Who is over a limit is told when to come again."""

import concurrent.futures
import json
import re
import socket
import time

import boto3
import pytest
from access_server import KeyServer
from botocore.config import Config
from botocore.exceptions import ClientError
from conftest import run, wait_until

QUEUE = "http://127.0.0.1/000000000000/emails.fifo"
PATH = "/v1/pools/emails.fifo/messages"
ALL = "emails.fifo:send,receive,admin,metrics"


class LimitServer(KeyServer):
    def limited(self, name, *flags, rule=ALL):
        made = json.loads(run("key", "create", name, "--allow", rule, *flags, *self.place, check=0).stdout)
        # Not by the key itself: that would use what it has.
        self.follows()
        return made

    def follows(self):
        """Waits until the server has read the keys as they are now: a key that is made now is known then."""
        probe = json.loads(run("key", "create", f"probe-{time.monotonic_ns()}", "--allow", "*:metrics", *self.place,
                               check=0).stdout)
        wait_until(lambda: self.rest(probe).get(self.url + "/v1/pools").status_code == 200, 10, "the keys")

    def count(self, limit):
        page = self.get("/metrics").text
        return int(re.search(rf'^queuepool_key_limited_total{{limit="{limit}"}} (\d+)$', page, re.MULTILINE)[1])

    def sent(self):
        page = self.get("/metrics").text
        return sum(int(n) for n in re.findall(r'^queuepool_sent_messages_total{pool="emails.fifo",.*} (\d+)$', page,
                                              re.MULTILINE))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = LimitServer(tmp_path_factory.mktemp("limits"), pools=("emails.fifo=2", "large.fifo=1"))
    yield server
    server.stop()


def post(server, session, body="b", group="g"):
    return session.post(server.url + PATH, json={"group": group, "body": body}, timeout=30)


def until_refused(ask, most=400):
    """Answers until one is over a limit, and that one."""
    taken = 0
    for _ in range(most):
        answer = ask()
        if answer.status_code in (429, 403):
            return taken, answer
        assert answer.status_code < 300, answer.text
        taken += 1
    raise AssertionError(f"{most} requests were let in")


# Requests


def test_a_request_over_the_rate_is_told_when_to_come_again(server):
    key, other = server.limited("rate", "--rate", "4"), server.limited("other")
    session = server.rest(key)
    before, counted = server.sent(), server.count("requests")
    taken, refused = until_refused(lambda: post(server, session))
    assert taken >= 4
    assert refused.status_code == 429
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit-Policy"] == '"key-requests";q=4;w=1'
    assert refused.headers["RateLimit"] == '"key-requests";r=0;t=1'
    problem = refused.json()
    assert problem["type"] == "urn:queuepool:problem:key-limit-exceeded" and problem["status"] == 429
    assert (problem["limit"], problem["value"]) == ("requests", 4)
    assert problem["violated-policies"] == ["key-requests"]
    assert key["id"] in problem["detail"] and "4 requests a second" in problem["detail"]
    assert server.count("requests") == counted + 1
    # Nothing of what was refused is stored, and nobody else is kept out.
    assert server.sent() == before + taken
    friend = server.rest(other)
    assert all(post(server, friend).status_code == 202 for _ in range(20))
    time.sleep(int(refused.headers["Retry-After"]))
    assert post(server, session).status_code == 202


def test_every_kind_of_request_counts_once(server):
    key = server.limited("kinds", "--rate", "1")
    session = server.rest(key)
    url = server.url
    ndjson = {"Content-Type": "application/x-ndjson"}
    lines = "".join(json.dumps({"group": "k", "body": str(n)}) + "\n" for n in range(20))
    for ask in (
            lambda: session.get(url + "/v1/pools", timeout=30),
            lambda: session.get(url + "/v1/pools/emails.fifo", timeout=30),
            lambda: session.post(url + PATH, data=lines, headers=ndjson, timeout=30),
            lambda: session.post(url + PATH, data=iter([b'{"group": "g", ', b'"body": "b"}']), timeout=30,
                                 headers={"Content-Type": "application/json"})):
        taken, refused = until_refused(ask, 50)
        assert refused.status_code == 429 and refused.json()["limit"] == "requests", refused.text
        assert "RateLimit-Policy" in refused.headers
    # What is open to everybody is not the key's.
    assert all(session.get(url + path, timeout=30).status_code == 200 for path in ("/healthz", "/readyz") * 10)


def test_a_request_without_rights_counts_too(server):
    key = server.limited("denied", "--rate", "2", rule="other.fifo:send")
    session = server.rest(key)
    answers = [post(server, session) for _ in range(40)]
    assert {answer.status_code for answer in answers} == {403, 429}


def test_a_long_poll_counts_once(server):
    key = server.limited("polls", "--rate", "2", rule="emails.fifo:receive,admin")
    client = server.boto(key)
    for _ in range(2):
        started = time.monotonic()
        got = client.receive_message(QueueUrl=QUEUE, WaitTimeSeconds=3, MaxNumberOfMessages=10)
        if not got.get("Messages"):
            assert time.monotonic() - started > 2
    assert client.get_queue_attributes(QueueUrl=QUEUE, AttributeNames=["All"])


# The SQS protocol


def test_over_sqs_the_error_is_one_that_sdks_wait_for(server):
    key = server.limited("sqs", "--rate", "3")
    client = server.boto(key)
    with pytest.raises(ClientError) as caught:
        for _ in range(200):
            client.get_queue_url(QueueName="emails.fifo")
    answer = caught.value.response
    assert answer["Error"]["Code"] == "RequestThrottled"
    assert "3 requests a second" in answer["Error"]["Message"] and key["id"] in answer["Error"]["Message"]
    fields = answer["ResponseMetadata"]["HTTPHeaders"]
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert fields["retry-after"] == "1"
    assert fields["ratelimit-policy"] == '"key-requests";q=3;w=1' and fields["ratelimit"] == '"key-requests";r=0;t=1'


def test_over_the_query_protocol_as_well(server):
    session = server.rest(server.limited("query", "--rate", "1"))
    form = {"Action": "ListQueues", "Version": "2012-11-05"}
    _, refused = until_refused(lambda: session.post(server.url + "/", data=form, timeout=30))
    assert "<Code>RequestThrottled</Code>" in refused.text and refused.headers["Retry-After"] == "1"
    assert refused.headers["RateLimit-Policy"] == '"key-requests";q=1;w=1'


@pytest.mark.parametrize("mode", ["legacy", "standard", "adaptive"])
def test_boto3_with_retries_sends_everything(server, mode):
    key = server.limited(f"patient-{mode}", "--rate", "20")
    client = boto3.client(
        "sqs", endpoint_url=server.url, region_name="us-east-1", aws_access_key_id=key["id"],
        aws_secret_access_key=key["secret"],
        config=Config(retries={"total_max_attempts": 10, "mode": mode}, read_timeout=40))
    counted, before = server.count("requests"), server.sent()
    for n in range(60):
        client.send_message(QueueUrl=QUEUE, MessageBody=str(n), MessageGroupId=mode, MessageDeduplicationId=f"{mode}{n}")
    assert server.sent() == before + 60
    assert mode == "adaptive" or server.count("requests") > counted, "the limit was never met"


# Bytes


def test_bytes_are_limited_and_a_large_body_passes_a_rested_key(server):
    session = server.rest(server.limited("bytes", "--bytes-rate", "20kB"))
    counted = server.count("bytes")
    # More than a second's worth.
    assert post(server, session, "x" * 60_000).status_code == 202
    refused = post(server, session, "y")
    assert refused.status_code == 429 and refused.json()["limit"] == "bytes" and refused.json()["value"] == 20_000
    assert refused.headers["RateLimit-Policy"] == '"key-bytes";q=20000;qu="content-bytes";w=1'
    wait = int(refused.headers["Retry-After"])
    assert wait in (2, 3) and refused.headers["RateLimit"] == f'"key-bytes";r=0;t={wait}'
    assert server.count("bytes") == counted + 1
    time.sleep(wait)
    assert post(server, session, "y").status_code == 202


def test_the_bytes_of_answers_count(server):
    for n in range(8):
        server.send("large.fifo", f"large{n}", "x" * 50_000)
    client = server.boto(server.limited("answers", "--bytes-rate", "50kB", rule="large.fifo:receive"))
    got = client.receive_message(QueueUrl=QUEUE.replace("emails", "large"), MaxNumberOfMessages=10, WaitTimeSeconds=5)
    assert sum(len(message["Body"]) for message in got["Messages"]) > 100_000
    with pytest.raises(ClientError, match="RequestThrottled"):
        client.get_queue_url(QueueName="large.fifo")


def test_a_stream_is_read_no_faster_than_the_key_may_send(server):
    session = server.rest(server.limited("stream", "--bytes-rate", "100kB"))
    before = server.sent()

    def lines():
        for n in range(40):
            yield (json.dumps({"group": f"s{n % 4}", "body": "z" * 10_000}) + "\n").encode()

    started = time.monotonic()
    answer = session.post(server.url + PATH, data=lines(), headers={"Content-Type": "application/x-ndjson"}, timeout=60)
    took = time.monotonic() - started
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert len(results) == 40 and all("id" in result for result in results), results[:2]
    assert server.sent() == before + 40
    # 400 kB at 100 kB a second, of which a second's worth goes at once and one piece is owed.
    assert took > 1


# Connections


def connected(server, key):
    """A connection of its own that has shown the key, and the answer's head and body."""
    conn = socket.create_connection(("127.0.0.1", server.port), timeout=10)
    return conn, ask(conn, key)


def ask(conn, key, head="GET /v1/pools HTTP/1.1", body=b"", more=""):
    conn.sendall(f"{head}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key['token']}\r\n{more}\r\n".encode() + body)
    text = b""
    while b"\r\n\r\n" not in text:
        piece = conn.recv(65536)
        assert piece, text
        text += piece
    head, _, rest = text.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head, re.IGNORECASE)[1])
    while len(rest) < length:
        rest += conn.recv(65536)
    return int(head.split()[1]), head.decode(), rest


MESSAGE = json.dumps({"group": "g", "body": "b"}).encode()
PLAIN = {"head": f"POST {PATH} HTTP/1.1", "body": MESSAGE,
         "more": f"Content-Type: application/json\r\nContent-Length: {len(MESSAGE)}\r\n"}


@pytest.mark.parametrize("way", [{}, PLAIN], ids=["decoder", "plain"])
def test_a_connection_too_many_is_refused_and_closed(server, way):
    name = f"connections-{len(way)}"
    key, other = server.limited(name, "--connections", "2"), server.limited(name + "-other")
    counted = server.count("connections")
    conns = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(4)]
    try:
        taken = [ask(conn, key, **way) for conn in conns[:2]]
        assert all(status in (200, 202) for status, _, _ in taken)
        # Those that are counted go on.
        assert all(ask(conn, key, **way)[0] in (200, 202) for conn in conns[:2])
        status, head, body = ask(conns[2], key, **way)
        assert status == 429, head
        problem = json.loads(body)
        assert (problem["limit"], problem["value"]) == ("connections", 2)
        assert re.search(r"^ratelimit-policy: \"key-connections\";q=2;qu=\"concurrent-requests\"\r?$", head,
                         re.IGNORECASE | re.MULTILINE), head
        assert re.search(r"^connection: close\r?$", head, re.IGNORECASE | re.MULTILINE), head
        assert re.search(r"^retry-after: 1\r?$", head, re.IGNORECASE | re.MULTILINE)
        assert conns[2].recv(10) == b"", "it is closed"
        assert server.count("connections") == counted + 1
        # Of another key as many as it likes.
        assert ask(conns[3], other, **way)[0] in (200, 202)
        conns[0].close()

        def is_let_in():
            conn, (status, _, _) = connected(server, key)
            conn.close()
            return status == 200

        wait_until(is_let_in, 10, "room for another connection")
    finally:
        for conn in conns:
            conn.close()


def test_a_connection_is_the_key_s_whose_request_came_last(server):
    one, other = server.limited("last", "--connections", "1"), server.limited("next", "--connections", "1")
    conn, (status, _, _) = connected(server, one)
    assert status == 200
    second, (status, _, _) = connected(server, one)
    assert status == 429
    assert ask(conn, other)[0] == 200
    third, (status, _, _) = connected(server, one)
    assert status == 200
    for each in (conn, second, third):
        each.close()


# Changes


def test_other_limits_take_effect_beside_a_running_server(server):
    key = server.limited("changes", "--rate", "1")
    session = server.rest(key)
    until_refused(lambda: post(server, session))

    def limit(*flags):
        return run("key", "limit", "changes", *flags, *server.place, check=0).stdout

    assert limit("--rate", "none") == f"limits of {key['id']}: none\n"
    server.follows()
    assert all(post(server, session).status_code == 202 for _ in range(30))
    assert limit("--rate", "2", "--bytes-rate", "1MB") == f"limits of {key['id']}: 2/s, 1000000 B/s\n"
    server.follows()
    until_refused(lambda: post(server, session))
    # What is not named stays.
    assert limit("--connections", "5") == f"limits of {key['id']}: 2/s, 1000000 B/s, 5 connections\n"


def test_a_poll_goes_on_when_the_limits_change(server):
    key = server.limited("poller", "--rate", "5", rule="emails.fifo:receive,admin")
    client = server.boto(key)
    client.purge_queue(QueueUrl=QUEUE)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        poll = threads.submit(client.receive_message, QueueUrl=QUEUE, WaitTimeSeconds=20)
        time.sleep(0.5)
        run("key", "limit", "poller", "--rate", "1", *server.place, check=0)
        server.follows()
        assert not poll.done()
        server.send("emails.fifo", "poll", "found")
        assert poll.result(timeout=20)["Messages"][0]["Body"] == "found"


# The command


def listed(place):
    return {key["name"]: key["limits"] for key in json.loads(run("key", "list", "--json", *place, check=0).stdout)["keys"]}


def test_limits_are_listed(tmp_path):
    place = ["--data-dir", tmp_path / "data"]
    run("key", "create", "all", "--allow", "*:send", "--rate", "100", "--bytes-rate", "1MB", "--connections", "10",
        *place, check=0)
    run("key", "create", "none", "--allow", "*:send", *place, check=0)
    assert listed(place) == {"all": {"rate": 100, "bytesRate": 1_000_000, "connections": 10}, "none": {}}
    table = run("key", "list", *place, check=0).stdout
    assert "100/s, 1000000 B/s, 10 connections" in table and "LIMITS" in table
    run("key", "limit", "all", "--bytes-rate", "none", "--rate", "7", *place, check=0)
    assert listed(place)["all"] == {"rate": 7, "connections": 10}
    run("key", "rotate", "all", *place, check=0)
    assert listed(place)["all"] == {"rate": 7, "connections": 10}


@pytest.mark.parametrize("arguments, said", [
    (["limit", "api"], ["--rate", "--bytes-rate", "--connections"]),
    (["limit", "api", "--rate", "0"], ["rate", "'0'", "1...1000000000"]),
    (["limit", "api", "--rate", "many"], ["rate", "'many'"]),
    (["limit", "api", "--bytes-rate", "1MiB"], ["bytes-rate", "'1MiB'", "1MB"]),
    (["create", "api", "--allow", "*:send", "--connections", "-1"], ["connections"]),
    (["create", "api", "--allow", "*:send", "--rate", "none"], ["rate", "'none'"]),
])
def test_a_limit_that_is_none_is_refused(tmp_path, arguments, said):
    refused = run("key", *arguments, "--data-dir", tmp_path / "data", check=64)
    assert all(word in refused.stderr for word in said), refused.stderr
    assert not (tmp_path / "data").exists()


def test_a_revoked_key_has_no_limits_to_change(tmp_path):
    place = ["--data-dir", tmp_path / "data"]
    run("key", "create", "api", "--allow", "*:send", *place, check=0)
    run("key", "revoke", "api", *place, check=0)
    assert "revoked" in run("key", "limit", "api", "--rate", "1", *place, check=1).stderr
    assert "'nobody'" in run("key", "limit", "nobody", "--rate", "1", *place, check=1).stderr
