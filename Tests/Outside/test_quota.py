# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The quota of a shard: requests per second and API action, a batch being one."""

import time

import pytest
from botocore.exceptions import ClientError
from conftest import Queue
from errors import assert_problem


@pytest.fixture(scope="module")
def limited(tmp_path_factory):
    from conftest import Server
    server = Server(tmp_path_factory.mktemp("quota"), "--quota", "20", pools=("one.fifo=1", "four.fifo=4"))
    yield server
    server.stop()


def throttled(call, tries=400):
    """Calls until it is throttled; how often it went through, and the error."""
    for count in range(tries):
        try:
            call(count)
        except ClientError as error:
            return count, error
    raise AssertionError(f"{tries} requests went through")


def test_requests_over_the_quota_are_throttled(limited):
    sqs = limited.boto()
    count, error = throttled(lambda i: sqs.receive_message(QueueUrl="one.fifo", MaxNumberOfMessages=1))
    assert error.response["Error"]["Code"] == "RequestThrottled"
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)
    assert count <= 200


def test_actions_have_quotas_of_their_own(limited):
    sqs = limited.boto()
    throttled(lambda i: sqs.receive_message(QueueUrl="one.fifo"))
    limited.send("one.fifo", "g", "x")


def test_a_batch_counts_as_one_request(limited):
    """40 entries a second fit into 20 requests only as batches; a batcher makes batches of what waits."""
    sqs, start = limited.boto(), time.monotonic()
    for batch in range(8):
        answer = sqs.send_message_batch(QueueUrl="one.fifo", Entries=[
            {"Id": str(i), "MessageBody": "x", "MessageGroupId": f"g{i}", "MessageDeduplicationId": f"{batch}/{i}"}
            for i in range(10)])
        assert "Failed" not in answer, answer["Failed"]
    assert time.monotonic() - start < 20
    limited.post("/v1/pools/one.fifo/purge")


def test_a_sender_waits_or_is_told_when_to_come_back(limited):
    accepted = 0
    for i in range(100):
        answer = limited.post("/v1/pools/one.fifo/messages", json={"group": "g", "body": str(i)})
        if answer.status_code == 202:
            accepted += 1
        else:
            assert_problem(answer, 429)
    assert accepted >= 20
    bodies = [int(m["Body"]) for m in drain_slowly(limited, "one.fifo")]
    assert bodies == sorted(bodies) and len(bodies) == accepted


def drain_slowly(server, queue):
    """Drains under the quota: a throttled request is repeated, as SDKs do."""
    sqs, messages = Queue(server.boto(), queue), []
    while server.pool(queue)["backlog"] + server.pool(queue)["inFlight"]:
        try:
            got = sqs.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
            messages += got
            for message in got:
                while True:
                    try:
                        sqs.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
                        break
                    except ClientError:
                        time.sleep(0.05)  # the token bucket fills with time only
        except ClientError:
            time.sleep(0.05)
    return messages


def test_a_pool_of_four_shards_takes_more_than_one_shard(limited):
    shown = limited.pool("four.fifo")
    assert shown["quota"] == 20
    start, sent = time.monotonic(), 0
    lines = "".join(f'{{"group":"g{i}","body":"x"}}\n' for i in range(2_000))
    answer = limited.post("/v1/pools/four.fifo/messages", data=lines, headers={"Content-Type": "application/x-ndjson"})
    sent = answer.text.count('"id"')
    seconds = time.monotonic() - start
    assert sent == 2_000, answer.text[-300:]
    assert sent / seconds > 20 * 10, "more than one shard's quota went through"


def test_one_throttled_shard_delays_no_other(limited):
    shards = {}
    for i in range(64):
        answer = limited.post("/v1/pools/four.fifo/messages", json={"group": f"iso-{i}", "body": "x"})
        if answer.status_code == 202:
            shards.setdefault(answer.json()["shard"], f"iso-{i}")
    names = sorted(shards)
    sqs = limited.boto()
    throttled(lambda i: sqs.receive_message(QueueUrl=names[0]))
    assert "Messages" in sqs.receive_message(QueueUrl=names[1]), "another shard has its own quota"


def test_a_send_over_the_quota_is_told_which_shard(limited):
    sqs = limited.boto()
    _, error = throttled(lambda i: sqs.send_message(
        QueueUrl="one.fifo", MessageBody="x", MessageGroupId="which", MessageDeduplicationId=f"which-{i}"))
    answer = error.response
    assert answer["Error"]["Code"] == "RequestThrottled"
    assert "The shard one-0000.fifo is over its quota of 20 requests a second." in answer["Error"]["Message"]
    assert answer["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
