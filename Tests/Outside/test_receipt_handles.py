# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Nobody computes a receipt handle: what senders and other receivers know of a message deletes nothing."""

import uuid

import pytest
from botocore.exceptions import ClientError

QUEUE = "q.fifo"
FIFO = {"FifoQueue": "true", "VisibilityTimeout": "600"}
MASK = (1 << 64) - 1
ACTIONS = ("delete", "batch", "visibility", "visibility batch")


def mix(before, word):
    mixed = ((before ^ word) * 0xBF58476D1CE4E5B9) & MASK
    mixed = ((mixed ^ (mixed >> 32)) * 0x94D049BB133111EB) & MASK
    return mixed ^ (mixed >> 29)


def checksum(tag, sequence, count, place, incarnation):
    """The check word of handles of 64 digits: it needs no secret."""
    mixed = 0x9E3779B97F4A7C15
    for word in (tag, sequence, count << 32 | place, incarnation):
        mixed = mix(mixed, word)
    return mixed >> 32


def parts_of_id(message_id):
    """The shard's tag and the sequence number, as they stand in the id that a sender is given."""
    number = uuid.UUID(message_id).int
    high, low = number >> 64, number & MASK
    return (high >> 16) << 12 | high & 0xFFF, low & 0x3FFFFFFFFFFFFFFF


def start(servers):
    server = servers()
    sqs = server.boto()
    sqs.create_queue(QueueName=QUEUE, Attributes=FIFO)
    return server, sqs


def send(sqs, group):
    sent = sqs.send_message(QueueUrl=QUEUE, MessageBody="x", MessageGroupId=group, MessageDeduplicationId=group)
    return sent["MessageId"]


def receive(sqs):
    (message,) = sqs.receive_message(QueueUrl=QUEUE, MaxNumberOfMessages=1)["Messages"]
    return message["MessageId"], message["ReceiptHandle"]


def counts(sqs):
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=QUEUE, AttributeNames=names)["Attributes"]
    return tuple(int(found[name]) for name in names)


def refusal(sqs, action, handle):
    """The code with which the handle is refused; None if it is taken."""
    entry = {"Id": "a", "ReceiptHandle": handle}
    try:
        if action == "delete":
            sqs.delete_message(QueueUrl=QUEUE, ReceiptHandle=handle)
            return None
        if action == "visibility":
            sqs.change_message_visibility(QueueUrl=QUEUE, ReceiptHandle=handle, VisibilityTimeout=0)
            return None
        if action == "batch":
            answer = sqs.delete_message_batch(QueueUrl=QUEUE, Entries=[entry])
        else:
            answer = sqs.change_message_visibility_batch(QueueUrl=QUEUE, Entries=[{**entry, "VisibilityTimeout": 0}])
        failed = answer.get("Failed", [])
        return failed[0]["Code"] if failed else None
    except ClientError as error:
        return error.response["Error"]["Code"]


def two_in_flight(servers):
    """Two receivers with a message each: the handle of mine, and the id and the handle of the other one's."""
    _, sqs = start(servers)
    ids = {send(sqs, "mine"), send(sqs, "theirs")}
    (_, mine), (their_id, theirs) = receive(sqs), receive(sqs)
    assert their_id in ids and counts(sqs) == (0, 2)
    return sqs, mine, their_id, theirs


@pytest.mark.parametrize("action", ACTIONS)
def test_a_handle_computed_from_an_id_and_another_handle_does_nothing(servers, action):
    sqs, mine, their_id, theirs = two_in_flight(servers)
    tag, sequence = parts_of_id(their_id)
    assert int(mine[:16], 16) == tag
    incarnation = int(mine[48:56], 16)
    body = f"{tag:016x}{sequence:016x}{1:08x}{0:08x}{incarnation:08x}"
    word = checksum(tag, sequence, 1, 0, incarnation)
    for tail, code in [
        (f"{word:08x}", "InvalidParameterValue"),
        (f"{word:016x}", "ReceiptHandleIsInvalid"),
        (f"{word:08x}" * 2, "ReceiptHandleIsInvalid"),
        ("0" * 16, "ReceiptHandleIsInvalid"),
        (mine[56:], "ReceiptHandleIsInvalid"),
    ]:
        assert refusal(sqs, action, body + tail) == code, tail
        assert counts(sqs) == (0, 2), "both are still in their receivers' hands"
    assert refusal(sqs, action, theirs) is None
    assert counts(sqs) == ((0, 1) if "visibility" not in action else (1, 1))


def test_a_handle_altered_in_any_digit_does_nothing(servers):
    sqs, mine, _, theirs = two_in_flight(servers)
    assert len(mine) == len(theirs) == 72
    for position, digit in enumerate(theirs):
        other = "1" if digit == "0" else "0"
        altered = theirs[:position] + other + theirs[position + 1:]
        assert refusal(sqs, ACTIONS[position % 4], altered) == "ReceiptHandleIsInvalid", position
    assert counts(sqs) == (0, 2)
    for handle in (theirs, mine):
        assert refusal(sqs, "delete", handle) is None
    assert counts(sqs) == (0, 0)


def test_a_made_up_handle_does_not_tell_whether_its_message_was_deleted(servers):
    sqs, mine, their_id, theirs = two_in_flight(servers)
    sqs.delete_message(QueueUrl=QUEUE, ReceiptHandle=theirs)
    altered = theirs[:-1] + ("1" if theirs[-1] == "0" else "0")
    for action in ACTIONS:
        assert refusal(sqs, action, altered) == "ReceiptHandleIsInvalid"
        assert refusal(sqs, action, theirs[:64]) == "InvalidParameterValue"
    assert refusal(sqs, "delete", theirs) is None, "a delete may be repeated"


def test_handles_survive_a_clean_stop_and_name_no_other_message_then(servers):
    server, sqs = start(servers)
    ids = {send(sqs, "a"), send(sqs, "b")}
    held = dict([receive(sqs), receive(sqs)])
    assert set(held) == ids
    server.stop()
    server = servers(port=server.port)
    first, second = held.values()
    assert refusal(sqs, "delete", second[:56] + first[56:]) == "ReceiptHandleIsInvalid"
    assert counts(sqs) == (0, 2)
    for handle in held.values():
        assert refusal(sqs, "delete", handle) is None
    assert counts(sqs) == (0, 0)
