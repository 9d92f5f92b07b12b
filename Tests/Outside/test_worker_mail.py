# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Mail over SMTP as a mail server sees it: many at a time, slow servers waited for, each recipient by its own answer."""

import asyncio
import contextlib
import email
import email.policy
import json
import socket
import threading

import pytest
from aiosmtpd.controller import Controller
from conftest import Process, free_port, wait_until

POOL = "emails.fifo"


class Provider:
    """A mail server that counts. `answer(address, tries)` is what a recipient is told, `data(number)` the seconds before
    the answer to the final dot and that answer."""

    def __init__(self, answer=None, data=None):
        self.answer = answer or (lambda address, tries: "250 OK")
        self.data = data or (lambda number: (0, "250 OK"))
        self.lock, self.mails, self.tries = threading.Lock(), [], {}
        self.dots = self.now = self.most = self.sessions = 0

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.sessions += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.tries[address] = self.tries.get(address, 0) + 1
        said = self.answer(address, self.tries[address])
        if said.startswith("2"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server, session, envelope):
        self.dots += 1
        self.now += 1
        self.most = max(self.most, self.now)
        seconds, said = self.data(self.dots)
        await asyncio.sleep(seconds)
        self.now -= 1
        if said.startswith("2"):
            with self.lock:
                self.mails.append((list(envelope.rcpt_tos), envelope.original_content))
        return said

    @property
    def received(self):
        """Everybody who got a mail, once for each."""
        with self.lock:
            return sorted(address for recipients, _ in self.mails for address in recipients)


@contextlib.contextmanager
def provider(answer=None, data=None, **options):
    handler = Provider(answer, data)
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    handler.url = f"smtp://127.0.0.1:{controller.port}?tls=off"
    try:
        yield handler
    finally:
        controller.stop()


@pytest.fixture
def work(server, tmp_path):
    """Starts a worker; ends what a test left running. The pool is emptied first."""
    server.post(f"/v1/pools/{POOL}/purge")
    server.post("/v1/pools/emails-dlq.fifo/purge")
    started = []

    def start(*targets, options=()):
        deliver = [word for target in targets for word in ("--deliver", target)]
        started.append(Process(["work", "--endpoint", server.url, "--pool", POOL, *deliver, *options],
                               tmp_path / f"log{len(started)}"))
        return started[-1]

    yield start
    for worker in started:
        if worker.is_running:
            worker.kill9()


def post(server, **more):
    base = {"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": "t"}
    answer = server.post(f"/v1/pools/{POOL}/emails", json={**base, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def is_empty(server):
    pool = server.pool(POOL)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"] == 0


def test_mails_of_many_groups_are_handed_over_side_by_side(server, work):
    ids = [post(server, group=f"g{i}") for i in range(60)]
    with provider(data=lambda number: (0.15, "250 OK")) as mail:
        worker = work(mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert len(mail.mails) == 60
    assert sorted(sum(id.encode() in raw for _, raw in mail.mails) for id in ids) == [1] * 60, "each mail once"
    assert mail.most > 20, f"{mail.most} at a time"
    assert mail.sessions <= 60


def test_connections_are_used_again(server, work):
    for i in range(30):
        post(server, group="g")
    with provider() as mail:
        worker = work(mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert len(mail.mails) == 30 and mail.sessions == 1


def test_a_server_that_takes_its_time_gets_each_mail_once(server, work):
    """Longer than any visibility timeout that is not extended, and longer than a minute, which servers may take to
    answer the final dot (RFC 5321, 4.5.3.2.6)."""
    count = 6
    with provider(data=lambda number: (70 if number == 1 else 13, "250 OK")) as mail:
        for i in range(count):
            post(server, group=f"g{i}")
        worker = work(mail.url, options=("--visibility-timeout", "10"))
        wait_until(lambda: is_empty(server), 110, "an empty pool")
        worker.stop()
    assert mail.dots == count, "nothing was handed over twice"
    assert len(mail.mails) == count
