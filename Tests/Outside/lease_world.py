# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What tests about leases share: workers with a target each, a sender that goes on, and scenarios side by side."""

import collections
import contextlib
import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import wait_until
from receivers import webhook
from test_worker_metrics import Watched

TERM = 10.0
"""Seconds that a beat stands still before others remove the heartbeat."""


class Workers:
    """Workers of one pool. Each has a webhook of its own, so that it is known who delivered what, in which order."""

    def __init__(self, directory, pool, *way):
        self.directory, self.pool, self.way = directory, pool, way
        self.directory.mkdir(parents=True, exist_ok=True)
        self.delivered, self.lock, self.alive = [], threading.Lock(), []
        self.stack = contextlib.ExitStack()
        self.gate = threading.Event()
        """Answers of webhooks wait for it."""
        self.gate.set()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.gate.set()
        self.stack.close()

    def hook(self, number, status=lambda body: 200):
        """A webhook that notes what worker `number` delivers."""
        def answer(request):
            with self.lock:
                self.delivered.append((number, request["body"]))
            self.gate.wait(120)
            return status(request["body"]), {}

        return self.stack.enter_context(webhook(answer)).url

    def start(self, *arguments, status=lambda body: 200):
        number = len(list(self.directory.glob("worker*.log")))
        worker = Watched(
            ["work", "--pool", self.pool, "--deliver", self.hook(number, status), "--metrics-listen", "127.0.0.1:0",
             *self.way, *arguments], self.directory / f"worker{number}.log")
        worker.number = number
        self.alive.append(worker)
        self.stack.callback(lambda: worker.is_running and worker.kill9())
        return worker

    def stop(self, worker):
        self.alive.remove(worker)
        worker.stop()

    def kill9(self, worker):
        self.alive.remove(worker)
        worker.kill9()

    def owned(self):
        """How many shards each worker works on."""
        return [figure(worker, "owned_shards") for worker in self.alive]

    def wait_owned(self, *expected, seconds=15.0):
        """Until the workers own that many shards each."""
        try:
            wait_until(lambda: sorted(self.owned()) == sorted(expected), seconds)
        except AssertionError:
            raise AssertionError(f"{self.owned()} shards are owned, not {expected}, after {seconds} s") from None

    def bodies(self, *workers):
        with self.lock:
            return [body for number, body in self.delivered if not workers or number in [w.number for w in workers]]

    def groups(self, since=0):
        """The workers and numbers of each group's deliveries, as they came."""
        found = collections.defaultdict(list)
        with self.lock:
            for number, body in self.delivered[since:]:
                group, place = body.split("/")
                found[group].append((number, int(place)))
        return found

    def assert_each_once_and_in_order(self, counts, killed=(), late=(), since=0, first={}):
        """Each group is complete and in order. After a worker that was killed, and only then, another one begins again
        with what the first had delivered and not deleted.

        late: workers that stood still. What such a worker had begun to send when it stopped it goes on to send when it
        wakes, since nothing is asked between the look at the lease and the last byte: one message of a group, its next.
        counts: messages of each group. since: place in `delivered`; first: with which number the groups begin there.
        """
        found = self.groups(since)
        killed, late = [worker.number for worker in killed], [worker.number for worker in late]
        assert set(found) == {group for group, count in counts.items() if count > first.get(group, 0)}
        for group, deliveries in found.items():
            expected, before = first.get(group, 0), None
            latest, stragglers = {}, 0
            for worker, number in deliveries:
                if worker in late and before != worker and number < expected and number == latest.get(worker, -1) + 1:
                    stragglers += 1
                    assert stragglers == 1, (group, deliveries)
                    continue
                latest[worker] = number
                if number != expected:
                    assert before in killed and worker != before and number < expected, (group, before, deliveries)
                expected, before = number + 1, worker
            assert expected == counts[group], (group, deliveries)


def figure(worker, name):
    """One of the worker's figures; -1 before it has any, or if it does not answer."""
    if not worker.address:
        return -1
    try:
        text = requests.get(worker.address + "/metrics", timeout=2).text
    except requests.RequestException:
        return -1
    values = [float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
              if line.startswith(f"queuepool_worker_{name}{{")]
    return int(sum(values)) if values else -1


class Sender:
    """Sends numbered messages (`group/number`) to a pool in rounds, one to each group, until it is told to end."""

    def __init__(self, url, pool, groups=50, prefix="g", pause=0.1):
        self.url, self.pool, self.pause = f"{url}/v1/pools/{pool}/messages", pool, pause
        self.counts = {f"{prefix}{number}": 0 for number in range(groups)}
        self.ended = threading.Event()

    def round(self):
        lines = "".join(json.dumps({"group": g, "body": f"{g}/{n}", "deduplicationId": f"{g}/{n}"}) + "\n"
                        for g, n in self.counts.items())
        answer = requests.post(self.url, data=lines, headers={"Content-Type": "application/x-ndjson"}, timeout=60)
        results = [json.loads(line) for line in answer.text.splitlines()]
        assert len(results) == len(self.counts) and not [r for r in results if "error" in r], answer.text[:300]
        for group in self.counts:
            self.counts[group] += 1

    def go_on(self):
        while not self.ended.wait(self.pause):
            self.round()

    @contextlib.contextmanager
    def under_way(self):
        with ThreadPoolExecutor(1) as threads:
            running = threads.submit(self.go_on)
            try:
                yield self
            finally:
                self.ended.set()
            running.result(60)


def left(url, pool):
    """Messages that are not deleted yet."""
    pool = requests.get(f"{url}/v1/pools/{pool}", timeout=30).json()
    return pool["backlog"] + pool["inFlight"] + pool["delayed"]


def wait_empty(url, pool, seconds=60.0):
    wait_until(lambda: left(url, pool) == 0, seconds, "an empty pool")


def stand_still(worker, seconds):
    """The process does nothing for that long: SIGSTOP, SIGCONT."""
    worker.popen.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    worker.popen.send_signal(signal.SIGCONT)


def side_by_side(scenarios):
    """Makes a module fixture that runs the scenarios of the tests that were asked for at the same time, and a decorator
    for them: a lease's term is long, and most of it is waiting."""

    def scenario(function):
        def test(outcomes):
            outcomes[function.__name__].result(240)

        scenarios[function.__name__] = function
        test.__name__, test.__doc__ = function.__name__, function.__doc__
        return test

    @pytest.fixture(scope="module", autouse=True)
    def outcomes(request, place):
        asked = {item.name for item in request.session.items if item.module is request.module}
        with ThreadPoolExecutor(max(1, len(scenarios))) as threads:
            yield {name: threads.submit(function, place(name)) for name, function in scenarios.items() if name in asked}

    return scenario, outcomes
