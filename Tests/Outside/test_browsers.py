# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What a web page can make a browser send, and what a proxy may let pass."""

import json
import socket

import pytest

from conftest import Server, run

POOL = "emails.fifo"
TARGET = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.PurgeQueue"}
MESSAGE = {"Content-Type": "application/json"}


def request(server, method="POST", path=f"/v1/pools/{POOL}/messages", headers=None, body=b'{"group":"g","body":"b"}',
            host=None, chunked=False):
    """A request byte for byte; its status, headers and body."""
    host = f"127.0.0.1:{server.port}" if host is None else host
    fields = {**({"Host": host} if host else {}), **(headers or {}), "Connection": "close"}
    fields |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items()) + "\r\n"
    data = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body) if chunked and body else b"0\r\n\r\n" if chunked else body
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode() + data)
        answer = b""
        while more := connection.recv(65_536):
            answer += more
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    return int(lines[0].split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in lines[1:])}, body


REQUESTS = [
    pytest.param("POST", f"/v1/pools/{POOL}/messages", MESSAGE, b'{"group":"g","body":"b"}', id="message"),
    pytest.param("POST", f"/v1/pools/{POOL}/messages", {"Content-Type": "application/x-ndjson"},
                 b'{"group":"g","body":"b"}\n', id="ndjson"),
    pytest.param("POST", f"/v1/pools/{POOL}/purge", {}, b"", id="purge"),
    pytest.param("POST", "/", TARGET, json.dumps({"QueueUrl": POOL}).encode(), id="sqs"),
    pytest.param("POST", "/", {"Content-Type": "application/x-www-form-urlencoded"},
                 f"Action=PurgeQueue&Version=2012-11-05&QueueUrl={POOL}".encode(), id="query"),
    pytest.param("GET", f"/?Action=PurgeQueue&Version=2012-11-05&QueueUrl={POOL}", {}, b"", id="query-get"),
    pytest.param("GET", "/v1/pools", {}, b"", id="read"),
    pytest.param("GET", "/metrics", {}, b"", id="metrics"),
    pytest.param("GET", "/", {}, b"", id="console"),
    pytest.param("DELETE", "/v1/pools/none.fifo", {}, b"", id="delete"),
    pytest.param("OPTIONS", "/v1/pools", {}, b"", id="preflight"),
]


def foreign(server):
    yield {"Origin": "https://attacker.example"}
    yield {"Origin": "null"}
    yield {"Origin": f"http://127.0.0.1:{server.port + 1}"}
    yield {"Origin": f"http://127.0.0.1:{server.port}.attacker.example"}
    yield {"Sec-Fetch-Site": "cross-site"}
    yield {"Sec-Fetch-Site": "same-site"}
    yield {"Origin": f"http://127.0.0.1:{server.port}", "Sec-Fetch-Site": "cross-site"}


@pytest.mark.parametrize("chunked", [False, True], ids=["plain", "chunked"])
@pytest.mark.parametrize(("method", "path", "headers", "body"), REQUESTS)
def test_pages_of_other_origins_are_refused_everywhere(server, method, path, headers, body, chunked):
    server.send(POOL, "kept", "kept")
    before = sum(shard["backlog"] for shard in server.pool(POOL)["shards"])
    for page in foreign(server):
        status, _, answer = request(server, method, path, {**headers, **page}, body, chunked=chunked)
        assert status == 403, (page, answer)
        assert b"attacker" not in answer and b"Access-Control-Allow" not in answer
    assert sum(shard["backlog"] for shard in server.pool(POOL)["shards"]) == before


@pytest.mark.parametrize(("method", "path", "headers", "body"), REQUESTS)
def test_a_name_that_was_bound_to_this_machine_reads_and_sends_nothing(server, method, path, headers, body):
    for host in ("attacker.example", f"attacker.example:{server.port}", "127.0.0.1.attacker.example", "localhost.attacker",
                 "127.attacker.example", "[::1].attacker", "127.0.0.1:x", "localhost@attacker.example"):
        status, _, answer = request(server, method, path, headers, body, host=host)
        assert status == 403, (host, answer)
        assert b"attacker" not in answer


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:{port}", "127.0.0.1", "127.3.2.1:{port}", "[::1]:{port}", "[::1]"])
def test_the_names_of_this_machine_are_its_own(server, host):
    host = host.format(port=server.port)
    own = {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
    for more in ({}, own, {"Sec-Fetch-Site": "none"}):
        status, _, answer = request(server, headers={**MESSAGE, **more}, host=host)
        assert status == 202, answer
        assert request(server, "GET", "/v1/pools", headers=more, body=b"", host=host)[0] == 200


def test_http_1_1_requires_the_name(server):
    assert request(server, headers=MESSAGE, host="")[0] == 400
    assert request(server, "GET", "/healthz", body=b"", host="")[0] == 400


def test_a_name_that_is_allowed(tmp_path):
    server = Server(tmp_path, "--allowed-host", "Queue.example.com", "--allowed-host", "10.0.0.7")
    try:
        for host in ("queue.example.com", "queue.example.com:8443", "10.0.0.7"):
            assert request(server, headers=MESSAGE, host=host)[0] == 202
        # A proxy that changes the Host: the page's origin is the allowed name.
        page = {"Origin": "https://queue.example.com", "Sec-Fetch-Site": "same-origin"}
        assert request(server, headers={**MESSAGE, **page})[0] == 202
        assert request(server, headers=MESSAGE, host="other.example.com")[0] == 403
    finally:
        server.stop()
    wrong = run("serve", "--allowed-host", "http://x", "--data-dir", tmp_path / "no")
    assert wrong.returncode != 0 and "server.allowed-hosts" in wrong.stderr and "http://x" in wrong.stderr


def test_the_console_comes_with_its_protections(server):
    status, headers, body = request(server, "GET", "/", body=b"")
    assert status == 200 and b"<!doctype html>" in body.lower()
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "form-action 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"
    for path in ("/v1/pools", "/metrics", "/openapi.json", "/nowhere"):
        assert request(server, "GET", path, body=b"")[1]["x-content-type-options"] == "nosniff", path


@pytest.mark.parametrize("chunked", [False, True], ids=["plain", "chunked"])
@pytest.mark.parametrize("path", [f"/v1/pools/{POOL}/messages", "/v1/pools", "/v1/pools/", "/healthz", "/a/b/c", "/a/b",
                                  "/emails", "//emails.fifo", "/000000000000/"])
def test_the_sqs_protocol_is_spoken_at_its_own_paths_only(server, path, chunked):
    """A proxy that lets one path of REST pass must not let every action pass with it."""
    server.send(POOL, "kept", "kept")
    body = json.dumps({"QueueUrl": POOL}).encode()
    status, _, answer = request(server, "POST", path, {**TARGET, "Content-Type": "application/json"}, body, chunked=chunked)
    assert status == 400, answer
    assert sum(shard["backlog"] for shard in server.pool(POOL)["shards"]) > 0


@pytest.mark.parametrize("path", ["/", f"/000000000000/{POOL}", f"/{POOL}"])
def test_paths_of_queue_urls_speak_the_sqs_protocol(server, path):
    headers = {**TARGET, "X-Amz-Target": "AmazonSQS.GetQueueUrl"}
    for chunked in (False, True):
        body = json.dumps({"QueueName": POOL}).encode()
        assert request(server, "POST", path, headers, body, chunked=chunked)[0] == 200


def test_every_answer_has_a_request_id_of_its_own(server):
    seen = []
    for method, path, headers, body in [
        ("POST", f"/v1/pools/{POOL}/messages", MESSAGE, b'{"group":"g","body":"b"}'), ("GET", "/v1/pools", {}, b""),
        ("POST", f"/v1/pools/{POOL}/messages", MESSAGE, b"{"), ("POST", "/v1/pools/no.fifo/messages", MESSAGE, b"{}"),
        ("POST", f"/v1/pools/{POOL}/messages", {"Content-Type": "application/x-ndjson"}, b'{"group":"g","body":"b"}\n'),
        ("GET", "/nowhere", {}, b""), ("GET", "/", {"Origin": "null"}, b""), ("DELETE", "/", {}, b""),
    ]:
        for chunked in (False, True):
            seen.append(request(server, method, path, headers, body, chunked=chunked)[1]["x-request-id"])
    for action in ("GetQueueUrl", "ReceiveMessage", "None"):
        headers = {**TARGET, "X-Amz-Target": f"AmazonSQS.{action}"}
        seen.append(request(server, "POST", "/", headers, b"{}")[1]["x-amzn-requestid"])
    assert len(set(seen)) == len(seen)
    assert all(len(one) == 36 and one.count("-") == 4 for one in seen)


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP", "x", "identity, gzip"])
def test_a_body_that_is_encoded_is_not_taken_for_what_it_is_not(server, encoding):
    for path, headers in ((f"/v1/pools/{POOL}/messages", MESSAGE), ("/", TARGET)):
        status, _, answer = request(server, "POST", path, {**headers, "Content-Encoding": encoding})
        assert status == 415 and b"unsupported-encoding" in answer
    assert request(server, headers={**MESSAGE, "Content-Encoding": "identity"})[0] == 202
