# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The bench's pages of several measurements: numbers of shards or connections, a router, a search for a rate."""

import json

import pytest
from conftest import run
from test_bench_report import Page, at

BRIEF = ["--seconds", 0.6, "--warm-up-seconds", 0.2, "--groups", 500]


def reported(tmp_path, *arguments, codes=(0,), timeout=120):
    """The result and the page of a run; every figure of the page is the one that it names in the result."""
    result, page = tmp_path / "report.json", tmp_path / "report.html"
    done = run("bench", *arguments, "--json", result, "--html", page, timeout=timeout)
    assert done.returncode in codes, done.stderr
    found, source = json.loads(result.read_text()), page.read_text(encoding="utf-8")
    page = Page(source)
    page.assert_self_contained(source)
    for pointer, value in page.figures:
        named = at(pointer, found)
        if isinstance(named, (bool, str)):
            assert value == (str(named).lower() if isinstance(named, bool) else named), pointer
        else:
            assert float(value) == named, pointer
    assert page.seen.count("figure") == 1, "one plot"
    assert page.text.index("Check holds") < page.text.index("Figures" if "Figures" in page.text else "Runs")
    return found, page, {pointer for pointer, _ in page.figures}


def lines(page):
    """How many lines and how many marks the plot has."""
    classes = [value for tag, name, value in page.attributes if name == "class" and tag == "path"]
    # A line of the legend has the same class.
    return sum(value.startswith("line ") for value in classes) // 2, page.seen.count("circle")


@pytest.mark.parametrize("mode", ["send", "drain"])
def test_numbers_of_shards(mode, tmp_path):
    # Whether a slow machine reaches the quota is not the question.
    found, page, pointers = reported(
        tmp_path, "scale", "--shards", "1,2", "--quota", 100, *BRIEF, "--mode", mode, "--threshold", "p50<60s",
        "--connections", 8, codes=(0, 1))
    assert len(found["steps"]) == 2 and lines(page) == (2, 4)
    for index, step in enumerate(found["steps"]):
        phase = next(n for n, phase in enumerate(step["report"]["phases"]) if phase["name"] == mode)
        action = "delete" if mode == "drain" else "send"
        assert {f"/steps/{index}/{name}" for name in ("shards", "allowedPerSecond", "messagesPerSecond", "ratio")} | {
            f"/steps/{index}/report/phases/{phase}/{action}/latencyMicroseconds/p99",
            f"/steps/{index}/report/checks/acknowledged", f"/steps/{index}/report/thresholds/0/value"} <= pointers
    for title in ("Machine", "Parameters of all", "Thresholds", "allowed by the quota", "2 shards"):
        assert title in page.text, title
    assert "/steps/0/report/parameters/groups" in pointers and "/steps/0/report/parameters/shards" not in pointers


def test_numbers_of_connections(tmp_path):
    found, page, pointers = reported(
        tmp_path, "scale", "--connections", "1,8", *BRIEF, "--verify", "--threshold", "max<1us", codes=(3,))
    assert [step["connections"] for step in found["steps"]] == [1, 8] and lines(page) == (1, 2)
    assert {"/steps/0/connections", "/steps/1/connections", "/steps/1/report/checks/lost"} <= pointers
    assert "none lost" in page.text and page.text.count("MISSED") == 2
    assert "Thresholds missed: max<1us at 1 connections, max<1us at 8 connections" in page.text


def test_a_router(tmp_path):
    found, page, pointers = reported(
        tmp_path, "scale", "--processes", "--shards", "1", "--quota", 100, *BRIEF, "--connections", 8,
        "--latency-pairs", 10, codes=(0, 1))
    assert {"/steps/0/acceptedPerSecond", "/steps/0/consumedRatio", "/steps/0/latency/addedMilliseconds",
            "/steps/0/loads/0/phase/send/messagesPerSecond", "/machine/processor"} <= pointers
    assert lines(page) == (3, 3) and len(found["steps"]) == 1


def test_a_search_for_a_rate(tmp_path):
    found, page, pointers = reported(
        tmp_path, "--find-rate", "p99<1us", "--rate", 6400, "--connections", 8, *BRIEF, codes=(3,))
    steps = found["findRate"]["steps"]
    assert {f"/findRate/steps/{index}/rate" for index in range(len(steps))} <= pointers
    # The judged latency, the median and the limit.
    assert lines(page)[0] == 3 and page.text.count("missed p99<1us") == len(steps)
    assert "No rate holds p99<1us, not even 100/s." in page.text


def test_a_page_is_a_file(tmp_path):
    assert "--html" in run("bench", "scale", "--html", "-", check=64).stderr
    assert "--html" in run("bench", "--find-rate", "p99<1s", "--html", "-", check=64).stderr
