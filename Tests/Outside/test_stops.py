# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Starts that fail and stops, of a server with a worker beside it and of one over remote queues."""

import json
import re
import signal
import socket
import threading

import pytest
import requests
from conftest import Process, free_port, run, wait_until
from receivers import webhook

POOL = "emails.fifo"
REGION = ["--region", "us-east-1"]


def left(server):
    pool = server.pool(POOL)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"]


@pytest.fixture
def processes(tmp_path):
    """Starts `serve` with arguments of a test's own."""
    started = []

    def start(*arguments):
        process = Process(["serve", "--data-dir", tmp_path / "data", "--pool", POOL + "=2", *arguments],
                          tmp_path / f"serve{len(started)}.log")
        started.append(process)
        return process

    yield start
    for process in started:
        if process.is_running:
            process.kill9()


def port_of(process):
    found = wait_until(lambda: re.search(r"Listening.*port=(\d+)|\"port\":\"?(\d+)", process.text()), 30, "a port")
    return int(found[1] or found[2])


# Starts


def test_a_server_whose_port_is_taken_ends_also_with_a_worker_beside_it(processes):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = processes("--listen", f"127.0.0.1:{taken.getsockname()[1]}", "--deliver", "stdout:")
        wait_until(lambda: not process.is_running, 20, "its end")
    assert process.popen.returncode == 69, process.text()[-2000:]
    assert "ended" in process.text()


def test_a_worker_whose_server_found_the_port_taken_does_not_take_the_others_messages(processes, servers, tmp_path):
    other = servers(pools=(POOL + "=2",))
    other.send(POOL, "g", "of the other")
    process = processes("--listen", f"127.0.0.1:{other.port}", "--deliver",
                        f"exec:cat >> {tmp_path}/taken; sleep 50", "--grace-seconds", "40")
    wait_until(lambda: not process.is_running, 20, "its end")
    assert process.popen.returncode == 69, process.text()[-2000:]
    assert not (tmp_path / "taken").exists() and left(other) == 1
    other.stop()


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "0.0.0.0:0", "0.0.0.0:FREE"])
def test_a_worker_beside_the_server_finds_it_wherever_it_listens(processes, listen):
    with webhook() as hook:
        process = processes("--listen", listen.replace("FREE", str(free_port())), "--allow-insecure-listen",
                            "--deliver", hook.url)
        port = port_of(process)
        answer = requests.post(f"http://127.0.0.1:{port}/v1/pools/{POOL}/messages", timeout=20,
                               json={"group": "g", "body": "hello"})
        assert answer.status_code == 202, answer.text
        wait_until(lambda: hook.bodies == ["hello"], 20, "a delivery")
        process.stop()


def test_a_wrong_target_beside_the_server_stops_the_start(processes):
    process = processes("--listen", "127.0.0.1:0", "--deliver", "ftp://127.0.0.1/")
    wait_until(lambda: not process.is_running, 20, "its end")
    assert process.popen.returncode not in (0, None) and "Listening" not in process.text()


# Stops


def test_a_worker_that_takes_its_grace_leaves_the_server_its_own_time(servers, tmp_path):
    """The delivery takes longer than the server may drain, and less than the worker's grace."""
    own = servers("--deliver", f"exec:echo begun >> {tmp_path}/log; sleep 4; echo ended >> {tmp_path}/log",
                  "--drain-seconds", "1", "--grace-seconds", "20")
    own.send(POOL, "g", "x")
    wait_until((tmp_path / "log").exists, 20, "a delivery")
    own.stop()
    assert (tmp_path / "log").read_text().split() == ["begun", "ended"]
    again = servers(port=own.port)
    assert left(again) == 0, "what was delivered was deleted through the server"
    again.stop()


@pytest.mark.parametrize("leaves", [False, True], ids=["clients-stay", "clients-leave"])
@pytest.mark.parametrize("turn", range(3))
def test_a_router_with_long_polls_out_stops_clean(servers, tmp_path, name, turn, leaves):
    pool = name + ".fifo"
    back = servers(name="back", pools=())
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", back.url, *REGION]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 4, *control, check=0)
    front = servers(*control, name="front", pools=())
    sockets = []
    for number in range(12):
        connection = socket.create_connection(("127.0.0.1", front.port), 30)
        body = json.dumps({"QueueUrl": pool if number % 2 else f"{name}-{number % 4:04}.fifo",
                           "WaitTimeSeconds": 20, "MaxNumberOfMessages": 10}).encode()
        connection.sendall((f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{front.port}\r\nX-Amz-Target: "
                            f"AmazonSQS.ReceiveMessage\r\nContent-Type: application/x-amz-json-1.0\r\n"
                            f"Content-Length: {len(body)}\r\n\r\n").encode() + body)
        sockets.append(connection)
    waiting = threading.Event()
    waiting.wait(1)
    front.popen.send_signal(signal.SIGTERM)
    if leaves:
        for connection in sockets:
            connection.close()
    front.stop()
    back.stop()
    for connection in sockets:
        connection.close()
    for server in (front, back):
        assert "EventLoop" not in server.text() and "forced crash" not in server.text(), server.text()[-2000:]
