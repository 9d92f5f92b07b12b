# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Input that nobody should send: every answer is a clean error or a closed connection, memory stays bounded, and others
are served meanwhile."""

import json
import os
import random
import socket
import time

import pytest
import requests
from conftest import Server, wait_until

POOL = "emails.fifo"
REST, EMAILS = f"/v1/pools/{POOL}/messages", f"/v1/pools/{POOL}/emails"
MESSAGE = {"group": "g", "body": "hello", "deduplicationId": "d", "attributes": {"a": "b", "n": 1.5,
           "t": {"type": "Binary", "value": "aGk="}}, "delaySeconds": 0}
EMAIL = {"from": "a@example.com", "to": ["b@example.com"], "subject": "s", "text": "t", "headers": {"X-A": "b"},
         "attachments": [{"filename": "f", "contentType": "text/plain", "content": "aGk="}], "group": "g"}
BATCH = {"QueueUrl": POOL, "Entries": [{"Id": "1", "MessageBody": "x", "MessageGroupId": "g",
         "MessageDeduplicationId": "1", "MessageAttributes": {"a": {"DataType": "String", "StringValue": "b"}}}]}
RECEIVE = {"QueueUrl": POOL, "MaxNumberOfMessages": 1, "VisibilityTimeout": 0, "WaitTimeSeconds": 0,
           "MessageSystemAttributeNames": ["All"], "ReceiveRequestAttemptId": "a"}
CREATE = {"QueueName": "f.fifo", "Attributes": {"FifoQueue": "true"}, "tags": {"a": "b"}}
ODD = [None, True, False, 0, -1, 1e400, 10**30, 1.5, "", "x" * 300, "\u0000", "\ud83d\ude00", [], {}, [[]], {"": {}},
       ["All"] * 50, {"a": None}]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("hostile"), "--header-timeout-seconds", "3", "--idle-timeout-seconds", "5")
    yield server
    assert server.get("/healthz").status_code == 200, "the server lives"
    assert server.status_bytes("VmHWM") < 400 << 20, "memory is bounded"
    assert "Fatal" not in server.text()
    server.stop()


def doors():
    yield lambda s, data: s.post(REST, data=data, headers={"Content-Type": "application/json"}), MESSAGE
    yield lambda s, data: s.post(EMAILS, data=data, headers={"Content-Type": "application/json"}), EMAIL
    yield lambda s, data: s.post("/v1/pools", data=data), {"name": "p.fifo", "shards": 1, "quota": 5}
    for action, body in (("SendMessageBatch", BATCH), ("ReceiveMessage", RECEIVE), ("CreateQueue", CREATE),
                         ("SendMessage", {"QueueUrl": POOL, **BATCH["Entries"][0]}),
                         ("SetQueueAttributes", {"QueueUrl": POOL, "Attributes": {"VisibilityTimeout": "30"}}),
                         ("DeleteMessageBatch", {"QueueUrl": POOL, "Entries": [{"Id": "1", "ReceiptHandle": "x"}]}),
                         ("StartMessageMoveTask", {"SourceArn": "x", "MaxNumberOfMessagesPerSecond": 5})):
        yield lambda s, data, action=action: s.action(action, data), body


def clean(answer):
    """An answer of the protocol: JSON with a reason, or success."""
    assert answer.status_code < 500 or answer.status_code == 503, f"{answer.status_code}: {answer.text[:200]}"
    if answer.status_code >= 400:
        problem = answer.json()
        assert problem.get("title") or problem.get("__type"), problem
        assert "Swift" not in answer.text and ".swift" not in answer.text


def paths(value, at=()):
    yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from paths(child, (*at, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(copy[path[0]], path[1:], new)
    return copy


def test_every_member_may_be_of_a_wrong_type(server):
    for post, body in doors():
        for path in paths(body):
            for odd in ODD:
                clean(post(server, json.dumps(replaced(body, path, odd)).replace("Infinity", "1e400")))


def test_bytes_that_were_changed_cut_or_doubled(server):
    seed = int(os.environ.get("TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}; TEST_SEED={seed} repeats it")
    rng = random.Random(seed)
    for post, body in doors():
        whole = json.dumps(body).encode()
        for _ in range(120):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 4)):
                at, kind = rng.randrange(len(data)), rng.randrange(4)
                if kind == 0:
                    data[at] = rng.randrange(256)
                elif kind == 1:
                    data = data[:max(1, at)]
                elif kind == 2:
                    data[at:at] = data[at:at + rng.randrange(20)]
                else:
                    data[at:at] = rng.choice([b'"', b"\\u", b"\\ud800", b"{", b"[", b"\xff", b"\xc0\x80", b",", b"\0"])
            clean(post(server, bytes(data)))


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"body":[', b'{"attributes":{"a":'])
def test_deep_nesting(server, opening):
    for post, _ in doors():
        clean(answer := post(server, opening * 100_000))
        assert answer.status_code >= 400


@pytest.mark.parametrize("bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82", b"\\ud800",
                                 b"\\udc00x", b"\\u12"])
def test_text_that_is_no_utf_8_is_never_stored(server, bad):
    for member in (b"body", b"group"):
        other = b'"group":"g"' if member == b"body" else b'"body":"x"'
        answer = server.post(REST, data=b'{"' + member + b'":"a' + bad + b'",' + other + b"}",
                             headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, answer.text
    sqs = server.action("SendMessage", b'{"QueueUrl":"emails.fifo","MessageBody":"a' + bad
                        + b'","MessageGroupId":"g","MessageDeduplicationId":"1"}')
    assert sqs.status_code == 400


def test_numbers_beyond_reason(server):
    for number in (b"1" * 5_000, b"1e99999", b"-" + b"9" * 40, b"0x10", b"01", b"1.", b"NaN"):
        clean(server.action("ReceiveMessage", b'{"QueueUrl":"emails.fifo","MaxNumberOfMessages":' + number + b"}"))
        clean(server.post("/v1/pools", data=b'{"name":"n.fifo","shards":' + number + b"}"))


# On the wire


def exchange(server, data, seconds=15, end=False):
    """Sends bytes and reads until the server closes or is silent; what it said."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=seconds) as connection:
        answer = b""
        try:
            connection.sendall(data)
            if end:
                connection.shutdown(socket.SHUT_WR)
            while more := connection.recv(65_536):
                answer += more
        except (TimeoutError, ConnectionError):
            pass
        return answer


def head(method="POST", path=REST, **fields):
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", "Connection: close"]
    return "\r\n".join(lines + [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()] + ["", ""]).encode()


@pytest.mark.parametrize("request_bytes", [
    b"\0" * 1_000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"FOO BAR BAZ\r\n\r\n", b"\r\n" * 1_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    head(Content_Length="abc"), head(Content_Length="-1"), head(Content_Length="99999999999999999999999"),
    head(Content_Length="5", content_length="6") + b"abcde", head(Transfer_Encoding="chunked") + b"zz\r\nabc",
    head(Transfer_Encoding="chunked") + b"fffffffffffffffff\r\n", head(path="/%zz"), head(path="/" + "a" * 100_000),
    head(path="/v1/pools/../../etc/passwd/messages"), head(Content_Length="5", Transfer_Encoding="chunked") + b"0\r\n\r\n",
    head(**{f"X-{i}": "y" * 100 for i in range(2_000)}), b"GET / HTTP/1.1\r\nX: " + b"y" * 2_000_000])
def test_what_is_no_request_is_refused_or_cut_off(server, request_bytes):
    answer = exchange(server, request_bytes)
    status = answer.split(b" ", 2)[1] if answer.startswith(b"HTTP/1.") else b"closed"
    assert status == b"closed" or status.startswith(b"4") or status == b"505", answer[:200]
    assert server.get("/healthz").status_code == 200


def test_bodies_larger_than_allowed_are_refused_without_being_read(server):
    before = server.status_bytes("VmHWM")
    for size in (100_000_000, 10**12):
        answer = exchange(server, head(Content_Type="application/json", Content_Length=size) + b"x" * 100_000)
        assert b" 413 " in answer.split(b"\r\n")[0], answer[:200]
    endless = (b"10000\r\n" + b"x" * 65_536 + b"\r\n" for _ in range(20_000))
    with socket.create_connection(("127.0.0.1", server.port), timeout=6) as connection:
        connection.sendall(head(Content_Type="application/json", Transfer_Encoding="chunked"))
        with pytest.raises(OSError):
            for chunk in endless:
                connection.sendall(chunk)
            raise AssertionError("1.3 GB were taken")
    assert server.status_bytes("VmHWM") - before < 100 << 20


def test_a_body_that_never_comes_is_given_up(server):
    start = time.monotonic()
    answer = exchange(server, head(Content_Type="application/json", Content_Length=1_000) + b'{"group":', seconds=60)
    assert time.monotonic() - start < 55, "the connection was not closed"
    assert b" 202 " not in answer and b" 200 " not in answer


def test_slow_loris_is_cut_off_and_others_are_served(server):
    slow = [socket.create_connection(("127.0.0.1", server.port), timeout=1) for _ in range(200)]
    alive, start = slow, time.monotonic()
    for connection in slow:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: localhost\r\n")
    while alive and time.monotonic() - start < 40:
        assert server.get("/healthz").status_code == 200
        time.sleep(0.5)  # this is the attack: a byte now and then
        still = []
        for connection in alive:
            try:
                connection.sendall(b"X")
                connection.setblocking(False)
                try:
                    closed = connection.recv(1_000) == b""
                except BlockingIOError:
                    closed = False
                connection.setblocking(True)
                if not closed:
                    still.append(connection)
            except OSError:
                pass
        alive = still
    for connection in slow:
        connection.close()
    assert not alive, f"{len(alive)} slow connections are still open"


def test_a_client_that_does_not_read_is_held_back(server):
    """A stream's answers are not gathered in memory for somebody who never reads them."""
    before = server.status_bytes("VmRSS")
    line = json.dumps({"group": "", "body": "x"}).encode() + b"\n"
    chunk = b"%x\r\n%s\r\n" % (len(line) * 1_000, line * 1_000)
    sent = 0
    with socket.create_connection(("127.0.0.1", server.port), timeout=3) as connection:
        connection.sendall(head(Content_Type="application/x-ndjson", Transfer_Encoding="chunked"))
        try:
            for _ in range(4_000):
                connection.sendall(chunk)
                sent += 1_000
        except OSError:
            pass
        assert server.status_bytes("VmRSS") - before < 150 << 20, f"after {sent} lines"
    assert server.get("/healthz").status_code == 200


def test_pipelined_requests_are_answered_in_order(server):
    requests_, count = b"", 200
    for i in range(count):
        body = json.dumps({"group": "pipe", "body": str(i)}).encode()
        fields = f"Host: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        requests_ += f"POST {REST} HTTP/1.1\r\n{fields}\r\n\r\n".encode() + body
    requests_ += b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = exchange(server, requests_)
    assert answer.count(b"HTTP/1.1 202") == count
    assert answer.rstrip().endswith(b"ok")
    got = [m["Body"] for m in server.drain(POOL) if m["Attributes"]["MessageGroupId"] == "pipe"]
    assert got == [str(i) for i in range(count)]


def test_a_truncated_request_stores_nothing(server):
    server.post(f"/v1/pools/{POOL}/purge")
    body = json.dumps({"group": "cut", "body": "x" * 1_000}).encode()
    for length in (0, 1, 500, len(body) - 1):
        exchange(server, head(Content_Type="application/json", Content_Length=len(body)) + body[:length], end=True)
    assert server.drain(POOL) == []


def test_a_receiver_that_left_loses_no_message(server):
    """A long poll whose connection is gone must not take the message that comes next."""
    server.post(f"/v1/pools/{POOL}/purge")
    body = json.dumps({"QueueUrl": POOL, "WaitTimeSeconds": 20, "VisibilityTimeout": 600}).encode()
    request = head(path="/", Content_Length=len(body), X_Amz_Target="AmazonSQS.ReceiveMessage") + body
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(20)]

    def waiting(number):
        return f'queuepool_waiting_receives{{pool="{POOL}"}} {number}\n' in server.get("/metrics").text

    for connection in connections:
        connection.sendall(request)
    wait_until(lambda: waiting(20), 10, "that all wait")
    for connection in connections:
        connection.close()
    # Before the server has heard that they are gone, nothing tells them from slow ones.
    wait_until(lambda: waiting(0), 5, "that nobody waits")
    server.send(POOL, "left", "still here")
    assert [m["Body"] for m in server.drain(POOL)] == ["still here"]


def test_more_connections_than_allowed_are_refused_and_the_server_goes_on(servers):
    server = servers("--max-connections", "20")
    many = [socket.create_connection(("127.0.0.1", server.port), timeout=5) for _ in range(60)]
    served = refused = 0
    for connection in many:
        try:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = connection.recv(1_000)
        except TimeoutError:
            raise AssertionError("a connection over the limit was neither served nor closed") from None
        except OSError:
            said = b""
        served, refused = served + (b" 200 " in said), refused + (b" 503 " in said or not said)
    for connection in many:
        connection.close()
    assert served + refused == 60 and 10 <= served <= 20

    def answers():
        try:
            return requests.get(server.url + "/healthz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    wait_until(answers, what="an answer after the rush")
    server.stop()
