# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The quota of a shard: requests per second and API action, a batch being one."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
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


def sends(queue):
    return lambda sqs, i: sqs.send_message(
        QueueUrl=queue, MessageBody="x", MessageGroupId="which", MessageDeduplicationId=f"which-{queue}-{i}")


def send_batches(sqs, i):
    sqs.send_message_batch(QueueUrl="one.fifo", Entries=[
        {"Id": "a", "MessageBody": "x", "MessageGroupId": "which", "MessageDeduplicationId": f"which-batch-{i}"}])


def handle(server, queue):
    """A receipt handle of the queue's."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        server.boto().send_message(
            QueueUrl=queue, MessageBody="x", MessageGroupId="handle", MessageDeduplicationId=str(time.monotonic()))
        try:
            got = server.boto().receive_message(QueueUrl=queue, VisibilityTimeout=0).get("Messages")
        except ClientError:
            got = None
            time.sleep(0.1)  # the token bucket fills with time only
        if got:
            return got[0]["ReceiptHandle"]
    raise AssertionError("nothing was received")


@pytest.mark.parametrize("action", ["send", "send batch", "receive", "delete", "change visibility"])
def test_whoever_is_over_the_quota_is_told_which_shard_and_what_its_quota_is(limited, action):
    """Over SQS a pool of one shard refuses at once, so each action can be brought there."""
    sqs = limited.boto()
    if action == "send":
        _, error = throttled(lambda i: sends("one.fifo")(sqs, i))
    elif action == "send batch":
        _, error = throttled(lambda i: send_batches(sqs, i))
    elif action == "receive":
        _, error = throttled(lambda i: sqs.receive_message(QueueUrl="one.fifo", VisibilityTimeout=0))
    else:
        receipt = handle(limited, "one.fifo")
        if action == "delete":
            _, error = throttled(lambda i: unless_gone(lambda: sqs.delete_message(
                QueueUrl="one.fifo", ReceiptHandle=receipt)))
        else:
            _, error = throttled(lambda i: unless_gone(lambda: sqs.change_message_visibility(
                QueueUrl="one.fifo", ReceiptHandle=receipt, VisibilityTimeout=0)))
    assert_names_shard(error.response, "one-0000.fifo", 20)


def unless_gone(call):
    """What concerns a message that is not in flight any more is refused, and counts as a request all the same."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] == "RequestThrottled":
            raise


def assert_names_shard(answer, shard, quota):
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    assert answer["Error"]["Code"] == "RequestThrottled"
    assert f"The shard {shard} is over its quota of {quota} requests a second." in answer["Error"]["Message"]
    assert headers["retry-after"] == "1"
    assert headers["ratelimit-policy"] == f'"{shard}";q={quota};w=1'
    assert headers["ratelimit"] == f'"{shard}";r=0;t=1'


def test_the_query_protocol_tells_it_too(limited):
    url = limited.url + "/?Action=ReceiveMessage&QueueUrl=one.fifo&VisibilityTimeout=0"
    for _ in range(400):
        answer = requests.post(url)
        if answer.status_code != 200:
            break
    assert "<Code>RequestThrottled</Code>" in answer.text
    assert "The shard one-0000.fifo is over its quota of 20 requests a second." in answer.text
    assert answer.headers["RateLimit-Policy"] == '"one-0000.fifo";q=20;w=1'
    assert answer.headers["RateLimit"] == '"one-0000.fifo";r=0;t=1'
    assert answer.headers["Retry-After"] == "1"


def test_a_shard_of_many_refuses_by_its_own_name(limited):
    names = [shard["name"] for shard in limited.pool("four.fifo")["shards"]]
    sqs = limited.boto()
    for name in names[2:]:
        _, error = throttled(lambda i: sqs.receive_message(QueueUrl=name, VisibilityTimeout=0))
        assert_names_shard(error.response, name, 20)


def test_who_waits_over_rest_for_longer_than_he_may_is_told_that_it_was_the_quota(servers):
    """Ten messages a second leave, so 300 in the 30 seconds that a sender may wait. Of the others nothing is stored."""
    server = servers("--quota", "1", pools=("slow.fifo=1",))

    def send(number):
        return requests.post(f"{server.url}/v1/pools/slow.fifo/messages", timeout=90,
                             json={"group": f"g{number}", "body": "x"})

    with ThreadPoolExecutor(450) as threads:
        answers = list(threads.map(send, range(450)))
    refused = [answer for answer in answers if answer.status_code != 202]
    assert refused and server.pool("slow.fifo")["backlog"] == len(answers) - len(refused)
    for answer in refused:
        problem = assert_problem(answer, 429)
        assert problem["type"] == "urn:queuepool:problem:quota-exceeded" and problem["shard"] == "slow-0000.fifo"
        assert answer.headers["RateLimit-Policy"] == '"slow-0000.fifo";q=1;w=1'
        assert answer.headers["RateLimit"] == f'"slow-0000.fifo";r=0;t={answer.headers["Retry-After"]}'
