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
        wait_until(lambda: cut(server, "slow-reader") >= len(deaf), 60, "the cut")
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


def declared(path=f"/v1/pools/{POOL}/messages", length=2 << 20, **fields):
    return head("POST", path, length, Content_Type="application/json", **fields)


def test_a_body_that_trickles_is_cut(bounded):
    """A rate for each stretch of time, not on average: what came fast at first does not pay for a stall later."""
    server = bounded("--header-timeout-seconds", "2")
    fast = connect(server)
    fast.sendall(declared() + b"x" * (1 << 20))
    through_library = connect(server)
    through_library.sendall(declared(Expect="100-continue") + b"x" * (1 << 20))
    trickle = connect(server)
    trickle.sendall(declared())
    steady = connect(server)
    steady.sendall(declared(length=320_000))
    start = time.monotonic()
    sent = 0
    while cut(server, "slow-request") < 3 and time.monotonic() - start < 40:
        time.sleep(0.25)
        with contextlib.suppress(OSError):
            trickle.sendall(b"x" * 64)
        sent += steady.send(b"x" * min(5_000, 320_000 - sent)) if sent < 320_000 else 0
    assert cut(server, "slow-request") == 3
    while sent < 320_000:
        time.sleep(0.25)
        sent += steady.send(b"x" * min(5_000, 320_000 - sent))
    assert steady.recv(4096).startswith(b"HTTP/1.1 400 "), "the one that kept coming was read to its end"
    for connection in (fast, through_library, trickle, steady):
        connection.close()


@pytest.mark.parametrize("way", ["plain", "library", "ndjson"])
def test_bodies_of_all_connections_together_are_bounded(bounded, way):
    """400 bodies of 2 MB that stop before their end: some wait, the others are told to come back."""
    server = bounded()
    fields = {"plain": {}, "library": {"Expect": "100-continue"}, "ndjson": {"Content_Type": "application/x-ndjson"}}[way]
    request = head("POST", f"/v1/pools/{POOL}/messages", 2 << 20, **{"Content_Type": "application/json", **fields})
    connections, refused = [], 0
    for _ in range(400):
        connections.append(connection := connect(server))
        with contextlib.suppress(OSError):
            connection.sendall(request + b"x" * ((2 << 20) - 10))
        connection.setblocking(False)
    end = time.monotonic() + 40
    while refused < 50 and time.monotonic() < end:
        time.sleep(0.1)
        for connection in connections:
            with contextlib.suppress(OSError):
                refused += b"no-room" in connection.recv(65_536)
    for connection in connections:
        connection.close()
    assert refused >= 50, f"{refused} of 400 were refused"
    assert metric(server, "queuepool_http_no_room_total") >= 50
    wait_until(lambda: metric(server, "queuepool_http_held_bytes") == 0, 20, "nothing is held")
    assert server.send(POOL, "g", "after")["id"]


def test_connections_of_one_address_are_bounded(bounded):
    server = bounded("--max-connections-per-address", "20")
    others = []
    for number in range(30):
        others.append(connection := connect(server))
        if number >= 20:
            assert b" 503 " in connection.recv(4096)
    with socket.socket() as connection:
        connection.bind(("127.0.0.2", 0))
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(head("GET", "/healthz"))
        assert b" 200 " in connection.recv(4096)
        connection.sendall(head("GET", "/metrics"))
        page = b""
        while b"queuepool_http_held_bytes " not in page:
            page += connection.recv(65_536)
        assert b'cut_total{reason="too-many-of-address"} 10\n' in page
    for connection in others:
        connection.close()
    wait_until(lambda: server.session.get(server.url + "/healthz", timeout=5).ok, 10, "room again")


def test_the_limit_of_open_files_is_raised_and_obeyed(bounded):
    """The soft limit is raised to what the connections need; beyond the hard one, fewer connections are taken."""
    raised = bounded("--max-connections", "1000", open_files_max=(100, 4_096))
    assert "Max open files            1256 " in (raised_limits := open(f"/proc/{raised.pid}/limits").read()), raised_limits
    server = bounded("--max-connections", "1000", open_files_max=(100, 300))
    assert "ulimit -n" in server.text() and "connections=150" in server.text()
    many = [connect(server) for _ in range(400)]
    served = 0
    for connection in many:
        with contextlib.suppress(OSError):
            connection.sendall(head("GET", "/healthz"))
            served += b" 200 " in connection.recv(4096)
    assert 100 <= served <= 150
    for connection in many:
        connection.close()
    wait_until(lambda: cut(server, "too-many") >= 200, 20, "the count")
    assert server.send(POOL, "g", "after")["id"]
