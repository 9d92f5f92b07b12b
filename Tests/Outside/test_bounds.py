# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What one client, or many, can make the server hold: each test runs against a server of its own whose memory is watched."""

import contextlib
import json
import re
import socket
import struct
import time

import pytest

from conftest import Server, wait_until

POOL = "emails.fifo"
MEMORY_MAX = 512 << 20


@pytest.fixture
def bounded(tmp_path):
    """Starts servers; at the end each must be alive and must never have taken more than 512 MB."""
    started = []

    def start(*arguments, **options):
        server = Server(tmp_path / f"s{len(started)}", *arguments, **options)
        started.append(server)
        return server

    yield start
    for server in started:
        assert server.is_running, server.text()[-3000:]
        assert server.status_bytes("VmHWM") < MEMORY_MAX, f"{server.status_bytes('VmHWM') >> 20} MB"
        server.stop()


def connect(server, receive_bytes=None):
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.settimeout(60)
    connection.connect(("127.0.0.1", server.port))
    return connection


def reset(connection):
    """Closes with RST, as a client does that crashed."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def head(method, path, length=0, **fields):
    lines = {"Host": "localhost", "Content-Length": str(length), **{k.replace("_", "-"): v for k, v in fields.items()}}
    return (f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n").encode()


def sqs(action, body, **fields):
    data = json.dumps(body).encode()
    return head("POST", "/", len(data), X_Amz_Target=f"AmazonSQS.{action}",
                Content_Type="application/x-amz-json-1.0", **fields) + data


def is_closed(connection):
    """Whether the other side closed the connection; what it said before is skipped."""
    connection.setblocking(False)
    try:
        while connection.recv(1 << 20):
            pass
        return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def metric(server, name):
    found = re.search(rf"^{re.escape(name)} (\d+)$", server.get("/metrics").text, re.M)
    return int(found[1]) if found else 0


def cut(server, reason):
    return metric(server, f'queuepool_http_connections_cut_total{{reason="{reason}"}}')


def big_answers(server, pool):
    """A receive of ten messages of 1 MB that every look brings again."""
    for number in range(10):
        server.send(pool, f"g{number}", "x" * 1_000_000)
    return {"QueueUrl": pool, "MaxNumberOfMessages": 10, "VisibilityTimeout": 0}


def test_answers_wait_until_they_are_read(bounded):
    """Requests whose clients read nothing: not more answers are made than fit, and who reads nothing for ten seconds is
    cut and counted. Who reads slowly is not."""
    pools = [f"p{i}.fifo" for i in range(4)]
    server = bounded(pools=[f"{pool}=1" for pool in pools])
    looks = [big_answers(server, pool) for pool in pools]
    requests = [
        sqs("ReceiveMessage", looks[0]) * 150,  # the fast path
        sqs("ReceiveMessage", looks[1], Expect="100-continue") * 150,  # the HTTP library's
        sqs("ReceiveMessage", looks[2], Connection="close"),
        *[head("GET", "/openapi.json") * 150] * 8,
    ]
    deaf = [connect(server, 4096) for _ in requests]
    for connection, request in zip(deaf, requests, strict=True):
        connection.sendall(request)
    with connect(server, 4096) as slow:
        slow.sendall(sqs("ReceiveMessage", looks[3]))
        end, got = time.monotonic() + 17, 0
        while time.monotonic() < end:
            got += len(slow.recv(32_768))
            time.sleep(0.1)
        wait_until(lambda: cut(server, "slow-reader") == len(deaf), 20, "the cut")
        while got < 10_000_000:
            assert (more := slow.recv(1 << 20))
            got += len(more)
    for connection in deaf:
        connection.close()
    assert cut(server, "slow-reader") == len(deaf)
    assert server.status_bytes("VmHWM") < 300 << 20
    wait_until(lambda: metric(server, "queuepool_http_held_bytes") == 0, 10, "nothing is held")


def test_waiting_receives_of_clients_that_are_gone(bounded):
    """14,000 long polls whose clients reset: nobody waits on their account, and the next receiver is served."""
    server = bounded()
    request = sqs("ReceiveMessage", {"QueueUrl": POOL, "WaitTimeSeconds": 20})
    for _ in range(14):
        with contextlib.ExitStack() as stack:
            connections = []
            for _ in range(1_000):
                connections.append(connect(server))
                connections[-1].sendall(request)
            stack.callback(lambda: [reset(connection) for connection in connections])
    assert server.get("/healthz").status_code == 200
    server.send(POOL, "g", "for whom")
    # Given to a client whose reset the server has not seen, it would come back by its visibility timeout only.
    got = server.answer("ReceiveMessage", {"QueueUrl": POOL, "WaitTimeSeconds": 20})
    assert [m["Body"] for m in got["Messages"]] == ["for whom"]
