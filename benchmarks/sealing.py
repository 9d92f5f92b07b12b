#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What a master key costs: the same loads on servers that are alike but for their sealing.

    benchmarks/sealing.py

QUEUEPOOL names the program. Loads are single sends (REST), batches of ten (SQS), and the drain of a backlog that was
sent in such batches; each goes by turns to a sealed server and to a plain one, ROUNDS (3) times SECONDS (3), each server
with a new data directory in DATA (the temporary directory). Medians count. CPU is the server's, user and system, a
message. BODY (1024) is the bytes of a body. The rate of `openssl speed -evp aes-256-gcm` on one core is printed beside
them: nothing that seals with it is faster. Results go to RESULTS (benchmarks/results), sealing.json.
"""

import base64
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = os.environ.get("QUEUEPOOL", str(HERE.parent / ".build/release/queuepool"))
ROUNDS, SECONDS, BODY = (int(os.environ.get(name, default)) for name, default in (
    ("ROUNDS", "3"), ("SECONDS", "3"), ("BODY", "1024")))
# What a drain starts with: about as many messages as it takes out in SECONDS on two cores.
BACKLOG = int(os.environ.get("BACKLOG", SECONDS * 10_000))
LOADS = {
    "single sends": ("--api", "rest", "--mode", "send", "--no-verify"),
    "sends by ten": ("--api", "sqs", "--batch", "10", "--mode", "send", "--no-verify"),
    "drain": ("--api", "sqs", "--batch", "10", "--mode", "drain", "--messages", str(BACKLOG)),
}


def measure(directory, load, server):
    """Messages a second and server CPU a message of one run on a server of its own."""
    report = directory / "report.json"
    report.unlink(missing_ok=True)
    # A drain ends with its backlog, not with a time.
    length = () if load == "drain" else ("--seconds", str(SECONDS), "--warm-up-seconds", "1")
    done = subprocess.run(
        [PROGRAM, "bench", *LOADS[load], *length, "--body-bytes", str(BODY), "--data-dir-parent", str(directory),
         "--json", str(report), *(f"--server-argument={argument}" for argument in server)],
        stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{load}: the bench ended with {done.returncode}: {(done.stdout + done.stderr)[-1000:]}")
    return figures(json.loads(report.read_text()), "drain" if load == "drain" else "send")


def figures(report, phase):
    found = next(one for one in report["phases"] if one["name"] == phase)
    key = "receive" if phase == "drain" else "send"
    return {"rate": found[key]["messagesPerSecond"], "cpu_us": found["serverCPUMicrosecondsPerMessage"]}


def ceiling():
    """AES-256-GCM on one core: bytes a second in pieces of about a body, and of a commit of many."""
    done = subprocess.run(
        ["openssl", "speed", "-seconds", "1", "-evp", "aes-256-gcm", "-bytes", str(BODY)],
        capture_output=True, text=True, check=True)
    large = subprocess.run(
        ["openssl", "speed", "-seconds", "1", "-evp", "aes-256-gcm", "-bytes", "262144"],
        capture_output=True, text=True, check=True)
    return {size: rate(text.stdout) for size, text in ((BODY, done), (262_144, large))}


def rate(text):
    """What openssl says in thousands of bytes a second."""
    return float(re.search(r"^AES-256-GCM\s+([\d.]+)k", text, re.MULTILINE | re.IGNORECASE).group(1)) * 1_000


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("DATA")) as place:
        directory = Path(place)
        key = directory / "master.key"
        key.touch(mode=0o600)
        key.write_text(base64.b64encode(os.urandom(32)).decode() + "\n")
        servers = {"plain": (), "sealed": ("--master-key-file", str(key))}
        rounds = {load: {kind: [] for kind in servers} for load in LOADS}
        for number in range(ROUNDS):
            # The one that is first in a round is second in the next.
            order = list(servers.items())[::-1 if number % 2 else 1]
            for load in LOADS:
                for kind, server in order:
                    found = measure(directory, load, server)
                    rounds[load][kind].append(found)
                    print(f"{load}, {kind}, round {number}: {found['rate']:.0f}/s, {found['cpu_us']:.1f} us CPU",
                          file=sys.stderr)
    table = {load: {kind: {figure: statistics.median(one[figure] for one in found) for figure in ("rate", "cpu_us")}
                    for kind, found in kinds.items()} for load, kinds in rounds.items()}
    raw = ceiling()
    results = Path(os.environ.get("RESULTS", HERE / "results"))
    results.mkdir(parents=True, exist_ok=True)
    (results / "sealing.json").write_text(json.dumps(
        {"medians": table, "rounds": rounds, "aes256gcmBytesPerSecond": raw, "bodyBytes": BODY}, indent=1) + "\n")
    print("| load | plain | sealed | | CPU plain | CPU sealed |\n|---|---|---|---|---|---|")
    for load, kinds in table.items():
        plain, sealed = kinds["plain"], kinds["sealed"]
        print(f"| {load} | {plain['rate']:,.0f}/s | {sealed['rate']:,.0f}/s | {sealed['rate'] / plain['rate']:.0%} "
              f"| {plain['cpu_us']:.1f} us | {sealed['cpu_us']:.1f} us |")
    for size, bytes_per_second in raw.items():
        print(f"openssl, one core, pieces of {size} bytes: {bytes_per_second / 1e9:.2f} GB/s, "
              f"{BODY / bytes_per_second * 1e6:.2f} us a body")


if __name__ == "__main__":
    main()
