# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""FIFO through boto3: order, turns of groups, what blocks a group, deduplication, dead letters. The stories are those
recorded against SQS itself."""

import hashlib
import json

import pytest
from conftest import Queue, wait_until
from errors import fails, invalid_value

FIFO = {"FifoQueue": "true"}


# Order and turns


def test_one_receive_takes_as_many_of_a_group_as_it_can(fifo):
    fifo.send("g1-m1", "g2-m1", "g1-m2", "g1-m3")
    assert fifo.receive(10) == ["g1-m1", "g1-m2", "g1-m3", "g2-m1"]


def test_groups_take_turns(fifo):
    fifo.send("g1-m1", "g2-m1", "g2-m2", "g3-m1", "g1-m2")
    assert fifo.receive(3, visibility=0) == ["g1-m1", "g1-m2", "g2-m1"]
    assert fifo.receive(10) == ["g3-m1", "g1-m1", "g1-m2", "g2-m1", "g2-m2"]


def test_two_receivers_hold_different_groups(fifo):
    fifo.send("g1-m1", "g2-m1", "g1-m2")
    assert fifo.receive(1) == ["g1-m1"]
    assert fifo.receive(10) == ["g2-m1"]


# What blocks a group


def test_a_group_waits_for_all_that_is_in_flight(fifo):
    fifo.send("g-m1", "g-m2", "g-m3")
    assert fifo.receive(2) == ["g-m1", "g-m2"]
    assert fifo.receive() == []
    fifo.delete("g-m1")
    assert fifo.receive() == []
    fifo.delete("g-m2")
    assert fifo.receive() == ["g-m3"]


@pytest.mark.parametrize("extended, delivered", [("g-m1", []), ("g-m2", ["g-m1"]), ("g-m3", ["g-m1", "g-m2"])])
def test_delivery_stops_at_the_first_message_in_flight(fifo, extended, delivered):
    words = ["g-m1", "g-m2", "g-m3"]
    fifo.send(*words)
    assert fifo.receive() == words
    fifo.visibility(0, *[word for word in reversed(words) if word != extended])
    assert fifo.receive() == delivered


def test_a_message_given_back_is_delivered_while_its_follower_is_held(fifo):
    fifo.send("g-m1", "g-m2")
    fifo.receive()
    fifo.visibility(0, "g-m1")
    assert fifo.receive() == ["g-m1"]


def test_new_messages_of_a_held_group_wait(fifo):
    fifo.send("g-m1")
    fifo.receive()
    fifo.send("g-m2")
    assert fifo.receive() == []
    fifo.delete("g-m1")
    assert fifo.receive() == ["g-m2"]


def test_a_group_that_ran_empty_works_again(fifo):
    for word in ("g-m1", "g-m2"):
        fifo.send(word)
        assert fifo.receive() == [word]
        fifo.delete(word)


def test_a_queue_delays_its_messages(sqs, fifo):
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"DelaySeconds": "2"})
    fifo.send("g-m1", DelaySeconds=0)
    assert fifo.receive() == []
    assert fifo.attributes()["ApproximateNumberOfMessagesDelayed"] == "1"
    assert fifo.receive(wait=20) == ["g-m1"]


# Deduplication


def send(sqs, url, body, id=None, group="g"):
    return sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group,
                            **({"MessageDeduplicationId": id} if id else {}))


def test_a_known_id_is_answered_with_the_first_message(sqs, fifo):
    first = send(sqs, fifo.url, "one", "id")
    again = send(sqs, fifo.url, "two", "id")
    assert again["MessageId"] == first["MessageId"]
    assert again["MD5OfMessageBody"] == hashlib.md5(b"two").hexdigest(), "or the SDK would refuse the answer"
    assert fifo.receive() == ["one"]
    fifo.delete("one")
    assert send(sqs, fifo.url, "three", "id")["MessageId"] == first["MessageId"], "a delete does not free the id"
    assert fifo.receive() == []


def test_scope_queue_knows_an_id_whatever_the_group(sqs, fifo):
    send(sqs, fifo.url, "one", "id", "g1")
    send(sqs, fifo.url, "two", "id", "g2")
    assert fifo.receive() == ["one"]


def test_scope_message_group_knows_an_id_by_group(sqs, name):
    url = sqs.create_queue(
        QueueName=name + ".fifo", Attributes={**FIFO, "DeduplicationScope": "messageGroup"})["QueueUrl"]
    fifo = Queue(sqs, url)
    for body, group in (("one", "g1"), ("two", "g2"), ("three", "g1")):
        send(sqs, url, body, "id", group)
    assert fifo.receive() == ["one", "two"]


def test_high_throughput_needs_scope_message_group(sqs, name):
    limit = {**FIFO, "FifoThroughputLimit": "perMessageGroupId"}
    with pytest.raises(sqs.exceptions.ClientError):
        sqs.create_queue(QueueName=name + ".fifo", Attributes=limit)
    sqs.create_queue(QueueName=name + ".fifo", Attributes={**limit, "DeduplicationScope": "messageGroup"})


def test_content_based_ids_are_the_sha256_of_the_body(sqs, name):
    url = sqs.create_queue(
        QueueName=name + ".fifo", Attributes={**FIFO, "ContentBasedDeduplication": "true"})["QueueUrl"]
    digest = hashlib.sha256(b"body").hexdigest()
    first = send(sqs, url, "body")
    assert send(sqs, url, "body")["MessageId"] == first["MessageId"]
    assert send(sqs, url, "other", digest)["MessageId"] == first["MessageId"], "an explicit id equal to the hash"
    assert send(sqs, url, "body", "explicit")["MessageId"] != first["MessageId"], "an explicit id wins"
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"])["Messages"]
    assert [m["Attributes"]["MessageDeduplicationId"] for m in got] == [digest, "explicit"]


def test_an_id_repeated_within_a_batch_is_one_message(sqs, fifo):
    entries = [{"Id": str(i), "MessageBody": f"b{i}", "MessageGroupId": "g", "MessageDeduplicationId": "same"}
               for i in range(3)]
    answer = sqs.send_message_batch(QueueUrl=fifo.url, Entries=entries)
    assert len({e["MessageId"] for e in answer["Successful"]}) == 1
    assert fifo.receive() == ["b0"]


# Dead letters


@pytest.fixture
def with_dlq(sqs, fifo, name):
    """A queue that gives up after two receives, and its dead-letter queue."""
    dlq = sqs.create_queue(QueueName=name + "-dead.fifo", Attributes=FIFO)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:000000000000:{name}-dead.fifo"
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"RedrivePolicy": policy})
    return fifo, Queue(sqs, dlq), arn


def dead(sqs, queue, visibility=0):
    return sqs.receive_message(
        QueueUrl=queue.url, MaxNumberOfMessages=10, WaitTimeSeconds=5, VisibilityTimeout=visibility,
        MessageSystemAttributeNames=["All"], MessageAttributeNames=["All"]).get("Messages", [])


def test_a_message_that_is_not_deleted_becomes_a_dead_letter(sqs, with_dlq, name):
    source, dlq, _ = with_dlq
    sent = sqs.send_message(
        QueueUrl=source.url, MessageBody="poison", MessageGroupId="g", MessageDeduplicationId="id",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "bad"}})
    source.send("g-follower")
    assert source.receive(1, visibility=0) == ["poison"]
    assert source.receive(1, visibility=0) == ["poison"]
    assert source.receive(1, wait=5) == ["g-follower"], "the group goes on"
    message = dead(sqs, dlq)[0]
    assert (message["MessageId"], message["Body"]) == (sent["MessageId"], "poison")
    assert message["MessageAttributes"]["kind"]["StringValue"] == "bad"
    attributes = message["Attributes"]
    assert attributes["MessageGroupId"] == "g"
    assert attributes["ApproximateReceiveCount"] == "3", "the count goes on"
    assert attributes["MessageDeduplicationId"] == sent["MessageId"]
    assert attributes["DeadLetterQueueSourceArn"] == f"arn:aws:sqs:us-east-1:000000000000:{name}.fifo"


def test_dead_letters_go_back_to_their_source(sqs, with_dlq):
    source, dlq, arn = with_dlq
    source.send("a-1", "b-1", "c-1")
    for _ in range(2):
        source.receive(10, visibility=0)
    assert source.receive(10) == []
    wait_until(lambda: dlq.attributes()["ApproximateNumberOfMessages"] == "3", what="three dead letters")
    ids = {m["Body"]: m["MessageId"] for m in dead(sqs, dlq)}
    handle = sqs.start_message_move_task(SourceArn=arn)["TaskHandle"]
    assert handle
    task = wait_until(lambda: [t for t in sqs.list_message_move_tasks(SourceArn=arn)["Results"]
                               if t["Status"] == "COMPLETED"], what="the end of the move")[0]
    assert task["ApproximateNumberOfMessagesMoved"] == 3
    assert task["SourceArn"] == arn and "DestinationArn" not in task
    got = dead(sqs, source)
    assert [m["Body"] for m in got] == ["a-1", "b-1", "c-1"]
    assert all(m["MessageId"] != ids[m["Body"]] for m in got), "a moved message has a new id"
    assert dlq.attributes()["ApproximateNumberOfMessages"] == "0"


def test_dead_letters_may_go_to_another_queue(sqs, with_dlq, name):
    source, dlq, arn = with_dlq
    other = sqs.create_queue(QueueName=name + "-other.fifo", Attributes=FIFO)["QueueUrl"]
    dlq.send("a-1", "a-2")
    destination = f"arn:aws:sqs:us-east-1:000000000000:{name}-other.fifo"
    sqs.start_message_move_task(SourceArn=arn, DestinationArn=destination)
    wait_until(lambda: Queue(sqs, other).receive(10, visibility=0) == ["a-1", "a-2"])
    assert sqs.list_message_move_tasks(SourceArn=arn)["Results"][0]["DestinationArn"] == destination


def test_moves_need_a_dead_letter_queue(sqs, fifo, name):
    plain = f"arn:aws:sqs:us-east-1:000000000000:{name}.fifo"
    with invalid_value("Source queue must be configured as a Dead Letter Queue."):
        sqs.start_message_move_task(SourceArn=plain)
    with fails("ResourceNotFoundException", status=404):
        sqs.start_message_move_task(SourceArn=plain.replace(name, "absent"))
    with invalid_value():
        sqs.cancel_message_move_task(TaskHandle="garbage")
