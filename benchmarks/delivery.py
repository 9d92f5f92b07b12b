#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What deliveries cost beside programs that do nothing else: mails beside Postfix's smtp-source, webhooks beside
libcurl alone; what DKIM adds to a mail; how long fail-over to another mail server and back takes; what tracking costs.

    benchmarks/delivery.py [CASE ...]       all cases unless some are named: smtp webhook failover tracking

QUEUEPOOL names the program. A worker drains a backlog over a server on the same machine, so that its rate holds
everything: receiving, handing over, deleting. Rates and CPU are those of the middle 80 per cent of it. Each row is measured ROUNDS
(3) times, by turns with its ceiling, and the median counts. Results go to RESULTS (benchmarks/results), delivery.json.
"""

import contextlib
import http.client
import json
import os
import shutil
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from workers import GROUPS, POOL, PROGRAM, Server, Worker, consume, fetch, fill, free_port, row, wait_until

HERE = Path(__file__).resolve().parent
PATH = os.environ["PATH"] + ":/usr/sbin"
ROUNDS = int(os.environ.get("ROUNDS", "3"))
MAILS, SIGNED, HOOKS, SESSIONS, SIZE, REPEATS = 15_000, 5_000, 40_000, 64, 1_024, 5
CASES = ["smtp", "webhook", "failover", "tracking"]


def need(command, package):
    """Installs a Debian package unless its command is there. Postfix is not started: none of its own programs run here
    but the two that make and take mails."""
    if shutil.which(command, path=PATH):
        return
    order = [] if os.getuid() == 0 else ["sudo", "-E"]
    subprocess.run([*order, "apt-get", "install", "-y", "--no-install-recommends", package], check=True,
                   env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}, stdout=sys.stderr)


@contextlib.contextmanager
def program(*arguments, port):
    """A program that listens, ended with the block."""
    popen = subprocess.Popen([str(a) for a in arguments], env={**os.environ, "PATH": PATH}, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: listens(port), what=f"{arguments[0]}'s readiness")
        yield popen
    finally:
        # By SIGTERM, since nginx ends its workers then.
        popen.terminate()
        popen.wait(20)


def listens(port):
    with contextlib.suppress(OSError), contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as link:
        link.connect()
        return True
    return False


def fill_emails(url, count, prefix="g"):
    """Emails of 1 KiB text and GROUPS groups."""
    base = {"from": "shop@example.com", "to": "ada@example.com", "subject": "Hello", "text": ("x" * 63 + "\n") * 16}
    for first in range(0, count, 5_000):
        last = min(count, first + 5_000)
        lines = [json.dumps({**base, "group": f"{prefix}{number % GROUPS}"}) for number in range(first, last)]
        answers = fetch(f"{url}/v1/pools/{POOL}/emails", "\n".join(lines).encode(), "application/x-ndjson")
        assert answers.count(b'"id"') == len(lines), answers[:300]


def deliveries(directory, server, target, total, number):
    """A worker's figures over a backlog that is there."""
    with Worker(directory, number, "--endpoint", server.url, "--concurrency", SESSIONS, deliver=target) as worker:
        figures = consume(worker, [server], total)
        outcomes = worker.total("retries_total")
    if outcomes:
        raise SystemExit(f"{outcomes:.0f} deliveries were repeated: the sink cannot follow")
    return figures


def median(rounds, key):
    return statistics.median(figures[key] for figures in rounds)


# MARK: - Mails


def smtp_source(port, count):
    """Mails a second of smtp-source, a connection kept for each session, and its CPU a mail."""
    began = time.monotonic()
    popen = subprocess.Popen(
        ["smtp-source", "-d", "-s", str(SESSIONS), "-m", str(count), "-l", str(SIZE), "-f", "shop@example.com", "-t",
         "ada@example.com", f"127.0.0.1:{port}"], env={**os.environ, "PATH": PATH})
    _, status, usage = os.wait4(popen.pid, 0)
    popen.returncode = os.waitstatus_to_exitcode(status)
    if popen.returncode:
        raise SystemExit(f"smtp-source: exit code {popen.returncode}")
    seconds = time.monotonic() - began
    return {"rate": count / seconds, "worker_us": (usage.ru_utime + usage.ru_stime) / count * 1e6}


def keys(directory):
    """Options of a target for each kind of signature."""
    found = {"plain": ""}
    for name, options in {"rsa-2048": ["RSA", "-pkeyopt", "rsa_keygen_bits:2048"], "ed25519": ["ED25519"]}.items():
        file = directory / f"{name}.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", *options, "-out", file], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        found[name] = f"&dkim-domain=example.com&dkim-selector=s1&dkim-key-file={file}"
    return found


def smtp(directory):
    need("smtp-sink", "postfix")
    need("openssl", "openssl")
    port, signatures = free_port(), keys(directory)
    rounds = {name: [] for name in ("smtp-source", *signatures)}
    # smtp-sink refuses to stay root.
    sink = ["smtp-sink", *(["-u", "nobody"] if os.getuid() == 0 else []), f"127.0.0.1:{port}", "1024"]
    with Server(directory, "--pool", f"{POOL}=8") as server, program(*sink, port=port):
        for number in range(ROUNDS):
            rounds["smtp-source"].append(smtp_source(port, MAILS))
            for name, options in signatures.items():
                count = SIGNED if options else MAILS
                fill_emails(server.url, count)
                target = f"smtp://127.0.0.1:{port}?tls=off{options}"
                rounds[name].append(deliveries(directory, server, target, count, f"{name}{number}"))
    bare, plain = rounds["smtp-source"], rounds["plain"]
    ratio = statistics.median(ours["rate"] / its["rate"] for ours, its in zip(plain, bare))
    row("smtp-source, 64 sessions", f"{median(bare, 'rate'):,.0f} mails/s", "1.00",
        f"{median(bare, 'worker_us'):.1f} us CPU a mail")
    row("worker, mails", f"{median(plain, 'rate'):,.0f} mails/s", f"{ratio:.2f}",
        f"worker {median(plain, 'worker_us'):.1f} us CPU a mail, server {median(plain, 'server_us'):.1f}")
    result = {"ratio": ratio, "rounds": rounds, "dkim": {}}
    for name in list(signatures)[1:]:
        more = statistics.median(
            ours["worker_us"] - its["worker_us"] for ours, its in zip(rounds[name], plain))
        times = statistics.median(ours["worker_us"] / its["worker_us"] for ours, its in zip(rounds[name], plain))
        row(f"worker, mails signed by {name}", f"{median(rounds[name], 'rate'):,.0f} mails/s", f"{times:.2f}",
            f"CPU of unsigned mails; {more:+.1f} us a mail")
        result["dkim"][name] = {"more_us": more, "ratio": times}
    return result


# MARK: - Webhooks


def webhook(directory):
    need("nginx", "nginx-light")
    need("gcc", "gcc")
    port, raw = free_port(), directory / "raw_webhook"
    subprocess.run(["gcc", "-O2", "-o", raw, HERE / "raw_webhook.c", "-lcurl"], check=True)
    paths = "".join(f"{name}_temp_path {directory}/nginx-{name}; " for name in (
        "client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    (directory / "nginx.conf").write_text(f"""
worker_processes 1; daemon off; pid {directory}/nginx.pid; error_log {directory}/nginx.log;
events {{ worker_connections 1024; }}
http {{ access_log off; {paths} keepalive_requests 100000000;
    server {{ listen 127.0.0.1:{port} backlog=1024; location / {{ return 200; }} }} }}
""")
    url, bare, ours = f"http://127.0.0.1:{port}/", [], []
    with Server(directory, "--pool", f"{POOL}=8") as server, program(
            "nginx", "-p", directory, "-c", directory / "nginx.conf", port=port):
        for number in range(ROUNDS):
            answer = subprocess.run(
                [raw, "3", str(SIZE), str(SESSIONS), url], check=True, capture_output=True, text=True)
            figures = json.loads(answer.stdout)
            bare.append({"rate": figures["messages_per_second"], "worker_us": figures["cpu_us_per_message"]})
            fill(server.url, POOL, HOOKS)
            ours.append(deliveries(directory, server, url, HOOKS, f"webhook{number}"))
    ratio = statistics.median(mine["rate"] / its["rate"] for mine, its in zip(ours, bare))
    cpu = statistics.median(mine["worker_us"] / its["worker_us"] for mine, its in zip(ours, bare))
    row("libcurl alone, webhooks", f"{median(bare, 'rate'):,.0f} requests/s", "1.00",
        f"{median(bare, 'worker_us'):.1f} us CPU a message")
    row("worker, webhooks", f"{median(ours, 'rate'):,.0f} requests/s", f"{ratio:.2f}",
        f"worker {median(ours, 'worker_us'):.1f} us CPU a message ({cpu:.2f} times), "
        f"server {median(ours, 'server_us'):.1f}")
    return {"ratio": ratio, "cpu_ratio": cpu, "rounds": {"libcurl": bare, "worker": ours}}


# MARK: - Tracking


def tracking(directory):
    """Sends, and deliveries to nobody, with tracking and without, by turns in one run; each way has a server of its own."""
    rounds = {hours: {"send": [], "deliver": []} for hours in ("24", "0")}
    with contextlib.ExitStack() as stack:
        servers = {}
        for hours in rounds:
            place = directory / hours
            place.mkdir()
            servers[hours] = stack.enter_context(
                Server(place, "--pool", f"{POOL}=8", "--tracking-hours", hours))
        for number in range(ROUNDS):
            for hours in rounds if number % 2 else reversed(rounds):
                server = servers[hours]
                before, began = server.cpu_seconds(), time.monotonic()
                fill(server.url, POOL, HOOKS)
                seconds = time.monotonic() - began
                rounds[hours]["send"].append(
                    {"rate": HOOKS / seconds, "server_us": (server.cpu_seconds() - before) / HOOKS * 1e6})
                with Worker(directory / hours, number, "--endpoint", server.url, "--concurrency", SESSIONS,
                            "--tracking-hours", hours, deliver="stdout:") as worker:
                    rounds[hours]["deliver"].append(consume(worker, [server], HOOKS))
    result = {"rounds": {"on": rounds["24"], "off": rounds["0"]}}
    for kind in ("send", "deliver"):
        on, off = rounds["24"][kind], rounds["0"][kind]
        for key in ("rate", "server_us", "worker_us")[:2 if kind == "send" else 3]:
            ratio = statistics.median(a[key] / b[key] for a, b in zip(on, off))
            result[f"{kind}_{key}_ratio"] = ratio
            row(f"{kind} with tracking, {key}", f"{median(on, key):,.1f}", f"{ratio:.2f}", f"{median(off, key):,.1f} without")
    return result


# MARK: - Fail-over


class Mails(socketserver.StreamRequestHandler):
    """Takes mails, and writes to a file when each came."""

    def handle(self):
        with contextlib.suppress(OSError):
            self.say("220 here")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.say("354 go")
                    while self.rfile.readline() not in (b".\r\n", b""):
                        pass
                    os.write(self.server.file, f"{time.monotonic()}\n".encode())
                self.say("221 bye" if word == b"QUIT" else "250 OK")
                if word == b"QUIT":
                    return

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


def serve_mails(port, file):
    class MailServer(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads, request_queue_size = True, True, 1_024

    with MailServer(("127.0.0.1", int(port)), Mails) as server:
        server.file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        server.serve_forever()


def first_after(file, moment):
    """When the first mail came after a moment; waits for it."""
    found = []

    def comes():
        found[:] = [at for at in map(float, file.read_text().split("\n")[:-1]) if at > moment]
        return found

    wait_until(comes, what="a mail")
    return found[0] - moment


def failover(directory):
    files = [directory / "first.mails", directory / "second.mails"]
    ports = [free_port(), free_port()]

    def start(place):
        return subprocess.Popen([sys.executable, __file__, "serve-mails", str(ports[place]), str(files[place])])

    servers = []
    for place, file in enumerate(files):
        file.touch()
        servers.append(start(place))
        wait_until(lambda: listens(ports[place]), what="a mail server")
    ended, away, back = threading.Event(), [], []

    def send():
        number = 0
        while not ended.wait(0.02):
            fill_emails(server.url, 10, f"{number}-")
            number += 1

    try:
        with Server(directory, "--pool", f"{POOL}=8") as server, Worker(
                directory, 0, "--endpoint", server.url, "--deliver", f"smtp://127.0.0.1:{ports[1]}?tls=off",
                deliver=f"smtp://127.0.0.1:{ports[0]}?tls=off"):
            sender = threading.Thread(target=send)
            sender.start()
            try:
                for _ in range(REPEATS):
                    first_after(files[0], time.monotonic())
                    time.sleep(0.5)
                    moment = time.monotonic()
                    servers[0].kill()
                    servers[0].wait(20)
                    away.append(first_after(files[1], moment))
                    time.sleep(2)
                    servers[0] = start(0)
                    wait_until(lambda: listens(ports[0]), what="a mail server")
                    back.append(first_after(files[0], time.monotonic()))
            finally:
                ended.set()
                sender.join()
    finally:
        for popen in servers:
            popen.kill()
            popen.wait(20)
    result = {"away_seconds": away, "back_seconds": back, "down_for_seconds": 2, "emails_per_second": 500}
    for name, values in (("a target's death to the next one's mail", away),
                         ("a target's return to its first mail", back)):
        row(name, f"{statistics.median(values) * 1e3:,.0f} ms", "",
            f"from {min(values) * 1e3:,.0f} to {max(values) * 1e3:,.0f} ms")
    return result


def main():
    if sys.argv[1:2] == ["serve-mails"]:
        return serve_mails(*sys.argv[2:])
    cases = sys.argv[1:] or CASES
    if unknown := set(cases) - set(CASES):
        raise SystemExit(f"no case {unknown.pop()}; there are {' '.join(CASES)}")
    results = Path(os.environ.get("RESULTS", HERE / "results"))
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout
    report = {"commit": commit.strip(), "program": Path(PROGRAM).parent.name, "processors": os.cpu_count(),
              "load_before": os.getloadavg()[0], "body_bytes": SIZE, "sessions": SESSIONS, "groups": GROUPS,
              "mails": MAILS, "signed_mails": SIGNED, "webhooks": HOOKS, "rounds": ROUNDS}
    for case in cases:
        directory = Path(tempfile.mkdtemp(prefix=f"queuepool-{case}."))
        try:
            report[case] = {"smtp": smtp, "webhook": webhook, "failover": failover, "tracking": tracking}[case](directory)
        finally:
            shutil.rmtree(directory)
    results.mkdir(exist_ok=True)
    if (results / "delivery.json").exists():
        # What was not measured now stays.
        report = {**json.loads((results / "delivery.json").read_text()), **report}
    (results / "delivery.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
