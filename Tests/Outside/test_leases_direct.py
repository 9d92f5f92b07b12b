# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Workers that go straight to the queues: leases in the control store, no server between.

Against moto's SQS and DynamoDB (which does not lock groups, so that order is not looked at there), and against servers
of our own as the SQS endpoints, with a control store in SQLite, where order must hold.
"""

import time

import boto3
import pytest
from conftest import Server, free_port, run, wait_until
from lease_world import TERM, Sender, Workers, figure, side_by_side, stand_still

SCENARIOS = {}
scenario, outcomes = side_by_side(SCENARIOS)
REGION = ["--region", "us-east-1"]


class Place:
    """Where a scenario takes place: a pool of queues at an endpoint, made by the command, and a directory."""

    def __init__(self, moto, directory):
        self.moto, self.directory, self.pool = moto, directory, directory.name + ".fifo"

    def create(self, control, endpoint, shards=8):
        self.flags = ["--control", control, "--endpoint-url", endpoint, *REGION]
        run("pool", "create", self.pool, "--backend", "sqs", "--shards", shards, *self.flags, check=0)
        return Workers(self.directory / "workers", self.pool, *self.flags)

    def server(self, workers, name, *arguments, port=None):
        server = Server(self.directory / name, *arguments, pools=(), port=port)
        workers.stack.callback(lambda: server.is_running and server.kill9())
        return server


@pytest.fixture(scope="module")
def place(moto, tmp_path_factory):
    """By a scenario's name."""
    def place(name):
        return Place(moto, tmp_path_factory.mktemp(name.removeprefix("test_")[:30].strip("_").replace("_", "-")))

    return place


def left_at(far):
    """Messages in all queues of a server of our own: a router over them knows it a moment later."""
    return sum(pool["backlog"] + pool["inFlight"] + pool["delayed"] for pool in far.get("/v1/pools").json()["pools"])


def wait_empty_at(far):
    wait_until(lambda: left_at(far) == 0, 60, "empty queues")


class Queues:
    """boto3's view of a pool's queues at moto."""

    def __init__(self, url, stem):
        self.client, self.stem = boto3.client("sqs", endpoint_url=url, region_name="us-east-1"), stem

    def urls(self):
        return self.client.list_queues(QueueNamePrefix=self.stem).get("QueueUrls", [])

    def count(self, url):
        counts = self.client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        return sum(int(counts["ApproximateNumberOfMessages" + more]) for more in ("", "NotVisible", "Delayed"))

    def shards(self):
        return sorted(url for url in self.urls() if "-dlq" not in url)

    def dead(self):
        return next(url for url in self.urls() if url.endswith("-dlq.fifo"))

    def round(self, number, more=""):
        """A message to each of five groups of each shard, past the pool: whoever has the shard delivers it."""
        sent = []
        for place, url in enumerate(self.shards()):
            bodies = [f"s{place}g{group}{more}/{number}" for group in range(5)]
            answer = self.client.send_message_batch(QueueUrl=url, Entries=[
                {"Id": str(i), "MessageBody": body, "MessageGroupId": body.split("/")[0],
                 "MessageDeduplicationId": body} for i, body in enumerate(bodies)])
            assert len(answer["Successful"]) == 5
            sent += bodies
        return sent

    def wait_empty(self, seconds=60):
        wait_until(lambda: sum(map(self.count, self.shards())) == 0, seconds, "empty queues")


@scenario
def test_workers_share_queues_of_sqs_by_a_table_of_dynamodb(at):
    """Both work, the dead-letter queue is reached, one is killed and another takes over; all is delivered."""
    with at.create(f"dynamodb:{at.directory.name}", at.moto) as workers:
        queues = Queues(at.moto, at.pool.removesuffix(".fifo"))
        assert len(queues.shards()) == 8

        def status(body):
            return 400 if "poison" in body else 200

        options = ("--visibility-seconds", "5", "--max-attempts", "2")
        first, second = workers.start(*options, status=status), workers.start(*options, status=status)
        workers.wait_owned(4, 4, seconds=20)
        sent = queues.round(0) + queues.round(1)
        poison = queues.round(0, "poison")
        queues.wait_empty()
        assert set(workers.bodies()) == set(sent + poison)
        assert workers.bodies(first) and workers.bodies(second)
        assert queues.count(queues.dead()) == len(poison)
        workers.kill9(first)
        sent += queues.round(2)
        workers.wait_owned(8, seconds=2 * TERM)
        queues.wait_empty()
        assert set(workers.bodies()) == set(sent + poison)
        third = workers.start(*options, status=status)
        workers.wait_owned(4, 4, seconds=20)
        workers.stop(second)
        workers.wait_owned(8)
        sent += queues.round(3)
        queues.wait_empty()
        assert set(workers.bodies()) == set(sent + poison)
        assert set(sent[-40:]) <= set(workers.bodies(third))
        assert queues.count(queues.dead()) == len(poison)
        workers.stop(third)


@scenario
def test_order_holds_as_workers_come_and_go_without_a_server(at):
    """Two servers of our own are the SQS endpoints; a router takes what is sent, and workers do not know it."""
    control = f"sqlite:{at.directory}/control.sqlite"
    port = free_port()
    far = Server(at.directory / "far", pools=(), port=port)
    try:
        with at.create(control, far.url) as workers:
            router = at.server(workers, "router", *at.flags)
            workers.start()
            workers.wait_owned(8)
            sender = Sender(router.url, at.pool)
            with sender.under_way():
                second = workers.start()
                workers.wait_owned(4, 4)
                third = workers.start()
                workers.wait_owned(3, 3, 2)
                workers.stop(third)
                workers.wait_owned(4, 4)
                workers.kill9(second)
                workers.wait_owned(8, seconds=2 * TERM)
                workers.start()
                workers.wait_owned(4, 4)
            wait_empty_at(far)
            assert [figure(worker, "leases_lost_total") for worker in workers.alive] == [0, 0]
            workers.assert_each_once_and_in_order(sender.counts, killed=[second])
            router.stop()
    finally:
        far.kill9()


@scenario
def test_a_worker_that_stood_still_breaks_no_order_without_a_server(at):
    far = Server(at.directory / "far", pools=())
    try:
        with at.create(f"sqlite:{at.directory}/control.sqlite", far.url, 4) as workers:
            router = at.server(workers, "router", *at.flags)
            still = workers.start("--visibility-seconds", "6")
            workers.start("--visibility-seconds", "6")
            workers.wait_owned(2, 2)
            sender = Sender(router.url, at.pool)
            with sender.under_way():
                wait_until(lambda: len(workers.bodies(still)) > 100, 30, "deliveries")
                stand_still(still, 15)
                wait_until(lambda: figure(still, "leases_lost_total") == 2, 15, "the loss of its shards")
                workers.wait_owned(2, 2)
            wait_empty_at(far)
            workers.assert_each_once_and_in_order(sender.counts, killed=[still], late=[still])
            router.stop()
    finally:
        far.kill9()


@scenario
def test_endpoints_that_were_away_hold_no_shard_up(at):
    """The queues' server dies and comes back; the leases are elsewhere, and nobody loses one."""
    far = Server(at.directory / "far", pools=())
    with at.create(f"sqlite:{at.directory}/control.sqlite", far.url, 4) as workers:
        router = at.server(workers, "router", *at.flags)
        workers.start(), workers.start()
        workers.wait_owned(2, 2)
        sender = Sender(router.url, at.pool)
        sender.round()
        wait_empty_at(far)
        far.kill9()
        time.sleep(3)
        far = at.server(workers, "far", port=far.port)
        for _ in range(3):
            sender.round()
        wait_empty_at(far)
        workers.assert_each_once_and_in_order(sender.counts)
        assert [figure(worker, "leases_lost_total") for worker in workers.alive] == [0, 0]
        for worker in list(workers.alive):
            workers.stop(worker)
        assert router.get(f"/v1/pools/{at.pool}/leases").json()["workers"] == []
        router.stop()


@scenario
def test_a_worker_takes_part_in_queues_that_come_while_it_works(at):
    """The pool comes again under its name, with more queues."""
    far = Server(at.directory / "far", pools=())
    try:
        with at.create(f"sqlite:{at.directory}/control.sqlite", far.url, 2) as workers:
            workers.start(), workers.start()
            workers.wait_owned(1, 1)
            run("pool", "delete", at.pool, "--yes", *at.flags, check=0)
            run("pool", "create", at.pool, "--backend", "sqs", "--shards", 4, *at.flags, check=0)
            workers.wait_owned(2, 2, seconds=3 * TERM)
            router = at.server(workers, "router", *at.flags)
            sender = Sender(router.url, at.pool)
            for _ in range(3):
                sender.round()
            wait_empty_at(far)
            workers.assert_each_once_and_in_order(sender.counts)
            for worker in list(workers.alive):
                workers.stop(worker)
            router.stop()
    finally:
        far.kill9()


@scenario
def test_what_a_poll_of_a_former_owner_brings_is_given_back_at_once(at):
    """A shard is given away while a poll for it is out; it is older than that of the new owner, and gets what comes."""
    far = Server(at.directory / "far", pools=())
    try:
        with at.create(f"sqlite:{at.directory}/control.sqlite", far.url, 2) as workers:
            former = workers.start()
            workers.wait_owned(2)
            other = workers.start()
            workers.wait_owned(1, 1)
            queues = Queues(far.url, at.pool.removesuffix(".fifo"))
            sent, began = queues.round(0), time.monotonic()
            wait_until(lambda: len(workers.bodies()) == len(sent), 30, "deliveries")
            # What is kept for somebody who waits is kept for five seconds.
            assert time.monotonic() - began < 3
            assert len(workers.bodies(former)) == len(workers.bodies(other)) == 5
            wait_empty_at(far)
            assert sorted(workers.bodies()) == sorted(sent)
            for worker in list(workers.alive):
                workers.stop(worker)
    finally:
        far.kill9()


def test_endpoint_and_control_together_are_refused(tmp_path):
    done = run("work", "--pool", "emails.fifo", "--deliver", "stdout:", "--endpoint", "http://127.0.0.1:9",
               "--control", f"sqlite:{tmp_path}/control.sqlite", check=64)
    assert "endpoint" in done.stderr and "control" in done.stderr and "both" in done.stderr


def test_shards_of_a_server_are_reached_through_it(server):
    done = run("work", "--pool", "emails.fifo", "--deliver", "stdout:", "--control",
               f"sqlite:{server.data}/control.sqlite", check=78)
    assert "--endpoint" in done.stderr and "emails.fifo" in done.stderr


def test_a_pool_that_the_control_store_does_not_know_is_named(tmp_path):
    done = run("work", "--pool", "none.fifo", "--deliver", "stdout:", "--control",
               f"sqlite:{tmp_path}/control.sqlite", *REGION, check=78)
    assert "the control store" in done.stderr and "has no pool none.fifo" in done.stderr
