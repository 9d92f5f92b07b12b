# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Queues through boto3: create, find, describe, tag, purge, delete."""

import json
import uuid

import pytest
from conftest import Queue, speaks_query
from errors import fails, invalid_value

GONE = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
FIFO = {"FifoQueue": "true"}


def test_create_answers_a_url_that_names_the_queue(sqs, name):
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes=FIFO)["QueueUrl"]
    assert url.endswith(f"/000000000000/{name}.fifo")
    assert sqs.get_queue_url(QueueName=name + ".fifo")["QueueUrl"] == url


def test_create_again_with_equal_or_no_attributes_answers_the_same_url(sqs, name):
    attributes = {**FIFO, "VisibilityTimeout": "45"}
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes=attributes)["QueueUrl"]
    assert sqs.create_queue(QueueName=name + ".fifo", Attributes=attributes)["QueueUrl"] == url
    assert sqs.create_queue(QueueName=name + ".fifo", Attributes=FIFO)["QueueUrl"] == url


def test_create_again_with_another_attribute_is_refused(sqs, name):
    sqs.create_queue(QueueName=name + ".fifo", Attributes={**FIFO, "VisibilityTimeout": "45"})
    with fails("QueueAlreadyExists", "QueueNameExists", text="VisibilityTimeout"):
        sqs.create_queue(QueueName=name + ".fifo", Attributes={**FIFO, "VisibilityTimeout": "46"})


def test_attribute_values_are_read_in_any_case(sqs, name):
    sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "True"})


@pytest.mark.parametrize("bad, attributes", [
    ("plain", FIFO), ("spa ce.fifo", FIFO), ("a" * 76 + ".fifo", FIFO), ("dots..fifo", FIFO), ("none.fifo", {})])
def test_create_refuses_a_name_or_a_missing_fifo_attribute(sqs, bad, attributes):
    with invalid_value():
        sqs.create_queue(QueueName=bad, Attributes=attributes)


@pytest.mark.parametrize("attribute, value", [
    ("VisibilityTimeout", "43201"), ("VisibilityTimeout", "-1"), ("VisibilityTimeout", "soon"),
    ("DelaySeconds", "901"), ("MessageRetentionPeriod", "59"), ("MessageRetentionPeriod", "1209601"),
    ("MaximumMessageSize", "1023"), ("MaximumMessageSize", "1048577"), ("ReceiveMessageWaitTimeSeconds", "21"),
    ("ContentBasedDeduplication", "maybe"), ("DeduplicationScope", "world"), ("FifoThroughputLimit", "perPlanet")])
def test_an_attribute_out_of_range_is_refused(sqs, fifo, name, attribute, value):
    with fails("InvalidAttributeValue"):
        sqs.create_queue(QueueName=name + "b.fifo", Attributes={**FIFO, attribute: value})
    with fails("InvalidAttributeValue"):
        sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={attribute: value})


def test_unknown_attributes_are_refused_by_size(sqs, fifo, name):
    with fails("InvalidAttributeName", text="(5 bytes)"):
        sqs.create_queue(QueueName=name + "b.fifo", Attributes={**FIFO, "Speed": "fast"})
    with fails("InvalidAttributeName", text="(5 bytes)"):
        sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"Speed": "fast"})
    with fails("InvalidAttributeName", text="(5 bytes)"):
        fifo.attributes("Speed")
    with fails("InvalidAttributeName"):
        sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"QueueArn": "arn"})


def test_the_kind_of_a_queue_cannot_be_changed(sqs, fifo):
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes=FIFO)
    with fails("InvalidAttributeValue"):
        sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"FifoQueue": "false"})


def test_all_attributes_have_their_defaults_as_texts(fifo, name):
    attributes = fifo.attributes()
    expected = {
        "FifoQueue": "true", "ContentBasedDeduplication": "false", "DelaySeconds": "0", "VisibilityTimeout": "30",
        "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0",
        "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0",
        "ApproximateNumberOfMessagesDelayed": "0", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
        "QueueArn": f"arn:aws:sqs:us-east-1:000000000000:{name}.fifo"}
    assert {key: attributes.get(key) for key in expected} == expected
    assert 1_600_000_000 < int(attributes["CreatedTimestamp"]) <= int(attributes["LastModifiedTimestamp"])
    assert "RedrivePolicy" not in attributes and "Policy" not in attributes


def test_set_attributes_are_shown_and_kept(sqs, fifo):
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"VisibilityTimeout": "7", "DelaySeconds": "3"})
    assert fifo.attributes("VisibilityTimeout", "DelaySeconds") == {"VisibilityTimeout": "7", "DelaySeconds": "3"}


def test_no_names_no_attributes(sqs, queue):
    assert "Attributes" not in sqs.get_queue_attributes(QueueUrl=queue)


def test_counts_tell_waiting_from_in_flight(fifo):
    fifo.send("a-1", "a-2", "b-1")
    assert fifo.receive(1) == ["a-1"]
    attributes = fifo.attributes()
    assert attributes["ApproximateNumberOfMessages"] == "2", "a message behind one in flight counts as waiting"
    assert attributes["ApproximateNumberOfMessagesNotVisible"] == "1"


def test_every_spelling_of_a_queue_url_finds_the_queue(sqs, server, name):
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes=FIFO)["QueueUrl"]
    Queue(sqs, url).send("a-1")
    for spelling in [name + ".fifo", f"https://queue.amazonaws.com/123456789012/{name}.fifo",
                     f"http://localhost:1/000000000000/{name}.fifo"]:
        body = {"QueueUrl": spelling, "AttributeNames": ["ApproximateNumberOfMessages"]}
        answer = server.action("GetQueueAttributes", body)
        assert answer.json()["Attributes"]["ApproximateNumberOfMessages"] == "1", spelling


def test_unknown_queues_are_told_as_such(sqs, server):
    absent = server.url + "/000000000000/absent.fifo"
    with fails(*GONE, text="The specified queue does not exist"):
        sqs.get_queue_url(QueueName="absent.fifo")
    for call in (sqs.purge_queue, sqs.delete_queue, sqs.list_queue_tags, sqs.receive_message):
        with fails(*GONE):
            call(QueueUrl=absent)
    with fails(*GONE):
        sqs.send_message(QueueUrl=absent, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1")


def test_list_finds_by_prefix_and_turns_pages(sqs, name):
    urls = [sqs.create_queue(QueueName=f"{name}-{i}.fifo", Attributes=FIFO)["QueueUrl"] for i in range(5)]
    assert sorted(sqs.list_queues(QueueNamePrefix=name)["QueueUrls"]) == sorted(urls)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=name + "-none")
    first = sqs.list_queues(QueueNamePrefix=name, MaxResults=2)
    assert len(first["QueueUrls"]) == 2
    pages = sqs.get_paginator("list_queues").paginate(
        QueueNamePrefix=name, PaginationConfig={"PageSize": 2})
    assert sorted(url for page in pages for url in page["QueueUrls"]) == sorted(urls)


def test_a_deleted_queue_is_gone_with_its_messages(sqs, name):
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes=FIFO)["QueueUrl"]
    Queue(sqs, url).send("a-1")
    sqs.delete_queue(QueueUrl=url)
    with fails(*GONE):
        sqs.receive_message(QueueUrl=url)
    assert "QueueUrls" not in sqs.list_queues(QueueNamePrefix=name)


def test_purge_takes_every_message_and_every_deduplication_id(sqs, fifo):
    for i in range(3):
        sqs.send_message(QueueUrl=fifo.url, MessageBody=str(i), MessageGroupId="g", MessageDeduplicationId=str(i))
    fifo.receive(1)
    sqs.purge_queue(QueueUrl=fifo.url)
    attributes = fifo.attributes()
    assert (attributes["ApproximateNumberOfMessages"], attributes["ApproximateNumberOfMessagesNotVisible"]) == ("0", "0")
    sqs.send_message(QueueUrl=fifo.url, MessageBody="again", MessageGroupId="g", MessageDeduplicationId="0")
    assert fifo.receive() == ["again"]


def test_a_second_purge_within_a_minute_is_refused(sqs, queue):
    sqs.purge_queue(QueueUrl=queue)
    with fails("AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress", status=403):
        sqs.purge_queue(QueueUrl=queue)


def test_tags_are_set_overwritten_and_removed(sqs, name):
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes=FIFO, tags={"team": "a"})["QueueUrl"]
    sqs.tag_queue(QueueUrl=url, Tags={"Team": "b", "team": "c"})
    assert sqs.list_queue_tags(QueueUrl=url)["Tags"] == {"team": "c", "Team": "b"}
    sqs.untag_queue(QueueUrl=url, TagKeys=["team", "Team", "absent"])
    assert "Tags" not in sqs.list_queue_tags(QueueUrl=url)


def test_redrive_policy_names_an_existing_fifo_queue(sqs, fifo, name):
    arn = "arn:aws:sqs:us-east-1:000000000000:" + name
    policy = {"deadLetterTargetArn": arn + "-dlq.fifo", "maxReceiveCount": "3"}
    with invalid_value():
        sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"RedrivePolicy": json.dumps(policy)})
    sqs.create_queue(QueueName=name + "-dlq.fifo", Attributes=FIFO)
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"RedrivePolicy": json.dumps(policy)})
    shown = json.loads(fifo.attributes("RedrivePolicy")["RedrivePolicy"])
    assert shown == {**policy, "maxReceiveCount": 3}
    dlq = sqs.get_queue_url(QueueName=name + "-dlq.fifo")["QueueUrl"]
    assert sqs.list_dead_letter_source_queues(QueueUrl=dlq)["queueUrls"] == [fifo.url]
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={"RedrivePolicy": ""})
    assert "RedrivePolicy" not in fifo.attributes()
    sources = sqs.list_dead_letter_source_queues(QueueUrl=dlq)
    # XML has no empty lists.
    assert sources.get("queueUrls", [] if speaks_query(sqs) else None) == []


def test_every_answer_carries_a_request_id_and_the_content_type(server):
    for answer in (server.action("ListQueues", {}), server.action("GetQueueUrl", {"QueueName": "absent.fifo"})):
        assert answer.headers["Content-Type"] == "application/x-amz-json-1.0"
        uuid.UUID(answer.headers["x-amzn-RequestId"])


def test_an_error_on_the_wire_has_both_its_names(server):
    answer = server.action("GetQueueUrl", {"QueueName": "absent.fifo"})
    assert answer.status_code == 400
    assert answer.headers["x-amzn-query-error"] == "AWS.SimpleQueueService.NonExistentQueue;Sender"
    assert answer.json() == {
        "__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "The specified queue does not exist."}


def test_an_unknown_action_is_an_error_of_the_protocol(server):
    answer = server.action("MakeCoffee", {})
    assert answer.status_code == 400
    assert "__type" in answer.json()


def test_a_queue_in_plain_files_does_not_say_that_it_is_encrypted(sqs, fifo, name):
    assert fifo.attributes("SqsManagedSseEnabled") == {"SqsManagedSseEnabled": "false"}
    assert not {"KmsMasterKeyId", "Policy"} & set(fifo.attributes())
    # What says how it is may be said, again too.
    sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={
        "SqsManagedSseEnabled": "false", "Policy": "", "KmsMasterKeyId": ""})
    sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true", "SqsManagedSseEnabled": "false"})
    assert fifo.attributes("SqsManagedSseEnabled") == {"SqsManagedSseEnabled": "false"}


@pytest.mark.parametrize("attribute, value", [
    ("SqsManagedSseEnabled", "true"), ("KmsMasterKeyId", "alias/key"),
    ("Policy", '{"Version": "2012-10-17", "Statement": []}')])
def test_what_plain_files_do_not_enforce_is_refused(sqs, fifo, name, attribute, value):
    with fails("InvalidAttributeValue"):
        sqs.set_queue_attributes(QueueUrl=fifo.url, Attributes={attribute: value})
    for queue in (name, name + "x"):
        with fails("InvalidAttributeValue"):
            sqs.create_queue(QueueName=queue + ".fifo", Attributes={"FifoQueue": "true", attribute: value})
    with fails("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"):
        sqs.get_queue_url(QueueName=name + "x.fifo")
    assert fifo.attributes("SqsManagedSseEnabled") == {"SqsManagedSseEnabled": "false"}
