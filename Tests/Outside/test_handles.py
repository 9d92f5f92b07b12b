# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Receipt handles over restarts: one from before a crash names no later delivery; a clean stop keeps them."""

import pytest
from botocore.exceptions import ClientError

FIFO = {"FifoQueue": "true", "VisibilityTimeout": "600"}


def start(servers):
    server = servers()
    sqs = server.boto()
    sqs.create_queue(QueueName="q.fifo", Attributes=FIFO)
    sqs.send_message(QueueUrl="q.fifo", MessageBody="x", MessageGroupId="g", MessageDeduplicationId="one")
    return server, sqs


def receive(sqs):
    return [message["ReceiptHandle"] for message in sqs.receive_message(QueueUrl="q.fifo").get("Messages", [])]


def in_flight(sqs):
    name = "ApproximateNumberOfMessagesNotVisible"
    return sqs.get_queue_attributes(QueueUrl="q.fifo", AttributeNames=[name])["Attributes"][name]


def test_a_handle_from_before_a_crash_deletes_nobody_elses_delivery(servers):
    server, sqs = start(servers)
    (before,) = receive(sqs)
    server.kill9()
    server = servers(port=server.port)
    (after,) = receive(sqs)
    assert after != before
    with pytest.raises(ClientError):
        sqs.delete_message(QueueUrl="q.fifo", ReceiptHandle=before)
    with pytest.raises(ClientError):
        sqs.change_message_visibility(QueueUrl="q.fifo", ReceiptHandle=before, VisibilityTimeout=0)
    assert in_flight(sqs) == "1", "the message is still its second receiver's"
    sqs.delete_message(QueueUrl="q.fifo", ReceiptHandle=after)
    assert in_flight(sqs) == "0"


def test_a_handle_from_before_a_clean_stop_works(servers):
    server, sqs = start(servers)
    (handle,) = receive(sqs)
    server.stop()
    server = servers(port=server.port)
    assert receive(sqs) == []
    sqs.change_message_visibility(QueueUrl="q.fifo", ReceiptHandle=handle, VisibilityTimeout=700)
    sqs.delete_message(QueueUrl="q.fifo", ReceiptHandle=handle)
    assert in_flight(sqs) == "0"
