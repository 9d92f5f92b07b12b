# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Answers that come before the request has arrived whole, to clients that write all of it before they read."""

import socket

import pytest

from conftest import Server

POOL = "emails.fifo"
BYTES = 5_000_000
PIECE = b"x" * (64 << 10)
# What the server throws away at most is 64 MiB; what lies in buffers on the way comes on top.
ENDLESS = 256 << 20


def head(path, *lines):
    return "\r\n".join((f"POST {path} HTTP/1.1", "Host: localhost", *lines, "", "")).encode()


JSON = "Content-Type: application/json"
LENGTH = f"Content-Length: {BYTES}"
CHUNKED = "Transfer-Encoding: chunked"
SQS = ("X-Amz-Target: AmazonSQS.SendMessage", "Content-Type: application/x-amz-json-1.0")
MESSAGES = f"/v1/pools/{POOL}/messages"
# Path, header lines, status.
KINDS = {
    "no such path": ("/nothing", (LENGTH,), 404),
    "no such path, chunked": ("/nothing", (CHUNKED,), 404),
    "no such path, asked before": ("/nothing", (LENGTH, "Expect: 100-continue"), 404),
    "no such pool": ("/v1/pools/none.fifo/resize", (JSON, LENGTH), 404),
    "no such pool, lines": ("/v1/pools/none.fifo/messages", ("Content-Type: application/x-ndjson", CHUNKED), 404),
    "too large": (MESSAGES, (JSON, LENGTH), 413),
    "too large, chunked": (MESSAGES, (JSON, CHUNKED), 413),
    "too large, asked before": (MESSAGES, (JSON, LENGTH, "Expect: 100-continue"), 413),
    "too large, SQS": ("/", (*SQS, LENGTH), 413),
    "encoded": (MESSAGES, (JSON, "Content-Encoding: gzip", LENGTH), 415),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("early"), "--request-bytes-max", 1_000_000, "--held-bytes-max", 16 << 20)
    yield server
    server.stop()


def connect(server):
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def write_body(connection, count, chunked):
    while count > 0:
        piece = PIECE[:count]
        connection.sendall(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
        count -= len(piece)
    if chunked:
        connection.sendall(b"0\r\n\r\n")


def read_to_end(connection):
    answers = b""
    while data := connection.recv(1 << 16):
        answers += data
    return answers


def statuses(answers):
    """Those of final answers."""
    found = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    return [status for status in found if status >= 200]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_writes_all_before_it_reads_gets_its_answer_and_the_end(server, kind):
    path, lines, status = KINDS[kind]
    for _ in range(5):
        with connect(server) as connection:
            connection.sendall(head(path, *lines, "Connection: close"))
            write_body(connection, BYTES, CHUNKED in lines)
            assert statuses(read_to_end(connection)) == [status]


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_that_keeps_the_connection_gets_its_answer(server, kind):
    """The next request is answered too, unless the server has said that it closes."""
    path, lines, status = KINDS[kind]
    for _ in range(5):
        with connect(server) as connection:
            connection.sendall(head(path, *lines, "Connection: keep-alive"))
            write_body(connection, BYTES, CHUNKED in lines)
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answers = read_to_end(connection)
            closes = b"connection: close" in answers.split(b"\r\n\r\n")[0].lower()
            assert statuses(answers) == ([status] if closes else [status, 200])


@pytest.mark.parametrize("close", ["close", "keep-alive"])
@pytest.mark.parametrize("path, lines", [
    ("/nothing", (CHUNKED,)), ("/nothing", (f"Content-Length: {1 << 40}",)),
    (MESSAGES, (JSON, f"Content-Length: {1 << 40}"))], ids=["chunked", "long", "plain"])
def test_a_body_that_does_not_end_is_cut(server, path, lines, close):
    with connect(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(head(path, *lines, "Connection: " + close))
        write_body(connection, ENDLESS, CHUNKED in lines)


def test_what_is_thrown_away_takes_no_room(server):
    """Many bodies at once, which together are larger than what the server may hold, and it refuses none for that."""
    connections = [connect(server) for _ in range(16)]
    try:
        before = server.status_bytes("VmHWM")
        for connection in connections:
            connection.sendall(head("/", *SQS, LENGTH, "Connection: close"))
        for connection in connections:
            write_body(connection, BYTES, False)
        for connection in connections:
            assert statuses(read_to_end(connection)) == [413]
        assert server.status_bytes("VmHWM") - before < 8 * BYTES
        assert server.post(MESSAGES, json={"group": "g", "body": "x"}).status_code == 202
    finally:
        for connection in connections:
            connection.close()
