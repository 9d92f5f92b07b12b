#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What one queue of eight that is dead, throttled or slow costs the other seven. Prints a table of rates, p99 and ratios.

    benchmarks/isolation.py [CASE ...]      all cases unless some are named: silent refusing throttling slow

A router over eight queues, one of them behind a proxy; a worker straight at the queues. Each case runs the same load
twice, without and with the illness, and measures what goes to the other seven from the moment at which the one falls
ill. QUEUEPOOL names the program; SECONDS (16) how long a run takes.
"""

import http.client
import http.server
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

from workers import ENV, POOL, PROGRAM, Server, Worker, wait_until
import subprocess

SECONDS = int(os.environ.get("SECONDS", "16"))
SHARDS, LINES = 8, 70
CASES = ["silent", "refusing", "throttling", "slow"]


class Ill(http.server.BaseHTTPRequestHandler):
    """Passes requests on to a server, unless `way` says otherwise."""

    protocol_version, way, port, well = "HTTP/1.1", None, 0, threading.Event()

    def do_POST(self):
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if Ill.way == "silent":
            Ill.well.wait(60)
        if Ill.way in ("silent", "refusing"):
            self.close_connection = True
        elif Ill.way == "throttling":
            self.answer(400, json.dumps({"__type": "com.amazonaws.sqs#ThrottlingException"}).encode())
        else:
            if Ill.way == "slow":
                time.sleep(2)
            link = http.client.HTTPConnection("127.0.0.1", Ill.port, timeout=40)
            link.request("POST", self.path, data, {k: v for k, v in self.headers.items() if k.lower() != "host"})
            got = link.getresponse()
            self.answer(got.status, got.read())
            link.close()

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Load:
    """Senders, each with a connection of its own, that wait for every answer."""

    def __init__(self, port):
        self.port, self.lock, self.taken, self.stopping, self.failed = port, threading.Lock(), {}, False, 0
        self.threads = []

    def start(self, kind, groups, lines):
        def run():
            link, number = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60), 0
            while not self.stopping:
                rows = [json.dumps({"group": groups[(number + i) % len(groups)], "body": "x" * 1_024})
                        for i in range(lines)]
                number += lines
                begun = time.monotonic()
                link.request("POST", f"/v1/pools/{POOL}/messages", "\n".join(rows), {
                    "Content-Type": "application/json" if lines == 1 else "application/x-ndjson"})
                answer = link.getresponse().read()
                with self.lock:
                    self.taken.setdefault(kind, []).append((begun, time.monotonic() - begun))
                    self.failed += kind != "ill" and answer.count(b'"id"') != lines

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.threads.append(thread)

    def stop(self):
        self.stopping = True

    def figures(self, kind, since, until):
        """Requests a second and p99 in milliseconds, of those that were answered in between."""
        taken = sorted(took for begun, took in self.taken.get(kind, []) if since <= begun + took < until)
        return len(taken) / (until - since), 1_000 * taken[min(len(taken) - 1, len(taken) * 99 // 100)] if taken else 0


def place(server):
    """Groups of the first queue, and of the others."""
    link, ill, well = http.client.HTTPConnection("127.0.0.1", server.port), [], []
    for number in range(800):
        link.request("POST", f"/v1/pools/{POOL}/messages", json.dumps({"group": f"g{number}", "body": "x"}),
                     {"Content-Type": "application/json"})
        shard = json.loads(link.getresponse().read())["shard"]
        (ill if shard.endswith("-0000.fifo") else well).append(f"g{number}")
    return ill, well


def run(way):
    """One run: figures of senders of one message, of streams, and messages that the worker finished, a second."""
    with tempfile.TemporaryDirectory() as directory:
        directory = Path(directory)
        (directory / "back").mkdir()
        (directory / "front").mkdir()
        with Server(directory / "back") as back:
            Ill.way, Ill.port = None, back.port
            Ill.well.clear()
            proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ill)
            threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
            control = ["--control", f"sqlite:{directory}/control.sqlite", "--endpoint-url", back.url, "--region",
                       "us-east-1"]
            subprocess.run(
                [PROGRAM, "pool", "create", POOL, "--backend", "sqs", "--shards", str(SHARDS), "--shard-endpoint",
                 f"0=http://127.0.0.1:{proxy.server_port}", *control], env=ENV, check=True, stdout=subprocess.DEVNULL)
            with Server(directory / "front", *control) as front, Worker(directory, 0, *control) as worker:
                ill, well = place(front)
                wait_until(lambda: worker.deleted() >= 700, what="the worker's beginning")
                load = Load(front.port)
                for number in range(7):
                    load.start("single", well[number::14], 1)
                    load.start("stream", well[number + 7::14], LINES)
                load.start("ill", ill[::2], 1)
                load.start("ill", ill[1::2], LINES)
                time.sleep(2)
                if way == "refusing":
                    proxy.shutdown()
                    proxy.server_close()
                Ill.way = way
                since, before = time.monotonic(), worker.deleted()
                time.sleep(SECONDS)
                until, after = time.monotonic(), worker.deleted()
                load.stop()
                if load.failed:
                    print(f"{load.failed} requests to the other seven were refused", file=sys.stderr)
                figures = {kind: load.figures(kind, since, until) for kind in ("single", "stream")}
                Ill.way = None
                Ill.well.set()
            if way != "refusing":
                proxy.shutdown()
                proxy.server_close()
    return {**figures, "finished": (after - before) / (until - since)}


def main():
    cases = sys.argv[1:] or CASES
    if unknown := set(cases) - set(CASES):
        raise SystemExit(f"no case {unknown.pop()}; there are {' '.join(CASES)}")
    print(f"{SECONDS} s a run; the other seven of eight queues\n")
    print("| one queue is | sends/s | p99 ms | NDJSON lines/s | p99 ms | finished/s | sends/s : well | p99 : well |")
    print("|---|---|---|---|---|---|---|---|")

    def row(name, figures, well=None):
        (single, p99), (stream, stream_p99) = figures["single"], figures["stream"]
        ratios = f"{single / well['single'][0]:.2f} | {p99 / well['single'][1]:.2f}" if well else "|"
        print(f"| {name} | {single:.0f} | {p99:.1f} | {stream * LINES:.0f} | {stream_p99:.1f} | "
              f"{figures['finished']:.0f} | {ratios} |", flush=True)

    for case in cases:
        well = run(None)
        row(f"well, before {case}", well)
        row(case, run(case), well)


if __name__ == "__main__":
    main()
