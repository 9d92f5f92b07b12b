#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Whether a deep backlog costs: the rate of a drain at depths of its backlog, time of open over it, memory a message.

    benchmarks/depth.py [drain] [memory]        both unless named

MESSAGES (5,000,000; up to 20,000,000) messages of BODY_BYTES (256) are laid in and drained again by 64 receivers, each
of them checked. The rate at a depth is what was deleted while the backlog went down by WINDOW (500,000) from there;
near empty it is that of the last WINDOW but for its last tenth, where receivers find fewer and fewer groups.

Between filling and draining the server is stopped and started (not with RESTART=0): time of open is that from the
start of the process to the first 200 of /readyz, files in the page cache. The drain then counts from SETTLE (2)
seconds later, and nothing that the server had kept in memory helps the first messages. Memory is that of memory.sh
with bodies of 100, 1,024 and 10,240 bytes, in a server whose shards keep 1 MiB of bodies, which would otherwise count
as backlog where bodies are small; MEMORY_SCALE (1) times 1,000,000, 600,000 and 200,000 messages.
QUEUEPOOL names the program. Results go to RESULTS (benchmarks/results), depth.json.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

from common import (HERE, PROGRAM, Server, bench_words, directory, machine, number, phase, say, status_bytes, verdict,
                    write)

MESSAGES = int(number("MESSAGES", 5_000_000))
BODY = int(number("BODY_BYTES", 256))
WINDOW = min(int(number("WINDOW", 500_000)), max(1, MESSAGES // 10))
GROUPS = int(number("GROUPS_COUNT", 10_000))
SETTLE = number("SETTLE", 2.0)
RESTART = os.environ.get("RESTART", "1") != "0"
DEPTHS = [20_000_000, 10_000_000, 5_000_000, 1_000_000]
GOAL, OPEN_ALLOWED, BYTES_ALLOWED = 0.9, 10, 200
MEMORY = [(100, 1_000_000), (1_024, 600_000), (10_240, 200_000)]


def rate_between(rows, high, low):
    """Messages a second deleted by the intervals that ended with a backlog of `low` or more, and below `high`."""
    chosen = [row for row in rows if low <= row["backlog"] < high]
    seconds = sum(row["seconds"] for row in chosen)
    return sum(row["deleted"] for row in chosen) / seconds if seconds else None


def rates(rows):
    """Rates by depth. A depth below which the drain did not go through a whole window has none."""
    depths = sorted({MESSAGES, *(depth for depth in DEPTHS if 2 * WINDOW <= depth < MESSAGES)}, reverse=True)
    # What went between the restart and the first row that counts is not measured.
    top = rows[0]["backlog"] if rows else 0
    found = {min(depth, top): rate_between(rows, min(depth, top) + 1, min(depth, top) - WINDOW) for depth in depths}
    near_empty = rate_between(rows, WINDOW, WINDOW // 10)
    return {depth: rate for depth, rate in found.items() if rate}, near_empty


class Drain:
    """One run of the bench; its server is stopped and started when the drain begins."""

    def __init__(self, place):
        self.file = place / "drain.json"
        self.server = Server(place / "data").start()
        self.began = self.reopened = self.client_bytes = None
        self.opened = {}

    def run(self):
        words = bench_words(
            self.server, self.file, "--mode", "drain", "--messages", MESSAGES, "--batch", 10, "--api", "sqs",
            "--body-bytes", BODY, "--groups", GROUPS, "--receivers", 64)
        if RESTART:
            # The process that is read would be gone.
            at = words.index("--server-pid")
            del words[at:at + 2]
        popen = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        watcher = threading.Thread(target=self.watch_memory, args=(popen,), daemon=True)
        watcher.start()
        said = []
        for line in popen.stderr:
            said.append(line)
            if line.startswith("drain") and self.began is None:
                self.began = time.monotonic()
                if RESTART:
                    self.restart()
        code = popen.wait()
        watcher.join(5)
        self.server.stop()
        if code:
            raise SystemExit(f"bench ended with exit code {code}: {''.join(said)[-500:]}")
        return json.loads(self.file.read_text())

    def restart(self):
        self.server.stop()
        self.server.start()
        self.reopened = time.monotonic()
        allowed = OPEN_ALLOWED * max(1, MESSAGES / 5_000_000)
        self.opened = {
            "seconds": round(self.server.ready_seconds, 3), "allowedSeconds": round(allowed, 1),
            "residentBytes": status_bytes(self.server.popen.pid, "VmRSS"),
            "holds": self.server.ready_seconds < allowed}
        say(f"opened in {self.server.ready_seconds:.2f} s")

    def watch_memory(self, popen):
        while popen.poll() is None:
            try:
                self.client_bytes = status_bytes(popen.pid, "VmHWM") or self.client_bytes
            except OSError:
                return
            time.sleep(0.2)


def drain():
    with directory("depth") as place:
        # Rows, their index and log; what a drain needs beside it while it goes on.
        wanted = MESSAGES * (BODY + 400) * 2
        if shutil.disk_usage(place).free < wanted:
            raise SystemExit(f"{wanted >> 30} GiB of disk are needed under TMPDIR")
        say(f"laying in {MESSAGES:,} messages of {BODY} bytes")
        run = Drain(place)
        try:
            report = run.run()
        finally:
            run.server.stop()
    cut = run.reopened - run.began + SETTLE if RESTART else 0
    drained = phase(report, "drain")
    rows = [row for row in drained["intervals"] if row["from"] >= cut]
    by_depth, near_empty = rates(rows)
    if not near_empty:
        raise SystemExit("the drain was over before anything was measured: lay in more messages")
    found = {
        "messages": MESSAGES, "bodyBytes": BODY, "groups": GROUPS, "windowMessages": WINDOW,
        "restarted": RESTART, "fillPerSecond": phase(report, "fill")["send"]["messagesPerSecond"],
        "drainPerSecond": drained["delete"]["messagesPerSecond"], "nearEmptyPerSecond": round(near_empty, 1),
        "depths": [{"backlog": depth, "perSecond": round(rate, 1), "ratio": round(rate / near_empty, 3),
                    "holds": rate / near_empty >= GOAL} for depth, rate in by_depth.items()],
        "intervals": [[row["backlog"], row["deleted"], round(row["seconds"], 3)] for row in rows],
        "goal": GOAL, "open": run.opened, "clientBytesMax": run.client_bytes, "checks": report["checks"]}
    print(f"| backlog | deleted/s | ratio to near empty | goal {GOAL} |\n|---|---|---|---|")
    for row in found["depths"]:
        print(f"| {row['backlog']:,} | {row['perSecond']:,.0f} | {row['ratio']:.2f} | {verdict(row['holds'])} |")
    print(f"| the last {WINDOW:,} | {near_empty:,.0f} | 1.00 | |")
    if run.opened:
        print(f"opening {MESSAGES:,} messages: {run.opened['seconds']:.2f} s, "
              f"{run.opened['residentBytes'] >> 20} MiB; the client took {run.client_bytes >> 20} MiB at most")
    return found


def memory():
    scale, found = number("MEMORY_SCALE", 1.0), []
    for body, messages in MEMORY:
        environment = {**os.environ, "QUEUEPOOL": PROGRAM, "BODY_BYTES": str(body),
                       "MESSAGES": str(max(20_000, int(messages * scale))), "QUEUEPOOL_SHARD_CACHE_BYTES": "1048576"}
        say(f"memory with bodies of {body} bytes")
        done = subprocess.run(["bash", str(HERE / "memory.sh")], env=environment, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise SystemExit(f"memory.sh failed: {done.stderr[-500:]}")
        found.append({"bodyBytes": body, **json.loads(done.stdout)})
    print(f"| body | messages | bytes a message, running | reopened | {BYTES_ALLOWED} allowed |\n|---|---|---|---|---|")
    for row in found:
        print(f"| {row['bodyBytes']:,} | {row['messages']:,} | {row['bytesPerMessageRunning']:.0f} | "
              f"{row['bytesPerMessageReopened']:.0f} | {verdict(row['holds'])} |")
    return found


def main():
    parts = {"drain": drain, "memory": memory}
    chosen = sys.argv[1:] or list(parts)
    if set(chosen) - set(parts):
        raise SystemExit(__doc__)
    write("depth.json", {"kind": "depth", "machine": machine(), **{name: parts[name]() for name in chosen}})


if __name__ == "__main__":
    main()
