#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Latency: of single sends at half of what goes through, and by the number of connections, beside Redis and the disk.

    benchmarks/latency.py [half] [curve] [pinned]       all unless named; less than four minutes

half: single sends by SQS and by REST over 64 connections; a closed loop (CLOSED, 4 s) shows what goes through, then an
open loop goes on at half of that for SECONDS (30), long enough for checkpoints and upkeep, every message verified at
the end. The goal is a p99.9 under 10 ms. Before and after each, bare fdatasync of a 16 KiB block with nothing
beside it (FSYNC, 2 s): what the disk alone does in the same minutes.

curve: rate and p50 of single sends and of batches of 10 by SQS over 1, 2, 4, 16, 64 and 256 connections, and of Redis'
XADD with its file flushed before each answer over 1, 16 and 64; EACH (1.5 s) after 0.5 s each, every server started
anew and alone. At one connection also a delete: the DeleteMessageBatch of a receive, up to 10 messages, by one
receiver.
Goal: at one connection a send and a delete take at most 1.3 times the XADD each.

pinned: the curve's 1 and 64 connections with server and client on one core, and with each on a core of its own.

Closed loops: a connection has one request outstanding. Only half and peers.c verify what was sent.
Clients are `queuepool bench` (one thread) and, for Redis, peers.c (a thread a connection, hiredis), which takes less of
the processors. QUEUEPOOL names the program. Results go to RESULTS (benchmarks/results), latency.json.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

from common import (HERE, bare_fdatasync, bench, directory, free_port, machine, need, number, others_share,
                    percentiles, phase, say, server, verdict, write)

SECONDS, CLOSED, EACH, FSYNC = number("SECONDS", 30.0), number("CLOSED", 4.0), number("EACH", 1.5), number("FSYNC", 2.0)
CONNECTIONS, REDIS_CONNECTIONS, PINNED_CONNECTIONS = [1, 2, 4, 16, 64, 256], [1, 16, 64], [1, 64]
P999_ALLOWED_MS, RATIO_ALLOWED = 10, 1.3
LOAD = ["--groups", 1000, "--body-bytes", 1024]
NO_CORES = ((), ())
PLACES = {"one core": (("taskset", "-c", "0"),) * 2, "a core each": (("taskset", "-c", "0"), ("taskset", "-c", "1"))}


def half(place):
    """Single sends at half of what goes through."""
    found = {}
    for api in ("sqs", "rest"):
        disk = bare_fdatasync(place, FSYNC)
        with server(place / f"half-{api}") as made:
            load = [*LOAD, "--api", api, "--batch", 1, "--connections", 64, "--mode", "send"]
            closed = bench(made, place, *load, "--seconds", CLOSED, "--warm-up-seconds", 1)
            rate = phase(closed)["send"]["messagesPerSecond"] / 2
            report = bench(made, place, *load, "--seconds", SECONDS, "--warm-up-seconds", 1, "--rate", round(rate))
        disk += bare_fdatasync(place, FSYNC)
        measured = phase(report)
        latency = measured["send"]["latencyMicroseconds"]
        late = latency["p99.9"] / 1e3
        slowest = [row["max"] for row in measured["intervals"] if row["max"]]
        found[api] = {
            "closedPerSecond": round(rate * 2, 1), "askedPerSecond": round(rate), "neverSent": measured["neverSent"],
            "reachedPerSecond": measured["send"]["messagesPerSecond"], "latencyMicroseconds": latency,
            "slowestByInterval": slowest, "fdatasyncMicroseconds": percentiles(disk),
            "serverCPUMicroseconds": measured["serverCPUMicrosecondsPerMessage"], "checks": report["checks"],
            "holds": late < P999_ALLOWED_MS and "p99.9" not in latency["lowerBounds"]}
        say(f"{api}: {found[api]['askedPerSecond']}/s, p99.9 {late:.2f} ms")
    print("| at half of what goes through | messages/s | p50 us | p99 us | p99.9 us | max us | fdatasync p99.9, max us "
          f"| p99.9 < {P999_ALLOWED_MS} ms |\n|---|---|---|---|---|---|---|---|")
    for api, row in found.items():
        latency, disk = row["latencyMicroseconds"], row["fdatasyncMicroseconds"]
        print(f"| single sends, {api} | {row['reachedPerSecond']:,.0f} | "
              + " | ".join(f"{latency[name]:,.0f}" for name in ("p50", "p99", "p99.9", "max"))
              + f" | {disk['p99.9']:,.0f}, {disk['max']:,.0f} | {verdict(row['holds'])} |")
    return found


def sends(place, connections, batch, cores=NO_CORES):
    """Rate and latency of a closed loop of sends, by a server of its own."""
    with server(place / f"sends-{time.monotonic_ns()}", prefix=cores[0]) as made:
        report = bench(
            made, place, *LOAD, "--api", "sqs", "--mode", "send", "--batch", batch, "--connections", connections,
            "--seconds", EACH, "--warm-up-seconds", 0.5, "--no-verify", prefix=cores[1])
    measured = phase(report)
    latency = measured["send"]["latencyMicroseconds"]
    found = {"connections": connections, "batch": batch, "perSecond": measured["send"]["messagesPerSecond"],
             "p50": latency["p50"], "p99": latency["p99"],
             "serverCPUMicroseconds": measured["serverCPUMicrosecondsPerMessage"]}
    say(f"{connections} connections, {batch} a request: {found['perSecond']:,.0f}/s, p50 {found['p50']:,.0f} us")
    return found


def delete(place, cores=NO_CORES):
    """p50 of the deletes of one receiver, which has one request outstanding; about EACH long."""
    with server(place / f"delete-{time.monotonic_ns()}", prefix=cores[0]) as made:
        report = bench(
            made, place, *LOAD, "--api", "sqs", "--mode", "drain", "--batch", 10, "--connections", 16, "--receivers", 1,
            "--messages", max(500, int(8_000 * EACH)), prefix=cores[1])
    measured = phase(report)["delete"]
    return {"p50": measured["latencyMicroseconds"]["p50"], "p99": measured["latencyMicroseconds"]["p99"],
            "messagesARequest": round(measured["messages"] / max(1, measured["requests"]), 2)}


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Redis:
    """redis-server, unpacked where there is none, and the C client of peers.sh."""

    def __init__(self, place):
        self.place = place
        script = f'. "{HERE}/lib.sh"; find_redis "$1" >&2; printf "%s\\n%s\\n" "$redis" "$libraries"'
        found = subprocess.run(
            ["bash", "-ec", script, "bash", str(place)], stdout=subprocess.PIPE, text=True, check=True)
        self.program, libraries = found.stdout.split("\n")[:2]
        self.environment = {**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
        need("gcc", "gcc")
        for header, package in (("hiredis/hiredis.h", "libhiredis-dev"), ("postgresql/libpq-fe.h", "libpq-dev")):
            if not os.path.exists(f"/usr/include/{header}"):
                need(header, package)
        self.client = place / "peers"
        subprocess.run(
            ["gcc", "-O2", "-o", self.client, *(HERE / f"peers{name}.c" for name in ("", "_redis", "_postgres")),
             "-I/usr/include/postgresql", "-lhiredis", "-lpq", "-lpthread"], check=True)
        self.version = subprocess.run(
            [self.program, "--version"], env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout.strip()

    @contextlib.contextmanager
    def running(self, prefix):
        port, data = free_port(), self.place / f"redis-{time.monotonic_ns()}"
        data.mkdir()
        with open(self.place / "redis.log", "ab") as log:
            popen = subprocess.Popen(
                [*prefix, self.program, "--port", str(port), "--dir", str(data), "--bind", "127.0.0.1", "--appendonly",
                 "yes", "--appendfsync", "always", "--save", "", "--daemonize", "no"],
                env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until = time.monotonic() + 10
            while not listens(port):
                if popen.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"Redis does not start, see {self.place}/redis.log")
                time.sleep(0.02)
            yield port, popen.pid
        finally:
            popen.send_signal(signal.SIGINT)
            popen.wait(30)

    def sends(self, connections, cores=NO_CORES):
        with self.running(cores[0]) as (port, pid):
            done = subprocess.run(
                [*cores[1], self.client, "redis", "send", str(EACH), str(port)], check=True, stdout=subprocess.PIPE,
                env={**os.environ, "PIDS": str(pid), "SENDERS": str(connections), "WARM_UP": "0.5"}, text=True)
        row = json.loads(done.stdout)
        found = {"connections": connections, "perSecond": row["sentPerSecond"], **row["sendMicroseconds"],
                 "serverCPUMicroseconds": row["serverCPUMicrosecondsPerMessage"]}
        say(f"Redis, {connections} connections: {found['perSecond']:,.0f}/s, p50 {found['p50']:,.0f} us")
        return found


def compared(place, redis, connections, redis_connections, cores=NO_CORES):
    """A curve, and how a send and a delete of one connection compare with Redis'."""
    found = {
        "single": [sends(place, count, 1, cores) for count in connections],
        "batch": [sends(place, count, 10, cores) for count in connections],
        "redis": [redis.sends(count, cores) for count in redis_connections], "delete": delete(place, cores)}
    peer = found["redis"][0]["p50"]
    ratios = {"send": round(found["single"][0]["p50"] / peer, 2), "delete": round(found["delete"]["p50"] / peer, 2)}
    return {**found, "ratios": ratios, "allowed": RATIO_ALLOWED, "holds": max(ratios.values()) <= RATIO_ALLOWED}


def show(title, found):
    def cell(row):
        return f"{row['perSecond']:,.0f} | {row['p50']:,.0f}" if row else "| "
    print(f"\n| {title}: connections | single sends/s | p50 us | batches of 10, messages/s | p50 us "
          "| Redis XADD/s | p50 us | rate beside Redis |\n|---|---|---|---|---|---|---|---|")
    peers = {row["connections"]: row for row in found["redis"]}
    for single, batch in zip(found["single"], found["batch"], strict=True):
        peer = peers.get(single["connections"])
        ratio = f"{single['perSecond'] / peer['perSecond']:.2f}" if peer else ""
        print(f"| {single['connections']} | {cell(single)} | {cell(batch)} | {cell(peer)} | {ratio} |")
    send, gone = found["ratios"]["send"], found["ratios"]["delete"]
    delete = found["delete"]
    print(f"one connection: a send takes {send:.2f} times an XADD, a delete (of {delete['messagesARequest']:.0f}, "
          f"{delete['p50']:,.0f} us) {gone:.2f} times; {RATIO_ALLOWED} allowed: {verdict(found['holds'])}")


def main():
    parts = ["half", "curve", "pinned"]
    chosen = sys.argv[1:] or parts
    if set(chosen) - set(parts):
        raise SystemExit(__doc__)
    began = time.monotonic()
    found = {"kind": "latency", "machine": machine(), "seconds": SECONDS, "secondsEach": EACH}
    with directory("latency") as place:
        redis = Redis(place) if set(chosen) - {"half"} else None
        if redis:
            found["redisVersion"] = redis.version
        if "half" in chosen:
            found["half"] = half(place)
        if "curve" in chosen:
            found["curve"] = compared(place, redis, CONNECTIONS, REDIS_CONNECTIONS)
            show("all cores", found["curve"])
        if "pinned" in chosen and (os.cpu_count() or 1) > 1:
            found["pinned"] = {}
            for name, cores in PLACES.items():
                found["pinned"][name] = compared(place, redis, PINNED_CONNECTIONS, PINNED_CONNECTIONS, cores)
                show(name, found["pinned"][name])
        found["othersShareAfter"] = others_share()
    found["tookSeconds"] = round(time.monotonic() - began, 1)
    write("latency.json", found)


if __name__ == "__main__":
    main()
