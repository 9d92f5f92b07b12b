# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A mail server dies under load and comes back, then a worker dies: nothing is lost, what may have arrived is tried at
no other server, and each group keeps its order over both servers."""

import collections
import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import Server, free_port, wait_until
from lease_world import figure, wait_empty
from mail_process import Arrival, MailProcess
from test_worker_metrics import Watched

POOL = "emails.fifo"
GROUPS = [f"g{number}" for number in range(40)]
AWAY, BACK = "Target does not take deliveries", "Target takes deliveries again"


class Deaths:
    """Who died when: what a judge has to know."""

    def __init__(self):
        self.server_life = self.worker = None
        self.worker_at = float("inf")


def judge(accepted, arrivals, deaths):
    """Faults in what arrived, as texts.

    accepted: how many emails of each group were accepted; their subjects are `group/0`, `group/1` and so on.
    """
    faults, arrivals = [], sorted(arrivals)
    by_subject, order, again = collections.defaultdict(list), collections.defaultdict(list), collections.Counter()
    last_of_connection = {}
    for arrival in arrivals:
        if arrival.subject not in by_subject:
            group, number = arrival.subject.split("/")
            order[group].append(int(number))
        by_subject[arrival.subject].append(arrival)
        last_of_connection[arrival.server, arrival.life, arrival.connection] = arrival
    for group, count in accepted.items():
        if missing := set(range(count)) - set(order[group]):
            faults.append(f"lost: {group}/{sorted(missing)}")
        elif order[group] != list(range(count)):
            faults.append(f"out of order: {group} {order[group]}")
    for subject, (first, *more) in by_subject.items():
        if not more:
            continue
        # Its server wrote it down and died before it answered: the last that this connection carried. Whether it
        # arrived is not known, and no other server may be asked.
        was_cut = first.life == deaths.server_life and first == last_of_connection[
            first.server, first.life, first.connection]
        # The worker handed it over and died before it deleted it.
        was_left = first.client == deaths.worker and first.at < deaths.worker_at
        again[subject.split("/")[0]] += was_left
        if len(more) > 1:
            faults.append(f"{1 + len(more)} times: {subject}")
        elif was_cut and more[0].server != first.server:
            faults.append(f"may have arrived, and went to another server: {subject}")
        elif not was_cut and not (was_left and more[0].client != deaths.worker and more[0].at > deaths.worker_at):
            faults.append(f"twice: {subject}")
    faults += [f"{count} emails of {group} came again after its worker's death" for group, count in again.items()
               if count > 1]
    return faults


class Senders:
    """Each sends numbered emails to groups of its own, one after another, until it is told to end."""

    def __init__(self, url, pause=0.04):
        self.url, self.pause, self.ended = f"{url}/v1/pools/{POOL}/emails", pause, threading.Event()
        self.accepted = dict.fromkeys(GROUPS, 0)

    def send(self, groups):
        with requests.Session() as session:
            while True:
                for group in groups:
                    answer = session.post(self.url, timeout=60, json={
                        "from": "a@example.com", "to": "b@example.com", "group": group, "text": "t",
                        "subject": f"{group}/{self.accepted[group]}"})
                    assert answer.status_code == 202, answer.text
                    self.accepted[group] += 1
                    if self.ended.wait(self.pause):
                        return

    @contextlib.contextmanager
    def under_way(self):
        with ThreadPoolExecutor(2) as threads:
            running = [threads.submit(self.send, GROUPS[first::2]) for first in range(2)]
            try:
                yield self
            finally:
                self.ended.set()
            for sender in running:
                sender.result(60)


class Scene:
    """A server, two mail servers, and two workers that share the pool by lease."""

    def __init__(self, directory, stack):
        self.server = Server(directory / "server")
        stack.callback(self.server.kill9)
        self.mail = {}
        for name in "AB":
            self.mail[name] = MailProcess(name, directory, free_port())
            stack.callback(self.mail[name].close)
            self.mail[name].start()
        self.workers = []
        for number in range(2):
            targets = [word for mail in self.mail.values() for word in ("--deliver", mail.url(number))]
            worker = Watched(
                ["work", "--endpoint", self.server.url, "--pool", POOL, "--metrics-listen", "127.0.0.1:0", *targets],
                directory / f"worker{number}.log")
            stack.callback(worker.kill9)
            self.workers.append(worker)
        self.wait_owned(4, 4)

    def wait_owned(self, *expected):
        workers = [worker for worker in self.workers if worker.is_running]
        wait_until(lambda: [figure(worker, "owned_shards") for worker in workers] == list(expected), 40,
                   f"{expected} shards owned")

    def up(self, name):
        """What each worker's figures say of whether it begins at a target."""
        found = []
        for number, worker in enumerate(self.workers):
            label = self.mail[name].url(number).split("?")[0]
            found.append(worker.figures().sum("target_up", target=label))
        return found

    def said(self, text, name):
        """Whether each worker's log has a line about a target."""
        return all(any(text in line and f":{self.mail[name].port}" in line for line in worker.text().splitlines())
                   for worker in self.workers)

    def wait_more(self, name, count=40):
        """Until each worker has handed that many more mails to a server."""
        mail = self.mail[name]
        before = [mail.count(client) for client in range(2)]
        wait_until(lambda: all(mail.count(client) >= before[client] + count for client in range(2)), 40,
                   f"{count} more mails of each worker at {name}")


def test_a_mail_server_that_dies_under_load_and_then_a_worker_lose_and_repeat_and_reorder_nothing(tmp_path):
    deaths = Deaths()
    with contextlib.ExitStack() as stack:
        scene = Scene(tmp_path, stack)
        first, second = scene.mail.values()
        senders = Senders(scene.server.url)
        with senders.under_way():
            scene.wait_more("A")
            assert second.count() == 0, "the first target takes what it can"
            assert scene.up("A") == scene.up("B") == [1, 1]

            deaths.server_life = first.kill()
            wait_until(lambda: scene.said(AWAY, "A"), 30, "the logs to say that a target is away")
            wait_until(lambda: scene.up("A") == [0, 0], 30, "the figures to say that a target is away")
            scene.wait_more("B")
            assert scene.up("B") == [1, 1] and not scene.said(BACK, "A")

            life = first.start()
            wait_until(lambda: scene.said(BACK, "A"), 60, "the logs to say that a target is back")
            wait_until(lambda: scene.up("A") == [1, 1], 30, "the figures to say that a target is back")
            scene.wait_more("A", 20)
            before = second.count()
            scene.wait_more("A", 20)
            assert second.count() == before, "all goes to the first target again"
            assert first.count(life=life) >= 80

            scene.workers[0].kill9()
            deaths.worker, deaths.worker_at = 0, time.monotonic()
            scene.wait_owned(8)
        wait_empty(scene.server.url, POOL)
        scene.workers[1].stop()
        assert scene.server.pool("emails-dlq.fifo")["backlog"] == 0
        faults = judge(senders.accepted, first.arrivals() + second.arrivals(), deaths)
    assert sum(senders.accepted.values()) > 400 and min(senders.accepted.values()) > 5
    assert faults == []


def arrivals(*words):
    """Words such as `A0 g/1`: server, client, subject; an `x` before says the server's life that ended, and its death
    cut the connection. One comes a second."""
    return [Arrival(at, word[-6], 1 if word[0] == "x" else 2, int(word[-5]), at, word[-3:])
            for at, word in enumerate(words)]


@pytest.mark.parametrize("words, worker_at, faults", [
    (["A0 g/0", "B1 g/1", "A0 g/2"], 9, 0),
    (["A0 g/0", "A0 g/2"], 9, 1),
    (["A0 g/1", "A0 g/0", "A0 g/2"], 9, 1),
    (["A0 g/0", "A0 g/1", "B0 g/1", "A0 g/2"], 9, 1),
    (["A0 g/0", "xA0 g/1", "A0 g/1", "A0 g/2"], 9, 0),
    (["A0 g/0", "xA0 g/1", "B0 g/1", "A0 g/2"], 9, 1),
    (["A0 g/0", "A0 g/1", "A1 g/1", "A1 g/2"], 1.5, 0),
    (["A0 g/0", "A0 g/1", "A1 g/1", "A1 g/2"], 2.5, 1),
    (["A1 g/0", "A1 g/1", "A1 g/1", "A1 g/2"], 1.5, 1),
    (["A0 g/0", "A0 g/1", "A1 g/0", "A1 g/1", "A1 g/2"], 1.5, 1),
    (["A0 g/0", "A0 g/1", "A1 g/1", "A1 g/1", "A1 g/2"], 1.5, 1),
])
def test_the_judge_sees_what_is_wrong(words, worker_at, faults):
    deaths = Deaths()
    deaths.server_life, deaths.worker, deaths.worker_at = 1, 0, worker_at
    assert len(judge({"g": 3}, arrivals(*words), deaths)) == faults
