#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What TLS costs: single sends over https beside http, on servers that are alike but for their certificate.

    benchmarks/tls.py

QUEUEPOOL names the program. wrk sends over CONNECTIONS (64) kept connections, by turns to the server with TLS and to the
one without, ROUNDS (3) times SECONDS (5) each; medians count. Every body is a new message, as post.lua sends one, but
with an id of its own. CPU is the server's, user and system, a request. Results go to RESULTS (benchmarks/results),
tls.json.
"""

import contextlib
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = os.environ.get("QUEUEPOOL", str(HERE.parent / ".build/release/queuepool"))
ROUNDS, SECONDS, CONNECTIONS = (int(os.environ.get(name, default)) for name, default in (
    ("ROUNDS", "3"), ("SECONDS", "5"), ("CONNECTIONS", "64")))
SCRIPT = """
local thread = 0
function setup(it) it:set("id", thread) thread = thread + 1 end
local head = {["Content-Type"] = "application/json"}
local number, rest = 0, '","body":"' .. string.rep("x", 1024) .. '"}'
function request()
    number = number + 1
    return wrk.format("POST", "/v1/pools/bench.fifo/messages", head,
        '{"group":"g' .. number % 1024 .. '","deduplicationId":"RUN-' .. id .. "-" .. number .. rest)
end
"""


@contextlib.contextmanager
def server(directory, name, *arguments):
    """A server on a free port: the port and the process, which is ended with the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = directory / f"{name}.log"
    with open(log, "wb") as file:
        popen = subprocess.Popen(
            [PROGRAM, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", str(directory / name), "--pool",
             "bench.fifo=8", *arguments], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        until = time.monotonic() + 60
        while "Listening" not in log.read_text():
            if popen.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the server does not start: {log.read_text()[-500:]}")
            time.sleep(0.05)
        yield port, popen
    finally:
        popen.terminate()
        popen.wait(60)


def cpu_seconds(popen):
    fields = Path(f"/proc/{popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(directory, scheme, port, popen, number):
    """Requests a second, CPU a request and the 99th percentile of one round."""
    script = directory / "send.lua"
    script.write_text(SCRIPT.replace("RUN", f"{scheme}{number}"))
    before = cpu_seconds(popen)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(script),
         f"{scheme}://127.0.0.1:{port}"], capture_output=True, text=True, check=True)
    used = cpu_seconds(popen) - before
    requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
    if failed := re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", done.stdout):
        raise SystemExit(f"{scheme}: {failed.group(0)}")
    figures = {
        "rate": float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1)),
        "cpu_us": used / requests * 1e6,
        "p99": re.search(r"99%\s+(\S+)", done.stdout).group(1),
    }
    print(f"{scheme:5} round {number}: {figures['rate']:.0f}/s, {figures['cpu_us']:.1f} us CPU, p99 {figures['p99']}",
          file=sys.stderr)
    return figures


def main():
    # As the other scripts install what they need.
    subprocess.run(["bash", "-c", f". {HERE}/lib.sh && need wrk wrk"], check=True)
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        directory = Path(place)
        certificate, key = directory / "tls.pem", directory / "tls.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-keyout", key, "-out", certificate, "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True)
        servers = {
            "http": stack.enter_context(server(directory, "plain")),
            "https": stack.enter_context(
                server(directory, "tls", "--tls-certificate", str(certificate), "--tls-key", str(key))),
        }
        rounds = {scheme: [] for scheme in servers}
        for number in range(ROUNDS):
            for scheme, (port, popen) in servers.items():
                rounds[scheme].append(measure(directory, scheme, port, popen, number))
    table = {scheme: {figure: statistics.median(one[figure] for one in found) for figure in ("rate", "cpu_us")}
             for scheme, found in rounds.items()}
    results = Path(os.environ.get("RESULTS", HERE / "results"))
    results.mkdir(parents=True, exist_ok=True)
    (results / "tls.json").write_text(json.dumps({"medians": table, "rounds": rounds}, indent=1) + "\n")
    print("| | requests/s | server CPU a request |\n|---|---|---|")
    for scheme, figures in table.items():
        print(f"| {scheme} | {figures['rate']:,.0f} | {figures['cpu_us']:.1f} us |")
    print(f"https has {table['https']['rate'] / table['http']['rate']:.0%} of the rate of http")


if __name__ == "__main__":
    main()
