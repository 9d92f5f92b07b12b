# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Pools whose shards are queues of LocalStack: SQS that nobody here wrote, and that locks groups, which moto does not."""

import json
import os
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
import requests

from conftest import ROOT, Process, free_port, run, wait_until
from outage_world import Place, lose_answers
from test_sqs_shards import drain, in_order, send

PYTHON = Path(os.environ.get("LOCALSTACK_PYTHON", ROOT / ".build/localstack/bin/python"))
REGION = "us-east-1"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="no LocalStack: it needs Python 3.13; infra/test makes its venv")


@pytest.fixture(scope="session")
def localstack(tmp_path_factory):
    """LocalStack's base URL."""
    directory, port = tmp_path_factory.mktemp("localstack"), free_port()
    url = f"http://127.0.0.1:{port}"
    log = open(directory / "output.log", "ab")
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(directory), "FILESYSTEM_ROOT": str(directory / "root"),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}", "GATEWAY_SERVER": "hypercorn", "SERVICES": "sqs,sts",
        "SQS_ENDPOINT_STRATEGY": "off", "DISABLE_EVENTS": "1", "SKIP_SSL_CERT_DOWNLOAD": "1", "DNS_ADDRESS": "0"}
    server = subprocess.Popen(
        [PYTHON, "-m", "localstack.runtime.main"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
        cwd=directory)

    def answers():
        assert server.poll() is None, (directory / "output.log").read_text()[-3000:]
        try:
            return requests.get(url + "/_localstack/health", timeout=5).ok
        except requests.RequestException:
            return False

    try:
        wait_until(answers, 90, "LocalStack's readiness")
        yield url
    finally:
        # It has nothing to keep, and takes ten seconds to end by itself.
        server.kill()
        server.wait(20)
        log.close()


@pytest.fixture(params=["sqlite", "dynamodb"])
def world(request, localstack, servers, tmp_path, name):
    """A pool of three queues of LocalStack, its control store in SQLite or in moto's DynamoDB, and a router on demand."""
    if request.param == "dynamodb":
        control = ["--control", f"dynamodb:{name}"]
        env = {"AWS_ENDPOINT_URL_DYNAMODB": request.getfixturevalue("moto"), "AWS_ENDPOINT_URL_SQS": localstack}
    else:
        control, env = ["--control", f"sqlite:{tmp_path}/control.sqlite"], {"AWS_ENDPOINT_URL": localstack}

    class World:
        pool, grave, endpoint = name + ".fifo", name + "-dlq.fifo", localstack
        access = [*control, "--region", REGION]
        environment = env
        shards = [f"{name}-{i:04}.fifo" for i in range(3)]
        sqs = boto3.client("sqs", endpoint_url=localstack, region_name=REGION)

        def run(self, *arguments, check=0):
            return run("pool", *arguments, *self.access, check=check, env=env)

        def create(self, shards=3, *arguments):
            self.shards = self.shards[:shards]
            return self.run("create", self.pool, "--backend", "sqs", "--shards", shards, *arguments)

        def router(self):
            return servers(*self.access, name="front", pools=(), env=env)

        def attributes(self, queue):
            url = self.sqs.get_queue_url(QueueName=queue)["QueueUrl"]
            return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

        def left(self, queue):
            """Messages there, seen or hidden."""
            has = self.attributes(queue)
            return int(has["ApproximateNumberOfMessages"]) + int(has["ApproximateNumberOfMessagesNotVisible"])

    return World()


only_sqlite = pytest.mark.parametrize("world", ["sqlite"], indirect=True)


def test_a_pool_is_made_shown_and_verified(world):
    assert "4 queues created" in world.create().stdout
    assert "0 queues created, 4 found" in world.create().stdout
    assert "as it should be" in world.run("verify", world.pool).stdout
    for shard in world.shards:
        has = world.attributes(shard)
        assert (has["DeduplicationScope"], has["FifoThroughputLimit"]) == ("messageGroup", "perQueue")
        assert json.loads(has["RedrivePolicy"])["deadLetterTargetArn"] == world.attributes(world.grave)["QueueArn"]
    shown = json.loads(world.run("show", world.pool, "--json").stdout)
    assert [shard["queue"] for shard in shown["shards"]] == world.shards
    url = world.sqs.get_queue_url(QueueName=world.shards[1])["QueueUrl"]
    world.sqs.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    told = world.run("verify", world.pool, check=1).stdout
    assert told.splitlines() == [f"{world.shards[1]}: VisibilityTimeout is '77', should be '30'"]


def test_messages_sent_single_and_in_batches_come_through_the_router_in_order(world):
    world.create()
    server = world.router()
    through = server.boto()
    sent = [(f"g{i % 20}", f"g{i % 20}-{i:04}") for i in range(200)]
    for group, body in sent[:60]:
        server.send(world.pool, group, body, deduplicationId=body)
    for start in range(60, 200, 10):
        answer = through.send_message_batch(QueueUrl=world.pool, Entries=[
            {"Id": str(i), "MessageBody": body, "MessageGroupId": group, "MessageDeduplicationId": body}
            for i, (group, body) in enumerate(sent[start:start + 10])])
        assert len(answer["Successful"]) == 10, answer
    assert all(world.left(shard) > 0 for shard in world.shards)
    got = []
    while len(got) < len(sent):
        batch = through.receive_message(QueueUrl=world.pool, MaxNumberOfMessages=10, WaitTimeSeconds=5,
                                        MessageSystemAttributeNames=["All"]).get("Messages", [])
        assert batch, f"{len(got)} of {len(sent)} messages"
        got += batch
        gone = through.delete_message_batch(QueueUrl=world.pool, Entries=[
            {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(batch)])
        assert len(gone["Successful"]) == len(batch), gone
    in_order(got, sent)
    assert [world.left(shard) for shard in world.shards] == [0, 0, 0]
    server.stop()


def test_a_worker_takes_them_straight_from_the_queues_in_order(world, tmp_path):
    world.create()
    server = world.router()
    sent = [(f"g{i % 20}", f"g{i % 20}-{i:04}") for i in range(200)]
    send(server, world.pool, sent)
    server.stop()
    with open(tmp_path / "delivered", "wb") as out:
        worker = Process(["work", "--pool", world.pool, "--deliver", "stdout:", *world.access], tmp_path / "work.log",
                         stdout=out, env=world.environment)
        wait_until(lambda: (tmp_path / "delivered").read_text().count("\n") >= len(sent), 60, "delivery")
        worker.stop()
    lines = [json.loads(line) for line in (tmp_path / "delivered").read_text().splitlines()]
    in_order([{"Attributes": {"MessageGroupId": line["group"]}, "Body": line["body"]} for line in lines], sent)
    assert [world.left(shard) for shard in world.shards] == [0, 0, 0]


@only_sqlite
def test_receivers_at_once_keep_each_group_in_order(world):
    """Some look and some poll, four in all: nobody holds a group that another holds (I2)."""
    world.create(1)
    server = world.router()
    sent = [(f"g{i % 5}", f"g{i % 5}-{i:04}") for i in range(150)]
    got, holders, lock, together = [], {}, threading.Lock(), []

    def receiver(number, wait):
        while len(got) < len(sent):
            batch = server.answer("ReceiveMessage", {
                "QueueUrl": world.pool, "MaxNumberOfMessages": 2 + number, "WaitTimeSeconds": wait,
                "MessageSystemAttributeNames": ["MessageGroupId"]}).get("Messages", [])
            with lock:
                for message in batch:
                    group = message["Attributes"]["MessageGroupId"]
                    if holders.setdefault(group, number) != number:
                        together.append((group, message["Body"]))
                    got.append((group, message["Body"]))
            time.sleep(0.01)
            with lock:
                for group in {m["Attributes"]["MessageGroupId"] for m in batch}:
                    holders.pop(group, None)
            if batch:
                server.answer("DeleteMessageBatch", {"QueueUrl": world.pool, "Entries": [
                    {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(batch)]})

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(receiver, number, wait) for number, wait in enumerate((0, 1, 0, 1))]
        send(server, world.pool, sent)
        for future in running:
            future.result(60)
    assert not together
    for group in {group for group, _ in sent}:
        assert [b for g, b in got if g == group] == [b for g, b in sent if g == group]
    server.stop()


@only_sqlite
def test_a_deduplication_id_counts_once_in_its_group_and_once_in_each(world):
    world.create(1)
    server = world.router()
    first = server.send(world.pool, "a", "one", deduplicationId="d")
    again = server.send(world.pool, "a", "two", deduplicationId="d")
    assert first["id"] == again["id"]
    server.send(world.pool, "b", "three", deduplicationId="d")
    got = drain(server, world.pool, 2)
    assert sorted((m["Attributes"]["MessageGroupId"], m["Body"]) for m in got) == [("a", "one"), ("b", "three")]
    assert world.left(world.shards[0]) == 0
    server.stop()


@only_sqlite
def test_a_visibility_timeout_is_extended_and_taken_back(world):
    world.create(1, "--visibility-timeout", 2)
    server = world.router()
    server.send(world.pool, "a", "first")
    receive = {"QueueUrl": world.pool, "MessageSystemAttributeNames": ["All"]}
    held = server.answer("ReceiveMessage", receive)["Messages"][0]
    began = time.monotonic()
    server.answer("ChangeMessageVisibility", {
        "QueueUrl": world.pool, "ReceiptHandle": held["ReceiptHandle"], "VisibilityTimeout": 60})
    # A second after the first timeout's end there is nothing to see, because of the second.
    while time.monotonic() < began + 3:
        assert "Messages" not in server.answer("ReceiveMessage", {**receive, "WaitTimeSeconds": 1})
    server.answer("ChangeMessageVisibility", {
        "QueueUrl": world.pool, "ReceiptHandle": held["ReceiptHandle"], "VisibilityTimeout": 0})
    again = server.answer("ReceiveMessage", {**receive, "WaitTimeSeconds": 10})["Messages"][0]
    assert again["Body"] == "first" and again["Attributes"]["ApproximateReceiveCount"] == "2"
    server.answer("DeleteMessage", {"QueueUrl": world.pool, "ReceiptHandle": again["ReceiptHandle"]})
    assert world.left(world.shards[0]) == 0
    server.stop()


@only_sqlite
def test_what_was_received_too_often_goes_to_the_dead_letter_queue_and_its_group_goes_on(world):
    world.create(2, "--max-receive-count", 1)
    server = world.router()
    server.send(world.pool, "bad", "poison")
    server.send(world.pool, "bad", "follower")
    receive = {"QueueUrl": world.pool, "MaxNumberOfMessages": 1, "WaitTimeSeconds": 5}
    poison = server.answer("ReceiveMessage", receive)["Messages"][0]
    assert poison["Body"] == "poison"
    server.answer("ChangeMessageVisibility", {
        "QueueUrl": world.pool, "ReceiptHandle": poison["ReceiptHandle"], "VisibilityTimeout": 0})
    follower = wait_until(lambda: server.answer("ReceiveMessage", receive).get("Messages"), 20, "the follower")[0]
    assert follower["Body"] == "follower"
    dead = drain(server, world.grave, 1, wait=5)
    assert [(m["Attributes"]["MessageGroupId"], m["Body"]) for m in dead] == [("bad", "poison")]
    server.stop()


@only_sqlite
def test_one_pool_over_two_regions_has_a_dead_letter_queue_in_each(world):
    made = world.create(2, "--shard-region", "1=eu-west-1")
    assert "4 queues created" in made.stdout and "as it should be" in world.run("verify", world.pool).stdout
    west = boto3.client("sqs", endpoint_url=world.endpoint, region_name="eu-west-1")
    url = west.get_queue_url(QueueName=world.shards[1])["QueueUrl"]
    has = west.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert json.loads(has["RedrivePolicy"])["deadLetterTargetArn"].split(":")[3] == "eu-west-1"
    server = world.router()
    sent = [(f"g{i % 10}", f"g{i % 10}-{i}") for i in range(40)]
    assert len({result["shard"] for result in send(server, world.pool, sent)}) == 2
    in_order(drain(server, world.pool, len(sent)), sent)
    server.stop()


def test_lost_answers_are_unknown_outcomes_and_each_message_is_stored_once(localstack, tmp_path):
    """A send whose answer was lost is sent again under its id, which LocalStack knows then."""
    at = Place(tmp_path)
    with at.stack:
        lose_answers(at, localstack)
