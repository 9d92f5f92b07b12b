#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""How fast workers consume in order, and how they share shards. Prints a table of figures and ratios.

    benchmarks/workers.py [CASE ...]        all cases unless some are named: straight router slow scale takeover

QUEUEPOOL names the program; SERVERS (8) how many servers the shards of `straight` are spread over; SECONDS (8) how long
it runs at the quota. The order of every group is checked, and a run that breaks it has no figures.
"""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

PROGRAM = os.environ.get("QUEUEPOOL", str(Path(__file__).resolve().parent.parent / ".build/release/queuepool"))
SERVERS = int(os.environ.get("SERVERS", "8"))
SECONDS = int(os.environ.get("SECONDS", "8"))
SHARDS, QUOTA, GROUPS = 8, 300, 1_000
ENV = {**{k: v for k, v in os.environ.items() if not k.startswith("QUEUEPOOL_")},
       "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_REGION": "us-east-1"}
POOL = "emails.fifo"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def fetch(url, data=None, kind="application/json"):
    request = urllib.request.Request(url, data=data, headers={"Content-Type": kind} if data else {})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return answer.read()


def wait_until(condition, seconds=60, what="a condition"):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"{what} did not come about in {seconds} s")
        time.sleep(0.02)


class Program:
    """A started `queuepool`, ended with the block that it is started in."""

    def __init__(self, *arguments, log, stdout=subprocess.DEVNULL):
        self.popen = subprocess.Popen(
            [PROGRAM, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout, stderr=open(log, "ab"), env=ENV)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self, number=signal.SIGTERM):
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        self.popen.wait(60)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Server(Program):
    def __init__(self, directory, *arguments):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__("serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", directory / "data", *arguments,
                         log=directory / "server.log")
        wait_until(self.is_ready, what="a server's readiness")

    def is_ready(self):
        try:
            return fetch(self.url + "/readyz") is not None
        except OSError:
            return False

    def pool(self, name=POOL):
        return json.loads(fetch(f"{self.url}/v1/pools/{name}"))

    def owners(self):
        return [shard["owner"] for shard in self.pool()["shards"]]


class Worker(Program):
    """A worker that writes what it delivers to a file, or nowhere."""

    def __init__(self, directory, number, *arguments, output=None, deliver="stdout:"):
        self.port = free_port()
        self.output = output
        super().__init__(
            "work", "--pool", POOL, "--deliver", deliver, "--metrics-listen", f"127.0.0.1:{self.port}", *arguments,
            log=directory / f"worker{number}.log", stdout=open(output, "wb") if output else subprocess.DEVNULL)

    def total(self, series):
        try:
            page = fetch(f"http://127.0.0.1:{self.port}/metrics").decode()
        except OSError:
            return 0
        return sum(float(value) for value in re.findall(rf"^queuepool_worker_{series}{{[^}}]*}} (\S+)$", page, re.M))

    def deleted(self):
        return self.total("deleted_messages_total")


def fill(url, pool, count, prefix="g", size=1_024):
    """Messages of GROUPS groups over NDJSON; the body says the group's how manieth it is."""
    lines = []
    for number in range(count):
        group, place = number % GROUPS, number // GROUPS
        lines.append(json.dumps({"group": f"{prefix}{group}", "body": f"{place}".ljust(size, ".")}))
        if len(lines) == 5_000 or number == count - 1:
            answers = fetch(f"{url}/v1/pools/{pool}/messages", "\n".join(lines).encode(), "application/x-ndjson")
            assert answers.count(b'"id"') == len(lines), answers[:300]
            lines = []


def check_order(paths, expected):
    """Each group complete and in order; a repetition is counted, and broken order ends the run."""
    seen, repeated = {}, 0
    for path in paths:
        for line in open(path, encoding="utf-8"):
            message = json.loads(line)
            place, group = int(message["body"].rstrip(".")), message["group"]
            due = seen.get(group, 0)
            if place < due:
                repeated += 1
            elif place > due:
                raise SystemExit(f"BROKEN ORDER: a group's message {place} came when {due} was due")
            else:
                seen[group] = due + 1
    if sum(seen.values()) != expected:
        raise SystemExit(f"LOST: {expected - sum(seen.values())} of {expected} messages did not arrive")
    return repeated


def consume(worker, servers, total):
    """Lets a worker drain; figures of the middle 80 per cent."""
    wait_until(lambda: worker.deleted() >= total * 0.1, 120, "a tenth of the messages")
    began, first = time.monotonic(), worker.deleted()
    cpu, server_cpu = worker.cpu_seconds(), sum(server.cpu_seconds() for server in servers)
    wait_until(lambda: worker.deleted() >= total * 0.9, 300, "nine tenths of the messages")
    count, seconds = worker.deleted() - first, time.monotonic() - began
    cpu, server_cpu = worker.cpu_seconds() - cpu, sum(server.cpu_seconds() for server in servers) - server_cpu
    wait_until(lambda: worker.deleted() >= total, 120, "all messages")
    return {"rate": count / seconds, "worker_us": cpu / count * 1e6, "server_us": server_cpu / count * 1e6}


def row(name, figure, ratio, note=""):
    print(f"{name:42} {figure:>22} {ratio:>8}  {note}", flush=True)


# MARK: - Cases


def straight(directory):
    """Queues behind SERVERS own servers at a quota, without a router: how much of the quota is consumed in order."""
    data = directory / "straight"
    per_shard = QUOTA * 10 * SECONDS
    homes = [data / f"server{number}" for number in range(SERVERS)]
    for home in homes:
        home.mkdir(parents=True)
    control = data / "control.sqlite"
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(home)) for home in homes]
        pool_over(control, servers)
        for shard in range(SHARDS):
            fill(servers[shard % SERVERS].url, f"emails-{shard:04}.fifo", per_shard, f"s{shard}-g")
    with contextlib.ExitStack() as stack:
        servers = [stack.enter_context(Server(home, "--quota", QUOTA)) for home in homes]
        with sqlite3.connect(control) as base:
            for shard in range(SHARDS):
                move_shard(base, shard, servers[shard % SERVERS])
        output = data / "delivered"
        with Worker(data, 0, "--control", f"sqlite:{control}", "--concurrency", 512, output=output) as worker:
            figures = consume(worker, servers, per_shard * SHARDS)
        repeated = check_order([output], per_shard * SHARDS)
    ceiling = SHARDS * QUOTA * 10
    row(f"straight, {SERVERS} servers, quota {QUOTA}", f"{figures['rate']:,.0f} messages/s",
        f"{figures['rate'] / ceiling:.2f}",
        f"of {ceiling:,}; worker {figures['worker_us']:.1f} us CPU a message, servers {figures['server_us']:.1f}; "
        f"in order, {repeated} repeated")


def pool_over(control, servers):
    """A pool of SQS queues, shard N at server N modulo their number."""
    for server in servers:
        subprocess.run(
            [PROGRAM, "pool", "create", POOL, "--backend", "sqs", "--shards", str(SHARDS), "--control",
             f"sqlite:{control}", "--endpoint-url", server.url, "--region", "us-east-1"],
            check=server is servers[0], env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if server is not servers[0]:
            other = control.with_name(f"other-{server.port}.sqlite")
            subprocess.run(
                [PROGRAM, "pool", "create", POOL, "--backend", "sqs", "--shards", str(SHARDS), "--control",
                 f"sqlite:{other}", "--endpoint-url", server.url, "--region", "us-east-1"],
                check=True, env=ENV, stdout=subprocess.DEVNULL)
    with sqlite3.connect(control) as base:
        for shard in range(SHARDS):
            move_shard(base, shard, servers[shard % len(servers)])


def move_shard(base, shard, server):
    base.execute("UPDATE shards SET endpoint = ?, queue_url = ? WHERE pool = ? AND number = ?",
                 (server.url, f"{server.url}/000000000000/emails-{shard:04}.fifo", POOL, shard))


def router(directory):
    """Over HTTP and in the server: ordered consumption a core, without a quota."""
    total = 200_000
    for way in ("over a router", "in the server"):
        data = directory / way.replace(" ", "-")
        data.mkdir()
        output = data / "delivered"
        with Server(data, "--pool", f"{POOL}={SHARDS}") as server:
            fill(server.url, POOL, total)
            if way == "over a router":
                with Worker(data, 0, "--endpoint", server.url, "--concurrency", 512, output=output) as worker:
                    figures = consume(worker, [server], total)
                repeated = check_order([output], total)
                core = 1e6 / (figures["worker_us"] + figures["server_us"])
                row(f"no-op handler, {way}", f"{figures['rate']:,.0f} messages/s", "",
                    f"{core:,.0f} a core; worker {figures['worker_us']:.1f} us, server {figures['server_us']:.1f} us; "
                    f"in order, {repeated} repeated")
        if way == "in the server":
            in_server(data, total)


def in_server(data, total):
    output = data / "delivered"
    port = free_port()
    log = open(data / "server.log", "ab")
    server = subprocess.Popen(
        [PROGRAM, "serve", "--listen", f"127.0.0.1:{port}", "--data-dir", data / "data", "--pool", f"{POOL}={SHARDS}",
         "--deliver", "stdout:", "--concurrency", "512"], stdout=open(output, "wb"), stderr=log, env=ENV)
    ticks = os.sysconf("SC_CLK_TCK")

    def cpu():
        fields = Path(f"/proc/{server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    def deleted():
        try:
            page = fetch(f"http://127.0.0.1:{port}/metrics").decode()
        except OSError:
            return 0
        return sum(float(v) for v in re.findall(
            r"^queuepool_worker_deleted_messages_total{[^}]*} (\S+)$", page, re.M))

    try:
        wait_until(lambda: deleted() >= total * 0.1, 120, "a tenth of the messages")
        began, first, used = time.monotonic(), deleted(), cpu()
        wait_until(lambda: deleted() >= total * 0.9, 300, "nine tenths of the messages")
        count, seconds, used = deleted() - first, time.monotonic() - began, cpu() - used
        wait_until(lambda: deleted() >= total, 120, "all messages")
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    repeated = check_order([output], total)
    row("no-op handler, in the server", f"{count / seconds:,.0f} messages/s", "",
        f"{count / used:,.0f} a core; {used / count * 1e6:.1f} us in all; in order, {repeated} repeated")


class Sink(http.server.ThreadingHTTPServer):
    """Takes deliveries; those of one group take two seconds if asked to. Knows when each message came."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, slow):
        sink = self
        self.came = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                group = self.headers["X-Queuepool-Message-Group"] if "X-Queuepool-Message-Group" in self.headers \
                    else self.headers["X-Queuepool-Group"]
                sink.came[(group, body)] = time.monotonic()
                if slow and group == "g0":
                    time.sleep(2)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


def slow(directory):
    """One group in a thousand takes two seconds a message: what the others notice."""
    figures = {}
    for name, is_slow in (("none slow", False), ("one slow", True)):
        data = directory / name.replace(" ", "-")
        data.mkdir()
        sink = Sink(is_slow)
        with Server(data, "--pool", f"{POOL}={SHARDS}") as server, Worker(
                data, 0, "--endpoint", server.url, deliver=f"http://127.0.0.1:{sink.server_port}/"):
            wait_until(lambda: None not in server.owners(), what="ownership")
            sent = {}
            began, rate, count = time.monotonic(), 300, 3_000
            for number in range(count):
                wait = began + number / rate - time.monotonic()
                if wait > 0:
                    time.sleep(wait)
                # Every tenth message is the slow group's until it has 30 of them waiting.
                group = "g0" if number % 10 == 0 and number < 300 else f"g{1 + number % (GROUPS - 1)}"
                key = (group, str(number).encode())
                sent[key] = time.monotonic()
                fetch(f"{server.url}/v1/pools/{POOL}/messages",
                      json.dumps({"group": group, "body": str(number)}).encode())
            others = [key for key in sent if key[0] != "g0"]
            wait_until(lambda: all(key in sink.came for key in others), 60, "the other groups' messages")
            delays = sorted(sink.came[key] - sent[key] for key in others)
            figures[name] = delays[int(len(delays) * 0.99)] * 1e3
        sink.shutdown()
    row("1 slow group in 1,000, p99 of the rest", f"{figures['one slow']:.1f} ms",
        f"{figures['one slow'] / figures['none slow']:.2f}", f"of {figures['none slow']:.1f} ms without it; bound 1.5")


def scale(directory):
    """One worker becomes four, under load: how long until each has its share, and what is consumed before and after."""
    data = directory / "scale"
    data.mkdir()
    total = 600_000
    with Server(data, "--pool", f"{POOL}={SHARDS}") as server, contextlib.ExitStack() as stack:
        fill(server.url, POOL, total)
        outputs = [data / f"delivered{number}" for number in range(4)]

        def start(number):
            return stack.enter_context(Worker(
                data, number, "--endpoint", server.url, "--concurrency", 128, output=outputs[number]))

        def rate(workers, seconds):
            first, began = sum(w.deleted() for w in workers), time.monotonic()
            time.sleep(seconds)
            return (sum(w.deleted() for w in workers) - first) / (time.monotonic() - began)

        workers = [start(0)]
        wait_until(lambda: None not in server.owners(), what="ownership")
        one = rate(workers, 3)
        began = time.monotonic()
        workers += [start(number) for number in range(1, 4)]

        def is_even():
            owners = server.owners()
            return None not in owners and sorted(owners.count(owner) for owner in set(owners)) == [2] * 4

        wait_until(is_even, 60, "even shares")
        balanced = time.monotonic() - began
        four = rate(workers, 3)
        wait_until(lambda: sum(w.deleted() for w in workers) >= total, 300, "all messages")
        repeated = check_merged(outputs, total)
    row("1 -> 4 workers, time to balance", f"{balanced:.1f} s", "", f"in order, {repeated} repeated")
    row("1 -> 4 workers, throughput", f"{one:,.0f} -> {four:,.0f}", f"{four / one:.2f}",
        "all processes share two cores with the server")


def check_merged(outputs, expected):
    """A shard passes from one worker to another once here: each file has one stretch of a group."""
    stretches = {}
    for path in outputs:
        for line in open(path, encoding="utf-8"):
            message = json.loads(line)
            stretches.setdefault(message["group"], {}).setdefault(path, []).append(int(message["body"].rstrip(".")))
    total, repeated = 0, 0
    for parts in stretches.values():
        places = [place for part in sorted(parts.values(), key=lambda p: p[0]) for place in part]
        kept = [place for at, place in enumerate(places) if at == 0 or place > max(places[:at][-1:], default=-1)]
        repeated += len(places) - len(kept)
        if kept != list(range(len(kept))):
            raise SystemExit("BROKEN ORDER in a group that passed from one worker to another")
        total += len(kept)
    if total != expected:
        raise SystemExit(f"LOST: {expected - total} of {expected} messages did not arrive")
    return repeated


def takeover(directory):
    """A worker is killed: how long its shards have no owner that works."""
    data = directory / "takeover"
    data.mkdir()
    with Server(data, "--pool", f"{POOL}={SHARDS}") as server, contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker(data, number, "--endpoint", server.url)) for number in range(2)]

        def is_even():
            owners = server.owners()
            return None not in owners and len(set(owners)) == 2

        wait_until(is_even, 60, "even shares")
        before = set(server.owners())
        began = time.monotonic()
        workers[0].stop(signal.SIGKILL)
        wait_until(lambda: len(set(server.owners())) == 1 and None not in server.owners(), 60, "take-over")
        seconds = time.monotonic() - began
        assert set(server.owners()) <= before
    row("take-over after kill -9", f"{seconds:.1f} s", f"{seconds / 10:.2f}", "of the lease term of 10 s; bound 2")


CASES = {case.__name__: case for case in (straight, router, slow, scale, takeover)}


def main():
    wanted = sys.argv[1:] or list(CASES)
    unknown = [name for name in wanted if name not in CASES]
    if unknown:
        raise SystemExit(f"no such case: {' '.join(unknown)}; allowed: {' '.join(CASES)}")
    if not Path(PROGRAM).exists():
        raise SystemExit(f"no program at {PROGRAM}; swift build -c release --product queuepool builds it")
    print(f"{'':42} {'figure':>22} {'ratio':>8}")
    for name in wanted:
        directory = Path(tempfile.mkdtemp(prefix="queuepool-workers-"))
        try:
            CASES[name](directory)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
