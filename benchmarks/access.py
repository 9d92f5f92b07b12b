#!/usr/bin/env python3
# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What access costs: single sends in the clear, with a Bearer token, signed (SigV4), over TLS, over TLS with a token.

    benchmarks/access.py

QUEUEPOOL names the program. wrk sends SendMessage by SQS over CONNECTIONS (64) kept connections, by turns in each way,
ROUNDS (3) times SECONDS (4) each; the median of the rounds counts, and so does that of what a way takes more than the
clear one in the same round. Servers are alike but for their keys and certificate; the others have no load meanwhile.
CPU is the server's, user and system, a request.

Requests are made before each round, each a message of its own that nothing repeats: a signature is over the body, and a
request that was seen before would be answered as a duplicate, which costs less than to store a message. wrk reads them
from a file, in all ways alike, so that the client takes the same. A round that needs more than there are has no figure.
The goal is at most 8 us a request for SigV4. Results go to RESULTS (benchmarks/results), access.json.
"""

import contextlib
import datetime
import hashlib
import hmac
import json
import re
import statistics
import subprocess

from common import POOL, PROGRAM, cpu_seconds, directory, machine, need, number, say, server, verdict, write

ROUNDS, SECONDS, CONNECTIONS = int(number("ROUNDS", 3)), int(number("SECONDS", 4)), int(number("CONNECTIONS", 64))
# So many requests a second are made for a round.
RATE_MAX = int(number("RATE_MAX", 60_000))
SIGV4_ALLOWED_US = 8
REGION, SERVICE, TARGET, KIND = "us-east-1", "sqs", "AmazonSQS.SendMessage", "application/x-amz-json-1.0"
# The way, its server and how it shows who it is.
WAYS = [("plain", "plain", None), ("bearer", "keys", "bearer"), ("sigv4", "keys", "sigv4"), ("tls", "tls", None),
        ("tls+bearer", "tls-keys", "bearer")]
# Every request of a file is as long as the others.
SCRIPT = """
local file = assert(io.open("FILE", "rb"))
function request()
    local text = file:read(LENGTH)
    if not text then file:seek("set") text = file:read(LENGTH) end
    return text
end
"""


class Signer:
    """Signature version 4 of one key at one moment."""

    def __init__(self, key, host):
        self.id, self.host = key["id"], host
        self.moment = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        self.scope = f"{self.moment[:8]}/{REGION}/{SERVICE}/aws4_request"
        secret = ("AWS4" + key["secret"]).encode()
        for part in self.scope.split("/"):
            secret = hmac.digest(secret, part.encode(), "sha256")
        self.secret = secret

    def headers(self, body):
        names = "content-type;host;x-amz-date;x-amz-target"
        canonical = (f"POST\n/\n\ncontent-type:{KIND}\nhost:{self.host}\nx-amz-date:{self.moment}\n"
                     f"x-amz-target:{TARGET}\n\n{names}\n{hashlib.sha256(body).hexdigest()}")
        text = f"AWS4-HMAC-SHA256\n{self.moment}\n{self.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self.secret, text.encode(), "sha256").hex()
        return (f"X-Amz-Date: {self.moment}\r\nAuthorization: AWS4-HMAC-SHA256 Credential={self.id}/{self.scope}, "
                f"SignedHeaders={names}, Signature={signature}\r\n")


def write_requests(file, way, shows, key, port, round_number):
    """Fills the file with the requests of one round: how many they are, and how long each is."""
    host, count, length = f"127.0.0.1:{port}", RATE_MAX * SECONDS, 0
    signer = Signer(key, host) if shows == "sigv4" else None
    shown = f"Authorization: Bearer {key['token']}\r\n" if shows == "bearer" else ""
    filler = "x" * 1_024
    with open(file, "wb", buffering=1 << 20) as out:
        for index in range(count):
            body = (f'{{"QueueUrl":"http://{host}/{POOL}","MessageGroupId":"g{index % 1_000:03}",'
                    f'"MessageDeduplicationId":"{way}-{round_number}-{index:08}","MessageBody":"{filler}"}}').encode()
            head = (f"POST / HTTP/1.1\r\nHost: {host}\r\nContent-Type: {KIND}\r\nX-Amz-Target: {TARGET}\r\n"
                    f"{signer.headers(body) if signer else shown}Content-Length: {len(body)}\r\n\r\n").encode()
            if length and len(head) + len(body) != length:
                raise SystemExit("requests of one file are not alike long")
            length = len(head) + len(body)
            out.write(head + body)
    return count, length


def measure(place, way, shows, made, key, round_number):
    """Requests a second, the server's CPU a request and the 99th percentile of one round."""
    file, script = place / "requests", place / "send.lua"
    count, length = write_requests(file, way, shows, key, made.port, round_number)
    script.write_text(SCRIPT.replace("FILE", str(file)).replace("LENGTH", str(length)))
    scheme = "https" if way.startswith("tls") else "http"
    before = cpu_seconds(made.popen.pid)
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", str(script),
         f"{scheme}://127.0.0.1:{made.port}"], stdout=subprocess.PIPE, text=True, check=True)
    used = cpu_seconds(made.popen.pid) - before
    requests = int(re.search(r"(\d+) requests in", done.stdout).group(1))
    if failed := re.search(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", done.stdout):
        raise SystemExit(f"{way}: {failed.group(0)}")
    # One is read before the load begins, and each connection has one under way at its end.
    if requests + CONNECTIONS + 1 > count:
        raise SystemExit(f"{way}: more than RATE_MAX={RATE_MAX} requests a second, so that some were sent twice")
    found = {"perSecond": float(re.search(r"Requests/sec:\s+([\d.]+)", done.stdout).group(1)),
             "cpuMicroseconds": round(used / requests * 1e6, 2),
             "p99": re.search(r"99%\s+(\S+)", done.stdout).group(1)}
    say(f"{way:10} round {round_number}: {found['perSecond']:,.0f}/s, {found['cpuMicroseconds']:.1f} us CPU, "
        f"p99 {found['p99']}")
    return found


def make_key(data):
    """A key in the control store of a server that is not started yet."""
    done = subprocess.run(
        [PROGRAM, "key", "create", "bench", "--allow", "*:send", "--data-dir", str(data)], stdout=subprocess.PIPE,
        text=True, check=True)
    return json.loads(done.stdout)


def main():
    need("wrk", "wrk")
    need("openssl", "openssl")
    with directory("access") as place, contextlib.ExitStack() as stack:
        certificate, secret = place / "tls.pem", place / "tls.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
             "-keyout", secret, "-out", certificate, "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1"],
            check=True, capture_output=True)
        tls = ["--tls-certificate", str(certificate), "--tls-key", str(secret)]
        settings = {"plain": [], "keys": ["--require-keys"], "tls": tls, "tls-keys": ["--require-keys", *tls]}
        keys, servers = {}, {}
        for name, arguments in settings.items():
            if "--require-keys" in arguments:
                keys[name] = make_key(place / name)
            servers[name] = stack.enter_context(server(place / name, *arguments))
        rounds = {way: [] for way, _, _ in WAYS}
        for round_number in range(ROUNDS):
            for way, name, shows in WAYS:
                rounds[way].append(measure(place, way, shows, servers[name], keys.get(name), round_number))
    table = {}
    for way, found in rounds.items():
        more = [one["cpuMicroseconds"] - plain["cpuMicroseconds"]
                for one, plain in zip(found, rounds["plain"], strict=True)]
        rates = [one["perSecond"] / plain["perSecond"] for one, plain in zip(found, rounds["plain"], strict=True)]
        table[way] = {**{figure: statistics.median(one[figure] for one in found)
                         for figure in ("perSecond", "cpuMicroseconds")},
                      "moreMicroseconds": round(statistics.median(more), 2), "rate": round(statistics.median(rates), 3)}
    holds = table["sigv4"]["moreMicroseconds"] <= SIGV4_ALLOWED_US
    print("| | requests/s | of the clear | server CPU a request | more than in the clear |\n|---|---|---|---|---|")
    for way, row in table.items():
        print(f"| {way} | {row['perSecond']:,.0f} | {row['rate']:.2f} | {row['cpuMicroseconds']:.1f} us "
              f"| {row['moreMicroseconds']:+.1f} us |")
    print(f"SigV4 takes {table['sigv4']['moreMicroseconds']:.1f} us a request more, {SIGV4_ALLOWED_US} allowed: "
          f"{verdict(holds)}")
    write("access.json", {"kind": "access", "machine": machine(), "rounds": rounds, "medians": table,
                          "sigv4AllowedMicroseconds": SIGV4_ALLOWED_US, "holds": holds})


if __name__ == "__main__":
    main()
