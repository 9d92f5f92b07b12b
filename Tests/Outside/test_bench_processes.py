# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The bench over pools whose shards are queues of an SQS service: own servers as that service, and a running router."""

import json
import signal
from pathlib import Path

from conftest import Process, run, wait_until

BRIEF = ["--seconds", 0.4, "--warm-up-seconds", 0.2, "--connections", 32, "--groups", 2_000, "--latency-pairs", 10]
REGION = ["--region", "us-east-1"]


def children(directory):
    """Processes that have the directory in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and any(str(directory).encode() in word for word in words):
            found.append(path.parent.name)
    return found


def check_step(step, shards, quota):
    assert step["shards"] == shards and step["allowedPerSecond"] == shards * quota * 10
    assert step["checks"]["holds"] and step["checks"]["lost"] == 0
    assert step["acceptedPerSecond"] > 0 and step["consumedPerSecond"] > 0
    assert [load["load"] for load in step["loads"]] == [0.1, 0.5, 0.9]
    for phase in (step["full"], *step["loads"]):
        assert 1 <= phase["batchFill"] <= 10
        # Each message is sent, received and deleted, in requests of at most ten.
        assert phase["cost"]["requestsPerMessage"] >= 0.29
        assert phase["cost"]["dollarsPerMillionMessages"] > 0.14
    assert step["full"]["batchFill"] > step["loads"][0]["batchFill"], "the fuller the batches, the greater the load"
    assert step["latency"]["failures"] == 0 and step["latency"]["router"]["requests"] == 10


def test_processes_are_measured_and_nothing_stays_behind(tmp_path):
    parent, report = tmp_path / "parent", tmp_path / "report.json"
    parent.mkdir()
    done = run("bench", "scale", "--processes", "--shards", 2, "--quota", 80, *BRIEF, "--data-dir-parent", parent,
               "--json", report, timeout=120)
    found = json.loads(report.read_text())
    # How much goes through depends on the machine; what is said of it does not.
    assert done.returncode == (0 if found["reachesRatio"] else 1), done.stdout + done.stderr
    assert found["kind"] == "scale-processes" and found["holds"]
    (step,) = found["steps"]
    check_step(step, 2, 80)
    assert step["full"]["routerCPUMicrosecondsPerMessage"] > 0
    assert step["full"]["phase"]["shardServersCores"] > 0 and step["full"]["phase"]["clientCores"] > 0
    assert step["latency"]["straight"]["requests"] == 10 and step["latency"]["addedMilliseconds"] is not None
    assert "check, 2 shards: holds" in done.stdout
    assert list(parent.iterdir()) == [] and children(parent) == []


def test_an_interrupted_run_ends_its_processes_and_removes_their_directories(tmp_path):
    parent = tmp_path / "parent"
    parent.mkdir()
    bench = Process(["bench", "scale", "--processes", "--shards", 2, "--quota", 80, "--seconds", 60,
                     "--data-dir-parent", parent], tmp_path / "bench.log")
    wait_until(lambda: "goes through" in bench.text(), what="the first measurement")
    assert len(children(parent)) == 3, "two shard servers and a router"
    bench.popen.send_signal(signal.SIGINT)
    assert bench.popen.wait(40) == 130, bench.text()
    assert children(parent) == [] and list(parent.iterdir()) == []


def test_a_running_router_is_measured_over_the_pool_it_has(servers, name, tmp_path):
    back = servers(name="back", pools=())
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", back.url, *REGION]
    pool = name + ".fifo"
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--quota", 80, *control, check=0)
    router = servers(*control, name="front", pools=())
    report = tmp_path / "report.json"
    done = run("bench", "scale", "--endpoint", router.url, "--pool", pool, *BRIEF, "--json", report, timeout=120)
    found = json.loads(report.read_text())
    assert done.returncode == (0 if found["reachesRatio"] else 1), done.stdout + done.stderr
    (step,) = found["steps"]
    check_step(step, 2, 80)
    assert step["latency"]["straight"] is None and step["latency"]["addedMilliseconds"] is None
    router.stop()
    back.stop()


def test_flags_that_exclude_each_other_are_refused():
    assert run("bench", "scale", "--processes", "--endpoint", "http://127.0.0.1:9").returncode == 64
    assert run("bench", "scale", "--pool", "emails.fifo").returncode == 64
    assert "sqs" in run("bench", "scale", "--processes", "--api", "ndjson", check=64).stderr
