# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The search for the highest rate that keeps a latency."""

import json
import signal

import pytest
from conftest import Process, run, wait_until

BRIEF = ["--seconds", 0.3, "--warm-up-seconds", 0.1, "--connections", 8, "--groups", 200]


def search(tmp_path, *arguments, code):
    report = tmp_path / "report.json"
    done = run("bench", "--find-rate", *arguments, "--json", report, check=code, timeout=120)
    return done, json.loads(report.read_text())


def rows(output):
    """Rows of runs: asked, reached, p50, p99, p99.9 and the verdict."""
    lines = output.splitlines()
    start = next(n for n, line in enumerate(lines) if line.split()[:2] == ["asked/s", "reached/s"])
    end = next(n for n, line in enumerate(lines) if " a request, " in line)
    return [line.split(maxsplit=5) for line in lines[start + 1:end]]


@pytest.mark.parametrize("mode", ["send", "both"])
def test_the_highest_rate_is_one_that_held_twice(mode, tmp_path):
    """At most as fast as a server with a quota lets through: 4 shards of 100 requests a second."""
    done, found = search(tmp_path, "p50<60s", *BRIEF, "--mode", mode, "--api", "sqs", "--shards", 4, "--quota", 100,
                         code=0)
    result, steps = found["findRate"], found["findRate"]["steps"]
    assert result["threshold"] == "p50<60s" and result["confirmed"] is True
    assert len([step for step in steps if step["rate"] == result["rate"] and step["held"]]) >= 2
    assert 1 < len(steps) <= 12 and any(not step["held"] for step in steps)
    assert result["failedRate"] > result["rate"] and result["closedLoopMessagesPerSecond"] > 0
    # A rate is held when it is reached, up to what was due in the last moment.
    for step in steps:
        phase = step["phase"]
        assert step["held"] == (not step["reasons"]) and phase["rate"] == pytest.approx(step["rate"], abs=0.01)
        if step["held"]:
            assert phase["neverSent"] <= max(1, phase["due"] / 100) and phase["errors"] == {}
    assert found["checks"]["holds"] and found["checks"]["lost"] == 0
    assert found["checks"]["acknowledged"] == found["checks"]["delivered"] > 0
    table = rows(done.stdout)
    assert [row[5] == "held" for row in table] == [step["held"] for step in steps]
    last = done.stdout.splitlines()[-1]
    assert last.startswith("highest rate with p50<60s: ") and f"{result['failedRate']:.0f}/s failed" in last


def test_a_latency_that_no_rate_holds_is_missed(tmp_path):
    done, found = search(tmp_path, "p99<1us", *BRIEF, "--rate", 6400, code=3)
    assert [step["rate"] for step in found["findRate"]["steps"]] == [6400, 3200, 800, 100, 100]
    assert found["findRate"]["rate"] is None and found["findRate"]["lowestRate"] == 100
    assert [row[5] for row in rows(done.stdout)][-1] == "missed p99<1us"
    assert "no rate holds p99<1us, not even 100/s" in done.stdout and "not even 100/s" in done.stderr


def test_an_interrupted_search_tells_what_is_known(tmp_path):
    report = tmp_path / "report.json"
    # One run alone would take ten minutes.
    bench = Process(["bench", "--find-rate", "p99<60s", "--rate", 50, "--seconds", 600, "--warm-up-seconds", 0,
                     "--connections", 4, "--json", report], tmp_path / "bench.log")
    wait_until(lambda: "messages/s ..." in bench.text(), what="the first run")
    bench.popen.send_signal(signal.SIGINT)
    assert bench.popen.wait(40) == 130, bench.text()
    found = json.loads(report.read_text())
    assert found["interrupted"] is True and found["findRate"]["rate"] is None and found["findRate"]["steps"] == []
    assert "interrupted: no rate is known to hold p99<60s" in bench.text()


def test_rates_that_held_before_an_interruption_are_told(tmp_path):
    report = tmp_path / "report.json"
    bench = Process(["bench", "--find-rate", "p50<60s", "--rate", 20, *BRIEF, "--json", report], tmp_path / "bench.log")
    wait_until(lambda: bench.text().count("messages/s ...") == 2, what="the second run")
    bench.popen.send_signal(signal.SIGINT)
    assert bench.popen.wait(40) == 130, bench.text()
    found = json.loads(report.read_text())["findRate"]
    assert len(found["steps"]) >= 1
    if found["steps"][0]["held"]:
        assert found["rate"] >= 20 and "interrupted: highest rate with p50<60s: " in bench.text()
        assert found["confirmed"] or "held once only" in bench.text()


def test_json_on_standard_output_goes_alone():
    done = run("bench", "--find-rate", "p99<1us", *BRIEF, "--rate", 100, "--json", "-", check=3)
    assert json.loads(done.stdout)["kind"] == "bench-find-rate"
    assert "reached/s" in done.stderr


@pytest.mark.parametrize("flags", [
    ["p99>20ms"], ["rate>5"], ["p99"], ["p99<20ms", "--mode", "drain"], ["p99<20ms", "--messages", 5],
    ["p99<20ms", "--interval", 1]])
def test_what_cannot_be_searched_is_refused(flags):
    run("bench", "--find-rate", *flags, check=64)
