# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Pools of queues while the service that has them is in trouble: nothing acknowledged is lost, nothing changes its
order, nothing is stored twice, and senders see no more than a pause.

The scenarios run side by side, because most of each is waiting."""

import threading
import time

import pytest
from conftest import run, wait_until
from credential_guard import guarded
from faulty_queue import faulty_queue
from lease_world import side_by_side
from outage_world import REGION, Place, World, lose_answers

SCENARIOS = {}
scenario, outcomes = side_by_side(SCENARIOS)
ROLE = "arn:aws:iam::222222222222:role/queues"
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true"}
WAYS = {
    "container": "/container", "instance": "/latest/meta-data/iam/security-credentials/role",
    "web identity": "AssumeRoleWithWebIdentity", "role": "AssumeRole"}
"""Of finding credentials, and what is asked for in each."""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """By a scenario's name."""
    places = []

    def place(name):
        places.append(Place(tmp_path_factory.mktemp(name.removeprefix("test_")[:30])))
        return places[-1]

    yield place
    for place in places:
        place.stack.close()


def surroundings(way, guard, directory):
    """What makes the program find credentials in one of AWS's ways, and what `pool create` needs for it."""
    if way == "container":
        return {**NO_KEYS, "AWS_CONTAINER_CREDENTIALS_FULL_URI": guard.url + "/container"}, ()
    if way == "instance":
        return {**NO_KEYS, "AWS_EC2_METADATA_DISABLED": "false", "AWS_EC2_METADATA_SERVICE_ENDPOINT": guard.url}, ()
    if way == "web identity":
        (directory / "token").write_text("a web identity")
        return {**NO_KEYS, "AWS_WEB_IDENTITY_TOKEN_FILE": str(directory / "token"), "AWS_ROLE_ARN": ROLE}, ()
    return {}, ("--shard-role", f"0-2={ROLE}")


def expire(at, way):
    """They live so short that they are renewed every few seconds, and the queues refuse them when they are over."""
    with guarded(at.server("back").url, stated=14, life=14) as guard:
        env, create = surroundings(way, guard, at.directory)
        world = World(at, guard.url, env=env, create=create, of_each=1)
        before = len(guard.issued)
        # Of the router and the worker.
        wait_until(lambda: len(guard.issued) >= before + 6, 60, "renewals")
        world.senders.wait_more(30)
        world.end()
        assert not world.senders.refusals and world.senders.longest < 10
        assert guard.refused == 0 and not guard.strangers
        assert set(guard.issued) == {WAYS[way]}


@scenario
def test_credentials_of_a_container_that_expire_under_load_are_renewed_before_anybody_sees_it(at):
    expire(at, "container")


@scenario
def test_credentials_of_an_instance_that_expire_under_load_are_renewed_before_anybody_sees_it(at):
    expire(at, "instance")


@scenario
def test_credentials_of_a_web_identity_that_expire_under_load_are_renewed_before_anybody_sees_it(at):
    expire(at, "web identity")


@scenario
def test_credentials_of_a_role_that_expire_under_load_are_renewed_before_anybody_sees_it(at):
    expire(at, "role")


@scenario
def test_credentials_that_the_queues_refuse_early_are_replaced_at_once(at):
    """They say that they are good for an hour, and are refused after a second and a half."""
    with guarded(at.server("back").url, stated=3_600, life=1.5) as guard:
        env, create = surroundings("role", guard, at.directory)
        world = World(at, guard.url, env=env, create=create)
        for _ in range(3):
            refused = guard.refused
            wait_until(lambda: guard.refused > refused, 30, "a refusal by the queues")
            world.senders.wait_more(20)
        guard.life = 3_600
        world.end()
        assert not world.senders.refusals and world.senders.longest < 10
        assert not guard.strangers


@scenario
def test_a_source_of_credentials_that_is_away_for_a_while_makes_senders_wait_and_no_more(at):
    with guarded(at.server("back").url, stated=3_600, life=1.5) as guard:
        env, create = surroundings("container", guard, at.directory)
        world = World(at, guard.url, env=env, create=create)
        world.senders.wait_more(20)
        guard.is_open = False
        refused, missed = guard.refused, guard.missed
        wait_until(lambda: guard.refused > refused, 30, "a refusal by the queues")
        # The router and the worker ask again, with pauses in between.
        wait_until(lambda: guard.missed > missed + 5, 60, "attempts to get others")
        assert guard.missed < missed + 20
        guard.life, guard.is_open = 3_600, True
        world.senders.wait_more(100, 60)
        world.end()
        # What came while the shards were known to fail was told to come again.
        assert set(world.senders.refusals) <= {"unavailable", "earlier-entry-failed", "ServiceUnavailable"}


@pytest.mark.parametrize("way, says", [
    ("container", "container endpoint: answered 503"),
    ("instance", "instance metadata: answered 503"),
    ("web identity", "AssumeRoleWithWebIdentity: STS answered 503"),
    ("role", "AssumeRole: STS answered 503"),
])
def test_a_command_that_gets_no_credentials_says_where_it_asked(tmp_path, way, says):
    with guarded("http://127.0.0.1:1", stated=3_600, life=3_600) as guard:
        guard.is_open = False
        env, create = surroundings(way, guard, tmp_path)
        done = run("pool", "create", "outage.fifo", "--backend", "sqs", "--shards", 3, *create, "--control",
                   f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", guard.url, *REGION, env=env)
        assert done.returncode == 69 and says in done.stderr, done.stderr


@scenario
def test_throttling_lowers_the_rate_and_its_end_brings_it_back(at):
    """A third of the sends is throttled, by both names that SQS has for it."""
    with faulty_queue(at.server("back").url) as queue:
        throttling, throttled, times = threading.Event(), [0], []

        def send(call):
            times.append(time.monotonic())
            if throttling.is_set() and call.number % 3 == 0:
                with queue.lock:
                    throttled[0] += 1
                call.refuse("ThrottlingException" if call.number % 2 else "RequestThrottled")
            else:
                call.answer(*call.pass_on())

        queue.on["SendMessageBatch"] = queue.on["SendMessage"] = send

        def rate():
            now = time.monotonic()
            return sum(now - 1 <= at for at in list(times))

        world = World(at, queue.url, shards=1, router=("--quota", "40"))
        world.senders.wait_more(100)
        before = max(10, rate())
        throttling.set()
        wait_until(lambda: rate() < before / 3, 30, "a third of the rate")
        assert throttled[0] > 0
        throttling.clear()
        wait_until(lambda: rate() > before / 2, 60, "half of the rate again")
        world.end()
        # Requests to a queue are counted by what came of them.
        assert world.throttled == throttled[0]
        assert set(world.senders.refusals) <= {"quota-exceeded", "earlier-entry-failed", "RequestThrottled"}


@scenario
def test_a_service_that_is_killed_under_load_again_and_again_loses_and_reorders_nothing(at):
    """Singles, batches and streams, and a worker straight at the queues."""
    back = at.server("back")
    world = World(at, back.url)
    for pause in (0.5, 2, 0):
        world.senders.wait_more(50)
        back.kill9()
        time.sleep(pause)
        back = at.server("back", port=back.port)
    world.senders.wait_more(50)
    world.end()
    # Whether a batch that was on its way at the kill was stored is not known when its deadline is over before the
    # service is back: senders repeat it under its deduplication ids, and `end` sees that each was stored once.
    assert set(world.senders.refusals) <= {
        "unavailable", "unknown-outcome", "earlier-entry-failed", "ServiceUnavailable"}


@scenario
def test_lost_answers_are_unknown_outcomes_and_each_message_is_stored_once(at):
    lose_answers(at, at.server("back").url)
