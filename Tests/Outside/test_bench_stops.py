# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A server that stands still while the bench sends and receives at once."""

import json
import signal
import time

import pytest
from conftest import Process, wait_until
from test_bench_pools import stored

VISIBILITY = 2


@pytest.mark.parametrize("handler", [[], ["--handler-ms", 20]])
def test_messages_whose_visibility_ends_while_a_server_stands_still_are_neither_lost_nor_doubled(
        handler, servers, tmp_path):
    """What was handed out before the stop may come again after it; that is one outage, as long as it was."""
    server, report = servers(pools=()), tmp_path / "report.json"
    server.answer("CreateQueue", {"QueueName": "bench.fifo", "Attributes": {
        "FifoQueue": "true", "VisibilityTimeout": str(VISIBILITY)}})
    bench = Process(["bench", "--endpoint", server.url, "--mode", "both", "--seconds", 10, "--warm-up-seconds", 0,
                     "--connections", 8, "--receivers", 8, "--groups", 64, "--answer-seconds", 0.5, *handler,
                     "--json", report], tmp_path / "bench.log")
    wait_until(lambda: stored(server), what="stored messages")
    server.popen.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        wait_until(lambda: "the server is away" in bench.text(), what="the outage")
        # So that every connection has tried more than once, and no message is invisible any more.
        time.sleep(3 * VISIBILITY)
    finally:
        server.popen.send_signal(signal.SIGCONT)
    wait_until(lambda: "the server is back" in bench.text(), what="its end")
    away = time.monotonic() - stopped
    assert bench.popen.wait(120) == 0, bench.text()
    found = json.loads(report.read_text())
    checks, outages = found["checks"], found["outages"]
    assert checks["holds"] and checks["lost"] == 0 and checks["acknowledged"] == checks["delivered"] > 0
    assert checks["duplicated"] == 0 and checks["reordered"] == 0 and checks["corrupted"] == 0
    assert outages["count"] == 1 and outages["isAway"] is False, bench.text()
    assert 3 * VISIBILITY <= outages["seconds"] < 1.5 * away
    assert outages["unansweredRequests"] >= 8
    server.stop()
