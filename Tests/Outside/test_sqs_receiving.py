# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Receives and deletes through boto3: what a message shows, long polls, handles, visibility, replayed receives."""

import threading
import time

import pytest
from conftest import wait_until
from errors import fails, invalid_value


def text(value):
    return {"DataType": "String", "StringValue": value}


def background(call):
    """Runs a call beside the test; returns a function that waits for its answer."""
    result = {}
    thread = threading.Thread(target=lambda: result.update(value=call()), daemon=True)
    thread.start()

    def answer(seconds=30):
        thread.join(seconds)
        assert not thread.is_alive(), "the call did not return"
        return result["value"]

    return answer


def waiting_receives(server):
    lines = [line for line in server.get("/metrics").text.splitlines() if line.startswith("queuepool_waiting_receives{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def test_a_message_shows_only_what_was_asked_for(sqs, fifo):
    fifo.send("g-1", MessageAttributes={"a": text("1"), "b": text("2"), "foo.x": text("3")})

    def look(**asked):
        return sqs.receive_message(QueueUrl=fifo.url, VisibilityTimeout=0, **asked)["Messages"][0]

    plain = look()
    assert set(plain) == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}
    assert set(look(MessageAttributeNames=["a", "none"])["MessageAttributes"]) == {"a"}
    assert set(look(MessageAttributeNames=["foo.*"])["MessageAttributes"]) == {"foo.x"}
    for every in ("All", ".*", "*"):
        assert set(look(MessageAttributeNames=[every])["MessageAttributes"]) == {"a", "b", "foo.x"}
    assert "MD5OfMessageAttributes" not in look(MessageAttributeNames=["none"])
    one = look(MessageAttributeNames=["a"])["MD5OfMessageAttributes"]
    assert one != look(MessageAttributeNames=["All"])["MD5OfMessageAttributes"], "the MD5 is that of what is shown"
    assert set(look(MessageSystemAttributeNames=["SentTimestamp"])["Attributes"]) == {"SentTimestamp"}
    assert set(look(AttributeNames=["SequenceNumber"])["Attributes"]) == {"SequenceNumber"}


def test_system_attributes(sqs, fifo):
    before = int(time.time() * 1000) - 1000
    sent = sqs.send_message(QueueUrl=fifo.url, MessageBody="x", MessageGroupId="group", MessageDeduplicationId="id",
                            MessageSystemAttributes={"AWSTraceHeader": text("Root=1-2-3")})
    for count in ("1", "2"):
        message = sqs.receive_message(
            QueueUrl=fifo.url, VisibilityTimeout=0, MessageSystemAttributeNames=["All"])["Messages"][0]
        attributes = message["Attributes"]
        assert attributes["ApproximateReceiveCount"] == count
    assert attributes["MessageGroupId"] == "group"
    assert attributes["MessageDeduplicationId"] == "id"
    assert attributes["SequenceNumber"] == sent["SequenceNumber"]
    assert attributes["AWSTraceHeader"] == "Root=1-2-3"
    assert attributes["SenderId"]
    assert before <= int(attributes["SentTimestamp"]) <= int(attributes["ApproximateFirstReceiveTimestamp"])
    assert message["MessageId"] == sent["MessageId"]


@pytest.mark.parametrize("options, text", [
    ({"MaxNumberOfMessages": 11}, "Must be between 1 and 10"), ({"MaxNumberOfMessages": 0}, "between 1 and 10"),
    ({"WaitTimeSeconds": 21}, "Must be >= 0 and <= 20"), ({"VisibilityTimeout": 43_201}, "VisibilityTimeout")])
def test_numbers_out_of_range_are_refused(sqs, queue, options, text):
    with invalid_value(text):
        sqs.receive_message(QueueUrl=queue, **options)


def test_an_empty_answer_has_no_messages_member(server, queue):
    assert server.action("ReceiveMessage", {"QueueUrl": queue}).json() == {}


def test_a_long_poll_is_answered_when_a_message_comes(server, sqs, fifo):
    answer = background(lambda: sqs.receive_message(QueueUrl=fifo.url, WaitTimeSeconds=20, MaxNumberOfMessages=10))
    wait_until(lambda: waiting_receives(server) > 0, what="a waiting receive")
    start = time.monotonic()
    fifo.send("g-1")
    assert [m["Body"] for m in answer()["Messages"]] == ["g-1"]
    assert time.monotonic() - start < 10


def test_a_long_poll_is_answered_when_a_visibility_timeout_ends(server, sqs, fifo):
    fifo.send("g-1")
    fifo.receive(visibility=1)
    start = time.monotonic()
    assert fifo.receive(wait=20) == ["g-1"]
    assert time.monotonic() - start < 10


def test_a_long_poll_is_answered_when_a_group_is_free_again(server, sqs, fifo):
    fifo.send("g-1", "g-2")
    fifo.receive(1)
    answer = background(lambda: fifo.receive(wait=20))
    wait_until(lambda: waiting_receives(server) > 0, what="a waiting receive")
    fifo.delete("g-1")
    assert answer() == ["g-2"]


def test_a_long_poll_is_answered_when_a_message_is_given_back(server, sqs, fifo):
    fifo.send("g-1")
    fifo.receive()
    answer = background(lambda: fifo.receive(wait=20))
    wait_until(lambda: waiting_receives(server) > 0, what="a waiting receive")
    fifo.visibility(0, "g-1")
    assert answer() == ["g-1"]


def test_the_queue_may_say_how_long_a_receive_waits(server, sqs, fifo):
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"ReceiveMessageWaitTimeSeconds": "20"})
    answer = background(lambda: sqs.receive_message(QueueUrl=fifo.url))
    wait_until(lambda: waiting_receives(server) > 0, what="a waiting receive")
    assert fifo.receive(wait=0) == [], "an explicit 0 is a short poll"
    fifo.send("g-1")
    assert answer()["Messages"][0]["Body"] == "g-1"


# Handles


def test_deleting_twice_succeeds(fifo):
    fifo.send("g-1")
    fifo.receive()
    fifo.delete("g-1", "g-1")
    assert fifo.receive() == []


def test_handles_that_are_none_are_refused(sqs, fifo, name):
    for handle in ("garbage", "x" * 500, "AAAA"):
        with fails("ReceiptHandleIsInvalid"):
            sqs.delete_message(QueueUrl=fifo.url, ReceiptHandle=handle)
        with fails("ReceiptHandleIsInvalid"):
            sqs.change_message_visibility(QueueUrl=fifo.url, ReceiptHandle=handle, VisibilityTimeout=1)
    fifo.send("g-1")
    fifo.receive()
    other = sqs.create_queue(QueueName=name + "-other.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    with fails("ReceiptHandleIsInvalid"):
        sqs.delete_message(QueueUrl=other, ReceiptHandle=fifo.handles["g-1"])


def test_a_handle_ends_with_its_visibility(sqs, fifo):
    fifo.send("g-1")
    fifo.receive(visibility=0)
    with invalid_value("The receipt handle has expired"):
        fifo.delete("g-1")
    assert fifo.receive() == ["g-1"]


def test_a_handle_lives_as_long_as_its_visibility_is_extended(sqs, fifo):
    fifo.send("g-1")
    fifo.receive(visibility=1)
    fifo.visibility(60, "g-1")
    time.sleep(1.1)  # the first timeout would have passed: this is what is tested
    assert fifo.receive() == []
    fifo.delete("g-1")


def test_each_receive_gives_a_new_handle(fifo):
    fifo.send("g-1")
    fifo.receive(visibility=0)
    old = fifo.handles["g-1"]
    fifo.receive()
    assert fifo.handles["g-1"] != old
    fifo.delete("g-1")


def test_visibility_of_a_deleted_message_cannot_be_changed(sqs, fifo):
    fifo.send("g-1")
    fifo.receive()
    fifo.delete("g-1")
    with invalid_value("does not exist or is not available for visibility timeout change"):
        fifo.visibility(10, "g-1")


@pytest.mark.parametrize("seconds", [-1, 43_201])
def test_visibility_is_at_most_12_hours(fifo, seconds):
    fifo.send("g-1")
    fifo.receive()
    with invalid_value():
        fifo.visibility(seconds, "g-1")


def test_batches_of_deletes_and_changes_answer_by_entry(sqs, fifo):
    fifo.send("a-1", "b-1", "c-1")
    fifo.receive()
    changed = sqs.change_message_visibility_batch(QueueUrl=fifo.url, Entries=[
        {"Id": "a", "ReceiptHandle": fifo.handles["a-1"], "VisibilityTimeout": 0},
        {"Id": "bad", "ReceiptHandle": "garbage", "VisibilityTimeout": 0}])
    assert [e["Id"] for e in changed["Successful"]] == ["a"]
    assert [(e["Id"], e["Code"], e["SenderFault"]) for e in changed["Failed"]] == [
        ("bad", "ReceiptHandleIsInvalid", True)]
    deleted = sqs.delete_message_batch(QueueUrl=fifo.url, Entries=[
        {"Id": "b", "ReceiptHandle": fifo.handles["b-1"]}, {"Id": "bad", "ReceiptHandle": "garbage"},
        {"Id": "c", "ReceiptHandle": fifo.handles["c-1"]}])
    assert [e["Id"] for e in deleted["Successful"]] == ["b", "c"]
    assert [e["Code"] for e in deleted["Failed"]] == ["ReceiptHandleIsInvalid"]
    assert fifo.receive() == ["a-1"]
    for call, more in ((sqs.delete_message_batch, {}), (sqs.change_message_visibility_batch, {"VisibilityTimeout": 1})):
        with fails("AWS.SimpleQueueService.EmptyBatchRequest", "EmptyBatchRequest"):
            call(QueueUrl=fifo.url, Entries=[])
        one = {"Id": "x", "ReceiptHandle": fifo.handles["a-1"], **more}
        with fails("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct"):
            call(QueueUrl=fifo.url, Entries=[one, one])


# Replayed receives


def test_a_repeated_receive_gives_the_same_messages_and_handles(fifo):
    fifo.send("a-1", "a-2", "b-1")
    assert fifo.receive(2, ReceiveRequestAttemptId="try1") == ["a-1", "a-2"]
    handles = dict(fifo.handles)
    assert fifo.receive(2, ReceiveRequestAttemptId="try1") == ["a-1", "a-2"]
    assert fifo.handles == handles
    assert fifo.receive(2, ReceiveRequestAttemptId="try2") == ["b-1"]


def test_a_receive_is_not_repeated_once_a_message_was_deleted(fifo):
    fifo.send("a-1", "a-2")
    assert fifo.receive(2, ReceiveRequestAttemptId="try1") == ["a-1", "a-2"]
    fifo.delete("a-1")
    assert fifo.receive(2, ReceiveRequestAttemptId="try1") == []
