# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The steps of a scale run take the load of a single run, and its thresholds."""

import json
import signal

import pytest
from conftest import Process, run, wait_until

BRIEF = ["--shards", 1, "--quota", 100, "--seconds", 1, "--warm-up-seconds", 0.2, "--connections", 8, "--groups", 500]


def report_of(path, *arguments):
    done = run("bench", "scale", *BRIEF, *arguments, "--json", path)
    return done, json.loads(path.read_text())


def test_a_step_has_the_load_that_was_asked_for(tmp_path):
    done, found = report_of(tmp_path / "report.json", "--rate", 50, "--batch", 5, "--mode", "both", "--hot-group", "30%")
    step = found["steps"][0]
    parameters = step["report"]["parameters"]
    assert parameters["rate"] == 50 and parameters["batch"] == 5 and parameters["mode"] == "both"
    assert parameters["skew"] == "hot:0.3"
    # What is allowed is in batches as they are sent; what was asked for is less than that.
    assert step["allowedPerSecond"] == 100 * 5 and step["expectedPerSecond"] == 50
    assert step["ratio"] == pytest.approx(step["messagesPerSecond"] / 50, abs=0.01)
    assert done.returncode == (0 if found["reachesRatio"] else 1), done.stderr


def test_a_drain_is_measured_by_what_was_deleted(tmp_path):
    _, found = report_of(tmp_path / "report.json", "--mode", "drain", "--skew", "zipf:0.5")
    step = found["steps"][0]
    drain = step["report"]["phases"][1]
    assert step["report"]["parameters"]["skew"] == "zipf:0.5"
    assert drain["name"] == "drain" and step["messagesPerSecond"] == drain["delete"]["messagesPerSecond"] > 0


def test_thresholds_are_judged_at_each_step(tmp_path):
    flags = ["--rate", 50, "--batch", 1, "--threshold", "p50<60s", "--threshold", "max<1us"]
    done, found = report_of(tmp_path / "report.json", *flags)
    (step,) = found["steps"]
    assert [(verdict["threshold"], verdict["met"]) for verdict in step["report"]["thresholds"]] == [
        ("p50<60s", True), ("max<1us", False)]
    assert done.stdout.count("1 shards: threshold ") == 2 and "MISSED" in done.stdout
    if found["reachesRatio"]:
        assert done.returncode == 3 and "max<1us" in done.stderr


def test_what_measures_a_router_has_its_own_load():
    for flags in (["--batch", 1], ["--mode", "both"], ["--connections", "1,2"]):
        assert flags[0] in run("bench", "scale", "--processes", *flags, check=64).stderr
    assert "exclude" in run("bench", "scale", "--skew", "uniform", "--hot-group", "5%", check=64).stderr
    assert "batch" in run("bench", "scale", "--batch", 11, check=64).stderr
    assert "threshold" in run("bench", "scale", "--threshold", "p98<1ms", check=64).stderr


def test_a_router_is_asked_for_a_rate_and_judged_by_thresholds(tmp_path):
    report = tmp_path / "report.json"
    flags = ["--threshold", "p50<60s", "--threshold", "loss=0", "--threshold", "max<1us"]
    done = run("bench", "scale", "--processes", "--shards", 2, "--quota", 100, "--rate", 100, "--seconds", 1.5,
               "--warm-up-seconds", 0.3, "--connections", 8, "--groups", 500, "--latency-pairs", 10, *flags,
               "--json", report, timeout=120)
    found = json.loads(report.read_text())
    (step,) = found["steps"]
    assert found["holds"] and found["parameters"]["rate"] == 100
    assert step["expectedPerSecond"] == 100 and step["allowedPerSecond"] == 2 * 100 * 10
    assert step["full"]["phase"]["rate"] == 100 and step["loads"] == []
    assert step["acceptedRatio"] == pytest.approx(step["acceptedPerSecond"] / 100, abs=0.01)
    assert [(verdict["threshold"], verdict["met"]) for verdict in step["thresholds"]] == [
        ("p50<60s", True), ("loss=0", True), ("max<1us", False)]
    assert "an open loop at 100 messages/s" in done.stdout and "2 shards: threshold max<1us: MISSED" in done.stdout
    assert done.returncode == (3 if found["reachesRatio"] else 1), done.stderr
    if found["reachesRatio"]:
        assert "max<1us at 2 shards" in done.stderr


CURVE = ["--seconds", 0.5, "--warm-up-seconds", 0.1, "--groups", 500]


def test_connections_are_a_curve(tmp_path):
    report = tmp_path / "report.json"
    done = run("bench", "scale", "--connections", "1,3,16", *CURVE, "--mode", "both", "--verify", "--json", report,
               check=0)
    found = json.loads(report.read_text())
    assert found["kind"] == "scale-connections" and found["holds"]
    assert [step["connections"] for step in found["steps"]] == [1, 3, 16]
    for step in found["steps"]:
        parameters = step["report"]["parameters"]
        assert parameters["connections"] == step["connections"] and parameters["shards"] == 8
        assert parameters["batch"] == 1 and parameters["quota"] is None
        assert step["report"]["checks"]["lost"] == 0 and step["report"]["checks"]["acknowledged"] > 0
    lines = done.stdout.splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith("connections"))
    rows = [line.split() for line in lines[start + 1:start + 4]]
    assert [row[0] for row in rows] == ["1", "3", "16"]
    for row, step in zip(rows, found["steps"], strict=True):
        phase = next(phase for phase in step["report"]["phases"] if phase["name"] == "both")
        assert abs(int(row[1]) - phase["send"]["messagesPerSecond"]) <= 1
        assert float(row[6]) > 0, "the server's CPU a message is seen"


def test_a_curve_has_thresholds_and_ends_at_a_signal(tmp_path):
    done = run("bench", "scale", "--connections", "1,2", *CURVE, "--threshold", "max<1us", check=3)
    assert done.stdout.count("MISSED") == 2 and "max<1us at 2 connections" in done.stderr
    report = tmp_path / "report.json"
    bench = Process(["bench", "scale", "--connections", "1,2", "--seconds", 600, "--json", report],
                    tmp_path / "bench.log")
    wait_until(lambda: "1 connections: send" in bench.text(), what="the first step")
    bench.popen.send_signal(signal.SIGINT)
    assert bench.popen.wait(40) == 130, bench.text()
    found = json.loads(report.read_text())
    assert found["interrupted"] is True and len(found["steps"]) == 1


@pytest.mark.parametrize("flags", [
    ["--connections", "1,x"], ["--connections", "1,"], ["--connections", "0,1"], ["--connections", "many"],
    ["--connections", "1,2", "--shards", "1,2"], ["--connections", "1,2", "--mode", "drain"]])
def test_a_curve_that_cannot_be_measured_is_refused(flags):
    run("bench", "scale", *flags, check=64)
