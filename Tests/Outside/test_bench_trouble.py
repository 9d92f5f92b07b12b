# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What the bench says when things go badly: it is interrupted, its server dies, or more is asked than goes through."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BIN, Process, free_port, run, wait_until


def servers_under(directory):
    """Processes `serve` that have the directory in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and any(str(directory).encode() in word for word in words):
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def parent(tmp_path):
    directory = tmp_path / "parent"
    directory.mkdir()
    return directory


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_prints_its_figures_and_leaves_nothing_behind(number, code, parent, tmp_path):
    report = tmp_path / "report.json"
    bench = Process(["bench", "--seconds", 600, "--warm-up-seconds", 0, "--connections", 8, "--data-dir-parent", parent,
                     "--json", report], tmp_path / "bench.log")
    wait_until(lambda: "send ..." in bench.text(), what="the first phase")
    (server,) = servers_under(parent)
    wait_until(lambda: sum(path.stat().st_size for path in parent.rglob("*.sqlite-commits*")) > 2_000_000,
               what="stored messages")
    bench.popen.send_signal(number)
    assert bench.popen.wait(40) == code, bench.text()
    assert servers_under(parent) == [] and not Path(f"/proc/{server}").exists()
    assert list(parent.iterdir()) == []
    assert "interrupted" in bench.text() and "not drained" in bench.text()
    found = json.loads(report.read_text())
    assert found["interrupted"] is True
    assert found["phases"][0]["send"]["messages"] > 0 and found["phases"][0]["seconds"] < 600
    assert found["checks"]["acknowledged"] >= found["phases"][0]["send"]["messages"] and found["checks"]["lost"] is None


def test_a_terminal_s_ctrl_c_does_not_reach_the_own_server_first(parent, tmp_path):
    """A terminal sends Ctrl-C to every process of the foreground group."""
    bench = subprocess.Popen(
        [BIN, "bench", "--seconds", "600", "--warm-up-seconds", "0", "--data-dir-parent",
         parent], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_until(lambda: servers_under(parent), what="the server")
    assert "send" in bench.stderr.readline()
    os.killpg(bench.pid, signal.SIGINT)
    output, errors = bench.communicate(timeout=40)
    assert bench.returncode == 130, errors
    assert "interrupted" in output and "errors" not in output
    assert servers_under(parent) == [] and list(parent.iterdir()) == []


@pytest.mark.parametrize("mode", ["send", "both"])
def test_a_server_killed_under_load_has_kept_all_that_it_acknowledged(mode, servers, tmp_path):
    server, report = servers(pools=()), tmp_path / "report.json"
    bench = Process(["bench", "--endpoint", server.url, "--mode", mode, "--seconds", 6, "--warm-up-seconds", 0,
                     "--connections", 8, "--groups", 64, "--json", report], tmp_path / "bench.log")
    wait_until(lambda: sum(path.stat().st_size for path in server.data.rglob("*.sqlite-commits*")) > 2_000_000,
               what="stored messages")
    server.kill9()
    killed = time.monotonic()
    wait_until(lambda: "the server is away" in bench.text(), what="the outage")
    down = time.monotonic() - killed
    again = servers(pools=(), port=server.port)
    assert bench.popen.wait(120) == 0, bench.text()
    found = json.loads(report.read_text())
    checks, outages = found["checks"], found["outages"]
    assert checks["holds"] and checks["lost"] == 0 and checks["reordered"] == 0 and checks["duplicated"] == 0
    assert checks["acknowledged"] == checks["delivered"] > 0
    assert outages["count"] == 1 and outages["isAway"] is False
    assert down / 2 < outages["seconds"] < time.monotonic() - killed
    assert outages["unansweredRequests"] > 0 and outages["failedConnects"] > 0
    assert "outages: 1, " in bench.text() and "lost 0" in bench.text()
    again.stop()


def test_a_server_that_stays_away_ends_the_run_with_its_figures(servers, tmp_path):
    server, report = servers(pools=()), tmp_path / "report.json"
    bench = Process(["bench", "--endpoint", server.url, "--seconds", 600, "--warm-up-seconds", 0, "--connections", 8,
                     "--outage-seconds", 1, "--json", report], tmp_path / "bench.log")
    wait_until(lambda: sum(path.stat().st_size for path in server.data.rglob("*.sqlite-commits*")) > 2_000_000,
               what="stored messages")
    server.kill9()
    assert bench.popen.wait(60) == 69, bench.text()
    found = json.loads(report.read_text())
    assert found["outages"]["isAway"] is True and found["outages"]["seconds"] >= 1
    assert found["checks"]["acknowledged"] > 0 and found["checks"]["lost"] is None, "nothing could be verified"


def test_a_server_that_is_not_there_is_an_error_of_its_own():
    done = run("bench", "--endpoint", f"http://127.0.0.1:{free_port()}", check=69)
    assert "connect" in done.stderr


BRIEF = ["--seconds", 1, "--warm-up-seconds", 0, "--connections", 4, "--groups", 64]


def test_a_rate_beyond_what_goes_through_is_told_as_such(tmp_path):
    """Four connections, one message at a time, cannot send a million messages a second."""
    report = tmp_path / "report.json"
    done = run("bench", *BRIEF, "--rate", 1_000_000, "--no-verify", "--json", report, check=0)
    phase = json.loads(report.read_text())["phases"][0]
    sent, left, due = phase["send"]["messages"], phase["neverSent"], phase["due"]
    assert left > due / 2 and sent + left <= due
    assert phase["send"]["messagesPerSecond"] < 500_000
    latency = phase["send"]["latencyMicroseconds"]
    assert latency["lowerBounds"] == ["p50", "p90", "p99", "p99.9", "max"]
    # Half of what was due was not sent in the second, so it was late by half of that second at least.
    assert latency["p50"] > 100_000 and latency["p99"] > 400_000
    assert f"never sent {left} of {due} due" in done.stdout and "asked 1000000/s, reached " in done.stdout
    assert ">=" in next(line for line in done.stdout.splitlines() if line.startswith("send    send"))


def test_a_rate_that_is_kept_has_no_bounds(tmp_path):
    report = tmp_path / "report.json"
    done = run("bench", *BRIEF, "--rate", 40, "--json", report, check=0)
    phase = json.loads(report.read_text())["phases"][0]
    assert phase["neverSent"] <= 4, "what was due in the last moment"
    if phase["neverSent"] == 0:
        assert phase["send"]["latencyMicroseconds"]["lowerBounds"] == [] and ">=" not in done.stdout


def test_thresholds_have_a_verdict_and_an_exit_code(tmp_path):
    report = tmp_path / "report.json"
    met = ["p50<60s", "p99 < 60000ms", "p99.9<=60s", "max<60s", "rate>1", "loss=0", "duplicates=0", "reordered=0",
           "errors=0"]
    flags = [word for text in met for word in ("--threshold", text)]
    done = run("bench", *BRIEF, "--messages", 200, *flags, "--json", report, check=0)
    verdicts = json.loads(report.read_text())["thresholds"]
    assert [verdict["threshold"] for verdict in verdicts] == met
    assert all(verdict["met"] and verdict["value"] is not None for verdict in verdicts)
    assert done.stdout.count("threshold ") == len(met) and "MISSED" not in done.stdout

    done = run("bench", *BRIEF, "--messages", 200, "--threshold", "p50<60s", "--threshold", "rate>100000000", check=3)
    assert done.stdout.count("MISSED") == 1 and "rate>100000000" in done.stderr


def test_a_threshold_is_missed_when_nothing_proves_it():
    """Without a drain nothing is known of losses; a lower bound says nothing of what is below it."""
    run("bench", *BRIEF, "--messages", 100, "--no-verify", "--threshold", "loss=0", check=3)
    run("bench", *BRIEF, "--rate", 1_000_000, "--no-verify", "--threshold", "p99<60s", check=3)


@pytest.mark.parametrize("text", ["p99", "p98<1ms", "p99<20", "rate>fast", "loss=0ms", "p99!20ms", ""])
def test_a_threshold_that_cannot_be_read_names_what_is_allowed(text):
    done = run("bench", *BRIEF, "--threshold", text, check=64)
    assert "threshold" in done.stderr and "p99.9" in done.stderr and "loss" in done.stderr


@pytest.mark.parametrize("mode", ["send", "both"])
def test_rows_appear_while_it_runs(mode, tmp_path):
    report = tmp_path / "report.json"
    done = run("bench", "--seconds", 2, "--warm-up-seconds", 0, "--connections", 4, "--groups", 64, "--mode", mode,
               "--interval", 0.25, "--json", report, check=0)
    lines = done.stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.split()[:3] == ["seconds", "sent/s", "received/s"])
    assert lines[start].split()[3:] == ["p50", "us", "p99", "us", "backlog"]
    rows = [line.split() for line in lines[start + 1:] if line and line[0] == " "]
    sending = [row for row in rows if int(row[1]) > 0]
    assert len(sending) >= 3 and all(len(row) == 6 for row in sending)
    assert float(rows[0][0]) < float(rows[1][0])
    if mode == "send":
        assert int(sending[-1][5]) > 0, "nothing was received yet"
    alone = run("bench", *BRIEF, "--interval", 0.2, "--json", "-", check=0)
    assert json.loads(alone.stdout)["kind"] == "bench", "JSON on standard output goes alone"
    assert "sent/s" in alone.stderr


@pytest.mark.parametrize("batch", [["--api", "rest"], ["--api", "sqs", "--batch", 10]])
def test_a_skew_is_what_was_asked_for(batch, tmp_path):
    """Of 1,000 groups by zipf:1.1 the first has 0.18 of the messages, whatever the number of connections."""
    report = tmp_path / "report.json"
    done = run("bench", "--messages", 6_000, "--warm-up-seconds", 0, "--connections", 64, "--groups", 1_000, "--skew",
               "zipf:1.1", "--seed", 1, *batch, "--json", report, check=0)
    found = json.loads(report.read_text())
    assert found["checks"]["holds"] and found["checks"]["acknowledged"] == 6_000
    expected = 1 / sum((rank + 1) ** -1.1 for rank in range(1_000))
    assert found["hottestGroup"]["group"] == 0
    assert expected * 0.8 < found["hottestGroup"]["share"] < expected * 1.2
    assert "hottest group: " in done.stdout
    assert found["imbalance"] > 1.6


def test_one_group_can_be_hot(tmp_path):
    report = tmp_path / "report.json"
    run("bench", "--messages", 4_000, "--warm-up-seconds", 0, "--connections", 16, "--groups", 500, "--hot-group", "30%",
        "--seed", 1, "--json", report, check=0)
    found = json.loads(report.read_text())
    assert found["checks"]["holds"] and found["parameters"]["skew"] == "hot:0.3"
    assert 0.26 < found["hottestGroup"]["share"] < 0.34
    for wrong in ("0%", "100%", "30", "x%"):
        assert "hot-group" in run("bench", "--hot-group", wrong, check=64).stderr
