# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The steps of a scale run take the load of a single run, and its thresholds."""

import json

import pytest
from conftest import run

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
    for flags in (["--rate", 5], ["--batch", 1], ["--mode", "both"], ["--threshold", "p99<1s"]):
        assert flags[0] in run("bench", "scale", "--processes", *flags, check=64).stderr
    assert "exclude" in run("bench", "scale", "--skew", "uniform", "--hot-group", "5%", check=64).stderr
    assert "batch" in run("bench", "scale", "--batch", 11, check=64).stderr
    assert "threshold" in run("bench", "scale", "--threshold", "p98<1ms", check=64).stderr
