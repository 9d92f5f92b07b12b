# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What tests of outages share: senders that go on until they are told to stop, a worker, and how to check them."""

import contextlib
import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import requests
from conftest import Process, Server, run, wait_until
from faulty_queue import DELETE, RECEIVE, faulty_queue

REGION = ["--region", "us-east-1"]
KINDS = ("single", "batch", "stream")


class Senders:
    """Three kinds of senders, each with groups of its own. What fails is sent again under its deduplication id, before
    anything later of its group: so what is acknowledged of a group is an order that must come out."""

    def __init__(self, server, pool, of_each):
        self.server, self.pool, self.stop, self.lock = server, pool, threading.Event(), threading.Lock()
        self.acknowledged, self.refusals, self.longest = {}, [], 0.0
        self.threads = ThreadPoolExecutor(of_each * len(KINDS))
        self.running = [self.threads.submit(self.go_on, kind, number) for number in range(of_each) for kind in KINDS]

    @property
    def count(self):
        with self.lock:
            return sum(map(len, self.acknowledged.values()))

    def go_on(self, kind, number):
        session, round_number = requests.Session(), 0
        groups = [f"{kind}{number}"] if kind == "single" else [f"{kind}{number}{part}" for part in "ab"]
        while not self.stop.is_set():
            # A batch has a group's entries side by side with another's, five of each.
            left = [(group, f"{group}-{round_number:05}.{entry}") for entry in range(1 if kind == "single" else 5)
                    for group in groups]
            began = time.monotonic()
            while left:
                failed = getattr(self, kind)(session, left)
                with self.lock:
                    for group, body in left:
                        if (group, body) not in failed:
                            self.acknowledged.setdefault(group, []).append(body)
                left = [pair for pair in left if pair in failed]
                if left:
                    time.sleep(0.02)
            with self.lock:
                self.longest = max(self.longest, time.monotonic() - began)
            round_number += 1
            # As fast as they can is what a bench does; here others need the machine at the same time.
            time.sleep(0.02)

    def single(self, session, pairs):
        (group, body), = pairs
        answer = session.post(f"{self.server.url}/v1/pools/{self.pool}/messages", timeout=60, json={
            "group": group, "body": body, "deduplicationId": body})
        if answer.status_code == 202:
            return {}
        self.note(answer.json()["type"], answer.status_code)
        return dict.fromkeys(pairs)

    def stream(self, session, pairs):
        lines = "".join(json.dumps({"group": g, "body": b, "deduplicationId": b}) + "\n" for g, b in pairs)
        answer = session.post(f"{self.server.url}/v1/pools/{self.pool}/messages", data=lines, timeout=60,
                              headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200, answer.text
        failed = {}
        for pair, line in zip(pairs, answer.text.splitlines(), strict=True):
            if error := json.loads(line).get("error"):
                failed[pair] = None
                self.note(error["type"], error["status"])
        return failed

    def batch(self, session, pairs):
        answer = session.post(self.server.url, timeout=60, json={"QueueUrl": self.pool, "Entries": [
            {"Id": str(i), "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body}
            for i, (group, body) in enumerate(pairs)]}, headers={
                "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessageBatch"})
        if answer.status_code != 200:
            code = answer.json()["__type"].partition("#")[2]
            assert answer.status_code >= 500 or code == "RequestThrottled", answer.text
            self.note(code, 429)
            return dict.fromkeys(pairs)
        failed = answer.json().get("Failed", [])
        for entry in failed:
            assert not entry["SenderFault"], entry
            self.note(entry["Code"], 503)
        return {pairs[int(entry["Id"])]: None for entry in failed}

    def note(self, kind, status):
        """A refusal must be one that asks to come again."""
        assert status in (424, 429, 502, 503, 504), (kind, status)
        with self.lock:
            self.refusals.append(kind.rsplit(":", 1)[-1])

    def wait_more(self, count, seconds=30):
        """Until so many more are acknowledged."""
        goal = self.count + count

        def reached():
            for future in self.running:
                if future.done():
                    future.result()
            return self.count >= goal

        wait_until(reached, seconds, f"{count} more messages acknowledged")

    def end(self):
        """Each ends when all that it began is acknowledged."""
        self.stop.set()
        for future in self.running:
            future.result(90)
        self.threads.shutdown()
        return self.acknowledged


class Worker:
    """A worker that goes straight to the queues, and what it delivered."""

    def __init__(self, directory, pool, control, *arguments, env=None):
        self.output = directory / "delivered"
        with open(self.output, "wb") as out:
            self.process = Process(
                ["work", "--pool", pool, "--deliver", "stdout:", "--visibility-seconds", "3", *control, *arguments],
                directory / "work.log", stdout=out, env=env)

    def lines(self):
        return [json.loads(line) for line in self.output.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def check(self, acknowledged, seconds=30):
        """All that was acknowledged came, in order, and each was stored once (I1, I2, I3)."""
        wanted = {body for bodies in acknowledged.values() for body in bodies}
        assert len(wanted) == sum(map(len, acknowledged.values()))
        wait_until(lambda: {line["body"] for line in self.lines()} >= wanted or not self.process.is_running,
                   seconds, "delivery of what was acknowledged")
        assert self.process.is_running, self.process.text()[-2000:]
        got, ids = {}, {}
        for line in self.lines():
            ids.setdefault(line["body"], set()).add(line["id"])
            # A delivery may repeat: its first one counts, and a later one must not begin before the one before ended.
            if line["body"] not in got.setdefault(line["group"], []):
                got[line["group"]].append(line["body"])
        assert got == acknowledged
        assert not [body for body, of in ids.items() if len(of) != 1], "stored more than once"


class Place:
    """Where a scenario takes place. What it started ends with it."""

    def __init__(self, directory):
        self.directory, self.stack = directory, contextlib.ExitStack()

    def server(self, name, *arguments, **options):
        server = Server(self.directory / name, *arguments, pools=(), **options)
        self.stack.callback(lambda: server.is_running and server.kill9())
        return server

    def worker(self, *arguments, **options):
        worker = Worker(self.directory, *arguments, **options)
        self.stack.callback(lambda: worker.process.is_running and worker.process.kill9())
        return worker


class World:
    """A pool of queues behind an endpoint, a router over it, senders and a worker."""

    def __init__(self, at, endpoint, shards=3, env=None, create=(), router=(), of_each=2):
        self.pool = "outage.fifo"
        self.access = ["--control", f"sqlite:{at.directory}/control.sqlite", "--endpoint-url", endpoint, *REGION]
        run("pool", "create", self.pool, "--backend", "sqs", "--shards", shards, *create, *self.access, check=0,
            env=env)
        self.router = at.server("front", *self.access, *router, env=env)
        self.worker = at.worker(self.pool, self.access, env=env)
        self.senders = Senders(self.router, self.pool, of_each)
        at.stack.callback(self.senders.stop.set)

    def end(self):
        """Ends the senders, checks, and stops the programs."""
        self.worker.check(self.senders.end())
        self.throttled, self.unknown = (
            self.requests(action="send", outcome=outcome) for outcome in ("throttled", "unknown"))
        self.worker.process.stop()
        self.router.stop()

    def requests(self, **labels):
        """The router's `queuepool_queue_requests_total` of these labels."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        rows = re.findall(r"^queuepool_queue_requests_total\{(.*)\} (\d+)$", self.router.get("/metrics").text, re.M)
        assert rows
        return sum(int(value) for row, value in rows if all(label in row for label in wanted))


def lose_answers(at, endpoint):
    """Every so-manieth answer of sends, receives and deletes is lost, after the service did what was asked."""
    lost = {}
    with faulty_queue(endpoint) as queue:
        def answered(every):
            def function(call):
                answer = call.pass_on()
                if call.number % every != every - 1:
                    return call.answer(*answer)
                with queue.lock:
                    lost[call.action] = lost.get(call.action, 0) + 1
                call.tear(*answer)
            return function

        for action in ("SendMessage", "SendMessageBatch", "DeleteMessage", DELETE):
            queue.on[action] = answered(5)
        # What such a receive took shows again after the visibility timeout.
        queue.on[RECEIVE] = answered(12)
        world = World(at, queue.url)
        world.senders.wait_more(300, 60)
        wait_until(lambda: lost.get(RECEIVE, 0) > 1 and lost.get(DELETE, 0) > 1, 60, "lost receives and deletes")
        world.end()
        sends = lost.get("SendMessage", 0) + lost.get("SendMessageBatch", 0)
        assert sends > 5 and world.unknown == sends
        assert not world.senders.refusals
