# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What a worker gives up is in the dead-letter queue whole, whatever its size, and a redrive brings it back to its group."""

import functools

import pytest
from conftest import wait_until
from receivers import webhook

POOL = "emails.fifo"
DEAD = "emails-dlq.fifo"
ARN = "arn:aws:sqs:us-east-1:000000000000:" + DEAD


@pytest.fixture
def work(server, workers):
    for pool in (POOL, DEAD):
        server.post(f"/v1/pools/{pool}/purge")
    return functools.partial(workers, endpoint=server.url)


def count(server, name):
    pool = server.pool(name)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"]


def give_up(server, work):
    with webhook(lambda request: (400, {})) as hook:
        worker = work("--deliver", hook.url)
        wait_until(lambda: count(server, POOL) == 0 and count(server, DEAD) > 0, 30, "a dead letter")
        worker.stop()
    return worker


def redrive(server):
    server.boto().start_message_move_task(SourceArn=ARN)
    wait_until(lambda: count(server, DEAD) == 0, 30, "an empty dead-letter queue")
    return server.drain(POOL)


@pytest.mark.parametrize("room", [0, 30, 150])
def test_a_message_of_the_largest_size_is_dead_lettered_and_comes_back(server, work, room):
    body = "x" * (2**20 - room)
    server.send(POOL, "g", body)
    give_up(server, work)
    [message] = redrive(server)
    assert message["Body"] == body and message["Attributes"]["MessageGroupId"] == "g"


@pytest.mark.parametrize("own", [5, 8, 10])
def test_all_attributes_of_its_own_are_kept(server, work, own):
    attributes = {f"own{n}": str(n) for n in range(own)}
    server.send(POOL, "g", "body", attributes=attributes)
    give_up(server, work)
    server.boto().start_message_move_task(SourceArn=ARN)
    wait_until(lambda: count(server, DEAD) == 0, 30, "an empty dead-letter queue")
    [message] = server.drain(POOL)
    found = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert found == attributes
