# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Bodies that are too large for queues of SQS lie in S3, where Amazon's own extended client writes and reads them."""

import json
import uuid

import boto3
import botocore.exceptions
import pytest

from conftest import Process, run, wait_until
from receivers import webhook

# It makes every client of boto3 an extended one when it is imported; other tests want plain ones.
PLAIN = boto3.session.Session
from sqs_extended_client.client import SQSExtendedClientSession  # noqa: E402

boto3.session.Session = boto3.Session = PLAIN
boto3.DEFAULT_SESSION = None

REGION = "us-east-1"
POINTER = "software.amazon.payloadoffloading.PayloadS3Pointer"
SIZE = "ExtendedPayloadSize"


class World:
    """A pool of queues at moto, whose large bodies lie in a bucket at moto."""

    def __init__(self, moto, tmp_path, name, control):
        self.moto, self.tmp_path, self.name, self.control = moto, tmp_path, name, ["--control", control]
        self.pool, self.grave, self.bucket = name + ".fifo", name + "-dlq.fifo", name.lower() + "-bodies"
        self.prefix = f"queuepool-bodies/{self.pool}"
        self.access = [*self.control, "--endpoint-url", moto, "--region", REGION]
        self.s3 = boto3.client("s3", endpoint_url=moto, region_name=REGION)
        self.sqs = boto3.client("sqs", endpoint_url=moto, region_name=REGION)
        self.works = 0

    def create(self, *arguments, shards=1, bodies=None, check=0):
        return run("pool", "create", self.pool, "--backend", "sqs", "--shards", shards,
                   "--bodies", bodies or f"s3://{self.bucket}", *arguments, *self.access, check=check)

    def url(self, queue=None):
        return self.sqs.get_queue_url(QueueName=queue or f"{self.name}-0000.fifo")["QueueUrl"]

    def keys(self):
        return [one["Key"] for one in self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])]

    def rules(self):
        return self.s3.get_bucket_lifecycle_configuration(Bucket=self.bucket)["Rules"]

    def extended(self):
        client = SQSExtendedClientSession(region_name=REGION).client("sqs", endpoint_url=self.moto)
        client.large_payload_support = self.bucket
        client.delete_payload_from_s3 = True
        client.s3_client = self.s3
        return client

    def new_key(self):
        return f"{self.prefix}/{uuid.uuid4()}"

    def send_pointer(self, group, key, size, queue=None):
        """A message as the extended client sends it, whose body is put, or not, by the test."""
        self.sqs.send_message(
            QueueUrl=self.url(queue), MessageGroupId=group, MessageDeduplicationId=str(uuid.uuid4()),
            MessageBody=json.dumps([POINTER, {"s3BucketName": self.bucket, "s3Key": key}]),
            MessageAttributes={SIZE: {"DataType": "Number", "StringValue": str(size)}})

    def send(self, group, body):
        self.sqs.send_message(QueueUrl=self.url(), MessageGroupId=group, MessageDeduplicationId=str(uuid.uuid4()),
                              MessageBody=body)

    def work(self, *arguments, pool=None):
        self.works += 1
        return Process(["work", "--pool", pool or self.pool, *arguments, *self.access],
                       self.tmp_path / f"work{self.works}.log")

    def left(self, queue):
        """Messages of a queue, whether they are visible or not."""
        got = self.sqs.get_queue_attributes(QueueUrl=self.url(queue), AttributeNames=["All"])["Attributes"]
        return int(got["ApproximateNumberOfMessages"]) + int(got["ApproximateNumberOfMessagesNotVisible"])

    def received(self, queue):
        got = self.sqs.receive_message(
            QueueUrl=self.url(queue), MaxNumberOfMessages=10, MessageAttributeNames=["All"], AttributeNames=["All"])
        return got.get("Messages", [])


@pytest.fixture(params=["sqlite", "dynamodb"])
def world(request, moto, tmp_path, name):
    control = f"dynamodb:{name}" if request.param == "dynamodb" else f"sqlite:{tmp_path}/control.sqlite"
    return World(moto, tmp_path, name, control)


@pytest.fixture
def place(moto, tmp_path, name):
    return World(moto, tmp_path, name, f"sqlite:{tmp_path}/control.sqlite")


# MARK: What commands make and show


def test_a_pool_is_made_with_a_bucket_whose_rule_outlives_its_messages(world):
    world.create("--retention", 4 * 86_400)
    [rule] = world.rules()
    # Four days in the pool, fourteen in the dead-letter queue, one for clocks.
    assert (rule["Filter"]["Prefix"], rule["Expiration"]["Days"]) == (world.prefix + "/", 19)
    for pool in (world.pool, world.grave):
        shown = json.loads(run("pool", "show", pool, "--json", *world.control, *world.access[2:], check=0).stdout)
        assert shown["bodies"] == f"s3://{world.bucket}/{world.prefix}"
    told = run("pool", "show", world.pool, *world.access, check=0).stdout
    assert f"s3://{world.bucket}/{world.prefix}" in told
    # A repetition changes nothing, whether it names the place or not.
    world.create()
    run("pool", "create", world.pool, "--backend", "sqs", "--shards", 1, *world.access, check=0)
    assert world.rules() == [rule]
    other = world.create(bodies=f"s3://{world.bucket}/elsewhere", check=1).stderr
    assert "elsewhere" in other and world.prefix in other and world.rules() == [rule]


def test_a_bucket_keeps_its_other_rules_and_a_pool_gets_its_bodies_place_later(place):
    place.s3.create_bucket(Bucket=place.bucket)
    theirs = {"ID": "theirs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 7}}
    place.s3.put_bucket_lifecycle_configuration(Bucket=place.bucket, LifecycleConfiguration={"Rules": [theirs]})
    run("pool", "create", place.pool, "--backend", "sqs", "--shards", 1, *place.access, check=0)
    place.create("--bodies-encryption", "AES256", bodies=f"s3://{place.bucket}/mail/bodies")
    assert theirs in place.rules() and len(place.rules()) == 2
    for pool in (place.pool, place.grave):
        shown = json.loads(run("pool", "show", pool, "--json", *place.access, check=0).stdout)
        assert shown["bodies"] == f"s3://{place.bucket}/mail/bodies (AES256)"


def test_an_adopted_pool_has_a_place_for_bodies_too(place):
    url = place.sqs.create_queue(QueueName="a-" + place.pool, Attributes={"FifoQueue": "true"})["QueueUrl"]
    run("pool", "adopt", place.pool, "--queue", url, "--bodies", f"s3://{place.bucket}", *place.access, check=0)
    assert place.rules()[0]["Filter"]["Prefix"] == place.prefix + "/"
    shown = json.loads(run("pool", "show", place.pool, "--json", *place.access, check=0).stdout)
    assert shown["bodies"] == f"s3://{place.bucket}/{place.prefix}"


@pytest.mark.parametrize("flags, told", [
    (["--bodies", "my-bucket"], "--bodies"), (["--bodies", "s3://"], "--bodies"),
    (["--bodies", "s3://Upper"], "--bodies"), (["--bodies", "s3://bucket/../x"], "--bodies"),
    (["--bodies", "s3://my-bucket", "--bodies-encryption", "rot13"], "--bodies-encryption"),
    (["--bodies", "s3://my-bucket", "--bodies-encryption", "aws:kms:"], "--bodies-encryption"),
    (["--bodies-encryption", "AES256"], "--bodies"),
])
def test_wrong_values_are_refused_by_their_flag(place, flags, told):
    done = run("pool", "create", place.pool, "--backend", "sqs", "--shards", 1, *flags, *place.access)
    assert done.returncode == 64 and told in done.stderr, done.stderr
    with pytest.raises(botocore.exceptions.ClientError):
        place.url()


def test_bodies_of_a_servers_own_pools_have_no_bucket(place):
    done = run("pool", "create", place.pool, "--shards", 1, "--bodies", "s3://my-bucket")
    assert done.returncode == 64 and "--bodies" in done.stderr and "--backend sqs" in done.stderr


# MARK: The worker


def test_what_the_extended_client_sent_to_a_shard_is_delivered_whole_and_its_object_goes(world):
    world.create()
    key, body = world.new_key(), "é" * 300_000 + "end"
    world.extended().send_message(
        QueueUrl=world.url(), MessageBody=body, MessageGroupId="g", MessageDeduplicationId="d1",
        MessageAttributes={"S3Key": {"DataType": "String", "StringValue": key},
                           "color": {"DataType": "String", "StringValue": "red"}})
    world.send("g", "small")
    world.send_pointer("not-ours", foreign := "elsewhere/1", 3)
    world.s3.put_object(Bucket=world.bucket, Key=foreign, Body=b"abc")
    assert sorted(world.keys()) == sorted([key, foreign])
    with webhook() as hook:
        worker = world.work("--deliver", hook.url)
        wait_until(lambda: len(hook.requests) == 3, 40, "deliveries")
        wait_until(lambda: world.left(f"{world.name}-0000.fifo") == 0, 20, "deletes")
        worker.stop()
    bodies = hook.bodies
    assert sorted(bodies) == sorted([body, "small", "abc"]) and bodies.index(body) < bodies.index("small")
    assert not any(SIZE.lower() in str(request["headers"]).lower() for request in hook.requests)
    # Its own is gone when the worker has ended; one that lies elsewhere in the bucket is not the pool's to remove.
    assert world.keys() == [foreign]


def test_a_body_that_is_missing_leads_to_the_dead_letter_queue_and_other_groups_go_on(place):
    place.create()
    lost, kept = place.new_key(), place.new_key()
    place.send_pointer("a", lost, 10)
    place.send("a", "behind")
    place.s3.put_object(Bucket=place.bucket, Key=kept, Body=b"12345")
    place.send_pointer("b", kept, 5)
    with webhook() as hook:
        worker = place.work("--deliver", hook.url, "--max-attempts", 2, "--retry-seconds", 0)
        wait_until(lambda: len(hook.requests) == 2, 40, "deliveries")
        wait_until(lambda: place.left(f"{place.name}-0000.fifo") == 0, 20, "deletes")
        worker.stop()
    assert sorted(hook.bodies) == ["12345", "behind"]
    [message] = place.received(place.grave)
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["queuepool.reason"] == "body-missing" and attributes["queuepool.error-class"] == "body-missing"
    assert attributes[SIZE] == "10" and json.loads(message["Body"])[1]["s3Key"] == lost
    assert place.keys() == []


def test_a_dead_letter_keeps_its_body_which_goes_when_a_worker_took_it_from_there(place):
    place.create()
    key = place.new_key()
    place.s3.put_object(Bucket=place.bucket, Key=key, Body=b"x" * 2_000_000)
    place.send_pointer("g", key, 2_000_000)
    with webhook(lambda request: (400, {})) as hook:
        worker = place.work("--deliver", hook.url)
        wait_until(lambda: place.left(f"{place.name}-0000.fifo") == 0 and place.left(place.grave) == 1, 40, "the move")
        worker.stop()
    assert hook.bodies == ["x" * 2_000_000] and place.keys() == [key]
    with webhook() as hook:
        worker = place.work("--deliver", hook.url, pool=place.grave)
        wait_until(lambda: place.left(place.grave) == 0, 40, "delivery from the dead-letter queue")
        worker.stop()
    assert hook.bodies == ["x" * 2_000_000] and place.keys() == []


def test_a_worker_that_has_only_a_servers_address_hands_no_pointer_over(servers, place):
    place.create()
    key = place.new_key()
    place.s3.put_object(Bucket=place.bucket, Key=key, Body=b"whole")
    place.send_pointer("a", key, 5)
    place.send("b", "small")
    server = servers(*place.access, name="front", pools=())
    with webhook() as hook:
        worker = Process(["work", "--pool", place.pool, "--endpoint", server.url, "--deliver", hook.url],
                         place.tmp_path / "endpoint.log")
        wait_until(lambda: hook.bodies == ["small"] and "needs---control" in worker.text(), 40, "the log line")
        worker.stop()
        assert hook.bodies == ["small"] and place.keys() == [key]
        # Nothing of it was spent or lost.
        worker = place.work("--deliver", hook.url)
        wait_until(lambda: "whole" in hook.bodies, 60, "delivery by a worker that knows where bodies lie")
        worker.stop()
    assert place.keys() == []
    server.stop()


# MARK: Through the router


def test_what_the_router_took_is_received_whole_by_the_extended_client_and_deleted_with_its_object(servers, world):
    world.create()
    server = servers(*world.access, name="front", pools=())
    body = "é" + "x" * 5_000_000
    server.send(world.pool, "g", body)
    [key] = world.keys()
    assert key.startswith(world.prefix + "/")
    client = world.extended()
    [message] = client.receive_message(QueueUrl=world.url(), MessageAttributeNames=["All"])["Messages"]
    assert message["Body"] == body
    client.delete_message(QueueUrl=world.url(), ReceiptHandle=message["ReceiptHandle"])
    assert world.keys() == [] and world.left(f"{world.name}-0000.fifo") == 0
    server.stop()


def test_what_the_router_took_is_delivered_whole_by_a_worker(servers, place):
    place.create()
    server = servers(*place.access, name="front", pools=())
    body = "x" * 5_000_000
    server.send(place.pool, "g", body)
    with webhook() as hook:
        worker = place.work("--deliver", hook.url)
        wait_until(lambda: hook.bodies == [body], 40, "delivery")
        wait_until(lambda: place.left(f"{place.name}-0000.fifo") == 0, 20, "the delete")
        worker.stop()
    assert place.keys() == []
    server.stop()
