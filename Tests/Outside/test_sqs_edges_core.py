# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Rules of the FIFO core at their edges, as boto3 sees them."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from conftest import Queue, wait_until


@pytest.mark.parametrize("action", ["create_queue", "get_queue_url"])
def test_an_empty_queue_name_is_an_invalid_value(sqs, action):
    more = {"Attributes": {"FifoQueue": "true"}} if action == "create_queue" else {}
    with pytest.raises(ClientError) as caught:
        getattr(sqs, action)(QueueName="", **more)
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValue"


@pytest.mark.parametrize("old, new", [("queue", "messageGroup"), ("messageGroup", "queue")])
def test_another_deduplication_scope_is_shown_at_once_and_duplicates_are_judged_by_the_old_one(sqs, name, old, new):
    url = sqs.create_queue(QueueName=name + ".fifo",
                           Attributes={"FifoQueue": "true", "DeduplicationScope": old})["QueueUrl"]

    def send(group, number):
        return sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId=group,
                                MessageDeduplicationId=number)["SequenceNumber"]

    before = send("g", "1")
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"DeduplicationScope": new})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["DeduplicationScope"])["Attributes"]
    assert shown == {"DeduplicationScope": new}
    assert send("g", "1") == before, "no message twice"
    assert (send("h", "1") == before) == (old == "queue")
    after = send("g", "2")
    assert send("g", "2") == after
    assert (send("h", "2") == after) == (old == "queue")


# What follows a message that is moved to the dead-letter queue


@pytest.fixture(params=["queue", "pool", "shard"])
def door(request, sqs, server, name):
    """A queue that gives up after one receive, by a door of its own: a queue of one shard, a pool of several, or one of
    a pool's shards by its own name; and its dead-letter queue."""
    shards = 1 if request.param == "queue" else 4
    answer = server.post("/v1/pools", json={"name": name + ".fifo", "shards": shards})
    assert answer.status_code == 201, answer.text
    give_up_after_one_receive(sqs, name)
    door = f"{name}-0000.fifo" if request.param == "shard" else name + ".fifo"
    return tuple(Queue(sqs, sqs.get_queue_url(QueueName=queue)["QueueUrl"]) for queue in (door, name + "-dlq.fifo"))


def give_up_after_one_receive(sqs, name):
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}-dlq.fifo"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 1})
    url = sqs.get_queue_url(QueueName=name + ".fifo")["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})


def spend(queue, *followers):
    """Sends a message, receives it as often as is allowed and ends its visibility; its followers are in its group."""
    group = next(f"g{n}" for n in range(1000) if lies_here(queue, f"g{n}"))
    queue.send(f"{group}-spent", *[f"{group}-{word}" for word in followers])
    assert queue.receive(1) == [f"{group}-spent"]
    queue.visibility(0, f"{group}-spent")
    return group


def lies_here(queue, group):
    """Whether the queue, if it is a shard by its own name, takes the group."""
    try:
        queue.send(f"{group}-probe")
    except ClientError:
        return False
    assert queue.receive(1) == [f"{group}-probe"]
    queue.delete(f"{group}-probe")
    return True


def test_who_moves_a_message_gets_its_follower_in_the_same_call(door):
    queue, dead = door
    group = spend(queue, "follower", "next")
    assert queue.receive(1) == [f"{group}-follower"]
    assert dead.receive() == [f"{group}-spent"]
    queue.delete(f"{group}-follower")
    assert queue.receive() == [f"{group}-next"]


def test_who_moves_several_messages_gets_their_follower_in_the_same_call(door):
    queue, dead = door
    group = spend(queue, "second")
    assert queue.receive(1, visibility=0) == [f"{group}-second"]
    queue.send(f"{group}-follower")
    assert queue.receive(10) == [f"{group}-follower"]
    assert dead.receive() == [f"{group}-spent", f"{group}-second"]


def test_a_repeated_attempt_gets_the_follower_again(door):
    queue, _ = door
    group = spend(queue, "follower", "next")
    for _ in range(2):
        assert queue.receive(1, ReceiveRequestAttemptId="attempt") == [f"{group}-follower"]


def test_a_receiver_that_waits_gets_the_follower_of_what_is_moved(door):
    queue, dead = door
    group = spend(queue, "follower")
    assert queue.receive(1, wait=20) == [f"{group}-follower"]
    assert dead.receive() == [f"{group}-spent"]


def test_receivers_that_waited_before_get_the_follower_once(door):
    queue, dead = door
    group = next(f"g{n}" for n in range(1000) if lies_here(queue, f"g{n}"))
    queue.send(f"{group}-spent", f"{group}-follower")
    assert queue.receive(1) == [f"{group}-spent"]
    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(Queue(queue.sqs, queue.url).receive, 1, wait=3) for _ in range(4)]
        queue.visibility(0, f"{group}-spent")
        got = [word for each in waiting for word in each.result()]
    assert got == [f"{group}-follower"]
    assert dead.receive() == [f"{group}-spent"]


def test_no_follower_passes_a_message_that_could_not_be_moved(servers, name):
    server = servers(pools=())
    server.post("/v1/pools", json={"name": name + ".fifo", "shards": 2})
    give_up_after_one_receive(server.boto(), name)
    server.stop()
    # A dead-letter queue that is gone, as a program without its rules would leave it.
    with sqlite3.connect(server.data / "control.sqlite") as control:
        for table, key in (("pools", "name"), ("shards", "pool"), ("tags", "pool")):
            control.execute(f"DELETE FROM {table} WHERE {key} = ?", (name + "-dlq.fifo",))
    control.close()
    server = servers(pools=())
    sqs = server.boto()
    queue = Queue(sqs, sqs.get_queue_url(QueueName=name + ".fifo")["QueueUrl"])
    group = spend(queue, "follower")
    assert queue.receive() == []
    wait_until(lambda: "did not take the message" in server.text(), what="the line of the failed move")
    sqs.set_queue_attributes(QueueUrl=queue.url, Attributes={"RedrivePolicy": ""})
    assert queue.receive(wait=20) == [f"{group}-spent", f"{group}-follower"]
