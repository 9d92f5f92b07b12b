# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Rules of the FIFO core at their edges, as boto3 sees them."""

import pytest
from botocore.exceptions import ClientError


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
