# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The bench at a running server: which pools it takes, and what a server that answers nothing is to it."""

import json
import signal

from conftest import Process, run, wait_until

BRIEF = ["--messages", 40, "--warm-up-seconds", 0, "--connections", 4, "--groups", 16]


def test_a_pool_with_messages_of_others_is_refused_and_left_as_it_is(servers):
    server = servers(pools=("orders.fifo=2",))
    for number in range(3):
        server.send("orders.fifo", f"g{number}", "an order")
    done = run("bench", "--endpoint", server.url, "--pool", "orders.fifo", *BRIEF, check=64)
    assert "orders.fifo" in done.stderr and "3 messages" in done.stderr and "--allow-nonempty" in done.stderr
    assert "send ..." not in done.stderr, "nothing was sent"
    assert server.pool("orders.fifo")["backlog"] == 3
    scale = run("bench", "scale", "--endpoint", server.url, "--pool", "orders.fifo", check=64)
    assert "3 messages" in scale.stderr and "--allow-nonempty" in scale.stderr
    server.stop()


def test_messages_in_flight_and_delayed_are_of_others_too(servers):
    server = servers(pools=("orders.fifo=1",))
    server.send("orders.fifo", "g", "an order")
    got = server.answer("ReceiveMessage", {"QueueUrl": "orders.fifo", "VisibilityTimeout": 300})
    assert len(got["Messages"]) == 1
    done = run("bench", "--endpoint", server.url, "--pool", "orders.fifo", *BRIEF, check=64)
    assert "1 in flight" in done.stderr
    server.stop()


def test_a_pool_with_messages_of_others_is_taken_when_asked_for(servers, tmp_path):
    server, report = servers(pools=("orders.fifo=2",)), tmp_path / "report.json"
    server.send("orders.fifo", "g", "an order")
    run("bench", "--endpoint", server.url, "--pool", "orders.fifo", "--allow-nonempty", "--no-verify", *BRIEF,
        "--json", report, check=0)
    assert json.loads(report.read_text())["checks"]["acknowledged"] == 40
    assert server.pool("orders.fifo")["backlog"] == 41
    server.stop()


def test_a_quota_that_the_pool_does_not_have_is_refused(servers):
    server = servers(pools=("orders.fifo=2",))
    done = run("bench", "--endpoint", server.url, "--pool", "orders.fifo", "--quota", 300, *BRIEF, check=64)
    assert "quota" in done.stderr and "300" in done.stderr and "no quota" in done.stderr
    assert server.pool("orders.fifo")["backlog"] == 0
    # A pool that the run makes gets it.
    run("bench", "--endpoint", server.url, "--pool", "made.fifo", "--shards", 2, "--quota", 300, *BRIEF, check=0)
    assert server.pool("made.fifo")["quota"] == 300
    done = run("bench", "--endpoint", server.url, "--pool", "made.fifo", "--quota", 200, *BRIEF, check=64)
    assert "a quota of 300" in done.stderr
    run("bench", "--endpoint", server.url, "--pool", "made.fifo", "--quota", 300, *BRIEF, check=0)
    server.stop()


def stored(server, size=1_000_000):
    return sum(path.stat().st_size for path in server.data.rglob("*.sqlite-commits*")) > size + 1_048_576


def test_a_server_that_answers_nothing_is_an_outage_until_it_answers(servers, tmp_path):
    """Stopped, it still accepts connections; what is sent again when it goes on is neither doubled nor reordered."""
    server, report = servers(pools=()), tmp_path / "report.json"
    bench = Process(["bench", "--endpoint", server.url, "--seconds", 5, "--warm-up-seconds", 0, "--connections", 8,
                     "--groups", 64, "--answer-seconds", 1, "--json", report], tmp_path / "bench.log")
    wait_until(lambda: stored(server), what="stored messages")
    server.popen.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: "the server is away" in bench.text(), what="the outage")
    finally:
        server.popen.send_signal(signal.SIGCONT)
    assert bench.popen.wait(120) == 0, bench.text()
    found = json.loads(report.read_text())
    checks, outages = found["checks"], found["outages"]
    assert checks["holds"] and checks["lost"] == 0 and checks["acknowledged"] == checks["delivered"] > 0
    assert outages["count"] == 1 and outages["seconds"] >= 1 and outages["unansweredRequests"] >= 1
    assert outages["failedConnects"] == 0 and outages["isAway"] is False
    assert found["phases"][0]["send"]["latencyMicroseconds"]["max"] >= 1_000_000, "who waited is in the latency"
    server.stop()


def test_a_server_that_answers_nothing_for_too_long_ends_the_run(servers, tmp_path):
    server, report = servers(pools=()), tmp_path / "report.json"
    bench = Process(["bench", "--endpoint", server.url, "--seconds", 600, "--warm-up-seconds", 0, "--connections", 8,
                     "--answer-seconds", 1, "--outage-seconds", 2, "--json", report], tmp_path / "bench.log")
    wait_until(lambda: stored(server), what="stored messages")
    server.popen.send_signal(signal.SIGSTOP)
    assert bench.popen.wait(60) == 69, bench.text()
    server.popen.send_signal(signal.SIGCONT)
    found = json.loads(report.read_text())
    assert found["outages"]["isAway"] is True and found["outages"]["seconds"] >= 2 and found["checks"]["lost"] is None
    server.stop()
