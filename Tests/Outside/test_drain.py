# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""SIGTERM under load: whatever was accepted is answered, whatever was answered is kept, and the exit code is 0."""

import json
import signal
import socket
import threading

import requests
from conftest import wait_until
from test_sqs_receiving import background, waiting_receives

POOL = "emails.fifo"


class Load(threading.Thread):
    """Sends without pause, until the server is gone; notes which bodies were acknowledged."""

    def __init__(self, url, number):
        super().__init__(daemon=True)
        self.url, self.number, self.acknowledged, self.odd = url, number, [], []

    def run(self):
        session = requests.Session()
        for i in range(1_000_000):
            body = f"{self.number}/{i}"
            try:
                answer = session.post(f"{self.url}/v1/pools/{POOL}/messages", timeout=30,
                                      json={"group": f"g{self.number}", "body": body})
            except requests.RequestException:
                return
            if answer.status_code == 202:
                self.acknowledged.append(body)
            elif answer.status_code != 503:
                self.odd.append(answer.status_code)


def test_a_stop_under_load_loses_nothing(servers):
    server = servers()
    loads = [Load(server.url, i) for i in range(16)]
    for load in loads:
        load.start()
    wait_until(lambda: sum(len(load.acknowledged) for load in loads) > 500, what="some load")
    server.stop()
    for load in loads:
        load.join(30)
        assert not load.is_alive() and load.odd == []
    again = servers(port=server.port)
    stored = [m["Body"] for m in again.drain(POOL)]
    assert len(stored) == len(set(stored))
    for load in loads:
        mine = [body for body in stored if body.startswith(f"{load.number}/")]
        assert set(load.acknowledged) <= set(mine), "an acknowledged message is missing"
        assert len(mine) - len(load.acknowledged) <= 1, "more than the one request under way was stored unanswered"
        assert mine == sorted(mine, key=lambda body: int(body.split("/")[1]))
    again.stop()


def test_a_request_that_was_read_is_answered(servers):
    """A shard that takes long keeps the request under way while the stop begins."""
    server = servers("--inject-latency-ms", "1500")
    answer = background(lambda: server.send(POOL, "g", "slow"))
    waiting = lambda: [line for line in requests.get(server.url + "/metrics", timeout=5).text.splitlines()
                       if line.startswith("queuepool_connections ")][0].split()[1]
    wait_until(lambda: int(float(waiting())) >= 2, what="the request's connection")
    threading.Event().wait(0.3)  # the request is being carried out; nothing tells when it was read
    server.stop()
    assert answer()["id"]


def test_waiting_receives_are_answered_empty(servers):
    server = servers()
    answers = [background(lambda: server.boto().receive_message(QueueUrl=POOL, WaitTimeSeconds=20)) for _ in range(5)]
    wait_until(lambda: waiting_receives(server) == 5, what="five waiting receives")
    server.stop(timeout=15)
    assert all("Messages" not in answer() for answer in answers)


def test_an_idle_connection_does_not_hold_the_stop_up(servers):
    server = servers()
    idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(10)]
    half = socket.create_connection(("127.0.0.1", server.port))
    half.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nX-Amz-")
    kept = requests.Session()
    assert kept.get(server.url + "/healthz", timeout=5).status_code == 200
    server.stop(timeout=38)
    for connection in idle + [half]:
        connection.close()


def test_a_stream_under_way_is_ended_at_a_line(servers):
    """What a stream was told is stored; the rest can be sent again."""
    server = servers("--drain-seconds", "5")
    line = json.dumps({"group": "g", "body": "x"}).encode() + b"\n"
    stop = threading.Event()

    def lines():
        while not stop.is_set():
            yield line * 10
            stop.wait(0.01)

    told = []

    def stream():
        try:
            with requests.post(f"{server.url}/v1/pools/{POOL}/messages", data=lines(), stream=True, timeout=30,
                               headers={"Content-Type": "application/x-ndjson"}) as answer:
                told.extend(json.loads(row)["id"] for row in answer.iter_lines() if b'"id"' in row)
        except (requests.RequestException, ValueError):
            pass

    done = background(lambda: stream() or True)
    wait_until(lambda: server.pool(POOL)["backlog"] > 50, what="some lines")
    server.popen.send_signal(signal.SIGTERM)
    stop_later = threading.Timer(1, stop.set)
    stop_later.start()
    server.stop()
    stop.set()
    done()
    again = servers(port=server.port)
    assert set(told) <= {m["MessageId"] for m in again.drain(POOL)}
    again.stop()
