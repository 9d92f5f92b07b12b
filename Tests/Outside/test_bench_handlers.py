# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What a consumer's time for a message does to the figures of the bench."""

import json

from conftest import run

BRIEF = ["--warm-up-seconds", 0, "--connections", 4]


def report_of(path, *arguments, check=0):
    done = run("bench", *BRIEF, *arguments, "--json", path, check=check)
    return json.loads(path.read_text()), done.stdout


def test_a_group_goes_no_faster_than_one_message_after_the_other(tmp_path):
    found, text = report_of(
        tmp_path / "report.json", "--mode", "drain", "--messages", 40, "--groups", 1, "--handler-ms", 20)
    assert found["checks"]["holds"] and found["checks"]["delivered"] == 40
    drain = found["phases"][1]
    # 40 messages of one group, 20 ms each, are at least 800 ms whatever the machine.
    assert drain["name"] == "drain" and drain["seconds"] >= 0.8 and drain["delete"]["messages"] == 40
    handler = found["handler"]
    assert handler["milliseconds"] == 20 and handler["groupCeilingPerSecond"] == 50
    assert 0 < handler["hottestGroupPerSecond"] <= 50 and handler["hottestGroupShareOfCeiling"] <= 1
    assert "handler: 20 ms a message, so a group goes 50.0 messages/s at most; the hottest goes " in text


def test_a_group_that_is_sent_faster_than_it_is_handled_is_told(tmp_path):
    """One group of 100 messages a second at 50 ms each: five times what one group can do."""
    found, text = report_of(
        tmp_path / "report.json", "--mode", "both", "--seconds", 1, "--groups", 1, "--rate", 100, "--handler-ms", 50,
        "--no-verify")
    handler = found["handler"]
    assert handler["groupCeilingPerSecond"] == 20 and handler["hottestGroupShareOfCeiling"] > 1.5
    assert found["phases"][0]["backlog"] > 0
    assert "BEYOND" in text


def test_messages_have_a_time_from_send_to_receive_beside_the_requests(tmp_path):
    found, text = report_of(tmp_path / "report.json", "--mode", "both", "--seconds", 1, "--groups", 64, "--rate", 200)
    phase = found["phases"][0]
    latency = phase["endToEnd"]["latencyMicroseconds"]
    assert phase["endToEnd"]["messages"] > 0
    assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert [line.split()[:2] for line in text.splitlines() if line.startswith("both ")][-1] == ["both", "end2end"]
    assert found["handler"] is None and "handler" not in text


def test_a_run_that_receives_afterwards_has_no_such_time(tmp_path):
    """How long messages waited for a drain says nothing of a service."""
    found, text = report_of(tmp_path / "report.json", "--messages", 100)
    assert all(phase["endToEnd"] is None for phase in found["phases"]) and "end2end" not in text


def test_a_handler_s_time_has_bounds():
    for wrong in (0, -1, 2_001):
        assert "handler" in run("bench", "--handler-ms", wrong, check=64).stderr
    assert "handler" in run("bench", "--handler-ms", 5, "--no-verify", check=64).stderr, "nothing is received"
