#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What a router over queues of SQS costs a message, beside libcurl alone sending the same full batches.

    benchmarks/router.py [SHARDS]        2 unless given; each is a queue at a server of its own, and no quota is in the way

QUEUEPOOL names the program. Messages come in as NDJSON (many a request) and as single sends; the ceiling is `raw_curl.c`,
which sends ready batches of ten to the same servers and neither signs nor reads. CPU is the router's own, a message.
"""

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from workers import ENV, PROGRAM, Server, fill, row

HERE = Path(__file__).resolve().parent
POOL = "bench.fifo"
MESSAGES = 200_000


def make_pool(control, servers):
    places = [f"--shard-endpoint={number}={server.url}" for number, server in enumerate(servers)]
    subprocess.run(
        [PROGRAM, "pool", "create", POOL, "--backend", "sqs", "--shards", str(len(servers)), "--control",
         f"sqlite:{control}", "--endpoint-url", servers[0].url, "--region", "us-east-1", "--quota", "20000", *places],
        check=True, env=ENV, stdout=subprocess.DEVNULL)


def ceiling(directory, servers):
    program = directory / "raw_curl"
    subprocess.run(["gcc", "-O2", "-o", program, HERE / "raw_curl.c", "-lcurl"], check=True)
    queues = [f"{server.url}/000000000000/bench-{number:04}.fifo" for number, server in enumerate(servers)]
    answer = subprocess.run([program, "5", "1024", "8", *queues], check=True, capture_output=True, text=True)
    return json.loads(answer.stdout)


def ndjson(router):
    fill(router.url, POOL, MESSAGES // 10)
    before = router.cpu_seconds()
    fill(router.url, POOL, MESSAGES)
    return (router.cpu_seconds() - before) / MESSAGES * 1e6


def singles(router, directory):
    report = directory / "singles.json"
    subprocess.run(
        [PROGRAM, "bench", "--endpoint", router.url, "--server-pid", str(router.popen.pid), "--pool", POOL,
         "--allow-nonempty", "--api", "rest", "--connections", "256", "--groups", "65536", "--seconds", "5", "--json", report],
        check=False, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    phase = next(phase for phase in json.loads(report.read_text())["phases"] if phase["name"] == "send")
    return phase["serverCPUMicrosecondsPerMessage"], phase["send"]["messagesPerSecond"]


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    directory = Path(tempfile.mkdtemp(prefix="queuepool-router."))
    try:
        with contextlib.ExitStack() as stack:
            homes = [directory / f"server{number}" for number in range(count)]
            for home in [*homes, directory / "router"]:
                home.mkdir()
            servers = [stack.enter_context(Server(home)) for home in homes]
            control = directory / "control.sqlite"
            make_pool(control, servers)
            router = stack.enter_context(Server(directory / "router", "--control", f"sqlite:{control}"))
            bare = ceiling(directory, servers)["cpu_us_per_message"]
            row("libcurl alone, full batches", f"{bare:.1f} us CPU a message", "1.00")
            cost = ndjson(router)
            row("router, NDJSON in", f"{cost:.1f} us CPU a message", f"{cost / bare:.2f}")
            cost, rate = singles(router, directory)
            row("router, single sends in", f"{cost:.1f} us CPU a message", f"{cost / bare:.2f}",
                f"{rate:,.0f} messages/s; an HTTP request a message comes in")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
