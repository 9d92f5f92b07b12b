# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Pools whose shards are remote FIFO queues: of moto, which nobody here wrote, and of servers of our own."""

import json
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import boto3
import pytest
import requests

from conftest import Process, run, wait_until

REGION = ["--region", "us-east-1"]


@pytest.fixture
def front(servers, tmp_path, name):
    """Starts a router over a fresh pool of queues behind an endpoint."""

    def start(endpoint, shards=3, *arguments, faults=()):
        control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", endpoint, *REGION]
        run("pool", "create", name + ".fifo", "--backend", "sqs", "--shards", shards, *arguments, *control, check=0)
        return servers(*control, *faults, name="front", pools=())

    return start


def send(server, pool, messages):
    """(group, body) pairs in one stream; asserts that every line was accepted."""
    lines = "".join(json.dumps({"group": group, "body": body, "deduplicationId": body}) + "\n" for group, body in messages)
    answer = server.post(f"/v1/pools/{pool}/messages", data=lines, headers={"Content-Type": "application/x-ndjson"})
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert len(results) == len(messages) and not [r for r in results if "error" in r], results[:3]
    return results


def drain(server, pool, count, wait=2):
    """Receives and deletes `count` messages through the pool."""
    got = []
    while len(got) < count:
        batch = server.answer("ReceiveMessage", {
            "QueueUrl": pool, "MaxNumberOfMessages": 10, "WaitTimeSeconds": wait, "MessageSystemAttributeNames": ["All"],
            "MessageAttributeNames": ["All"]}).get("Messages", [])
        assert batch, f"{len(got)} of {count} messages"
        got += batch
        gone = server.answer("DeleteMessageBatch", {"QueueUrl": pool, "Entries": [
            {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(batch)]})
        assert "Failed" not in gone, gone["Failed"]
    return got


def in_order(messages, sent):
    """Every group's bodies as they were sent (I1, I2, I3)."""
    by_group = {}
    for message in messages:
        by_group.setdefault(message["Attributes"]["MessageGroupId"], []).append(message["Body"])
    expected = {}
    for group, body in sent:
        expected.setdefault(group, []).append(body)
    assert by_group == expected


def test_messages_go_to_motos_queues_and_come_back_each_once(front, moto, name):
    pool = name + ".fifo"
    server = front(moto)
    sent = [(f"g{i % 7}", f"g{i % 7}-{i}") for i in range(120)]
    results = send(server, pool, sent)
    assert {r["shard"] for r in results} == {f"{name}-{i:04}.fifo" for i in range(3)}
    messages = drain(server, pool, len(sent))
    # Every one once. Not their order: moto notes which groups are in flight before it waits, so that two receives that
    # wait at one queue each get a message of the same group (two boto3 clients alone see it every time). SQS locks a
    # group; test_sqs_order.py has a queue that does.
    assert sorted((m["Attributes"]["MessageGroupId"], m["Body"]) for m in messages) == sorted(sent)
    assert {m["MessageId"] for m in messages} == {r["id"] for r in results}
    server.stop()


def test_what_boto3_sees_through_the_pool_is_what_it_sees_at_the_queue(front, moto, name):
    pool = name + ".fifo"
    server = front(moto, 1)
    through = server.boto()
    attributes = {"text": {"DataType": "String", "StringValue": "caf\u00e9"},
                  "number": {"DataType": "Number.int", "StringValue": "42"},
                  "bytes": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}}
    answer = through.send_message(QueueUrl=pool, MessageBody="h\u00e9llo \U0001f600", MessageGroupId="g",
                                  MessageDeduplicationId="1", MessageAttributes=attributes)
    direct = boto3.client("sqs", endpoint_url=moto, region_name="us-east-1")
    url = direct.get_queue_url(QueueName=name + "-0000.fifo")["QueueUrl"]
    asked = dict(AttributeNames=["All"], MessageAttributeNames=["All"], VisibilityTimeout=0)
    there = direct.receive_message(QueueUrl=url, **asked)["Messages"][0]
    here = through.receive_message(QueueUrl=pool, WaitTimeSeconds=2, **{**asked, "VisibilityTimeout": 30})["Messages"][0]
    assert answer["MessageId"] == there["MessageId"] == here["MessageId"]
    for key in ("Body", "MD5OfBody", "MessageAttributes", "MD5OfMessageAttributes"):
        assert here[key] == there[key], key
    for key in ("SequenceNumber", "SentTimestamp", "MessageGroupId", "MessageDeduplicationId", "SenderId"):
        assert here["Attributes"][key] == there["Attributes"][key], key
    through.change_message_visibility(QueueUrl=pool, ReceiptHandle=here["ReceiptHandle"], VisibilityTimeout=0)
    again = through.receive_message(QueueUrl=pool, WaitTimeSeconds=2, VisibilityTimeout=30)["Messages"][0]
    through.delete_message(QueueUrl=pool, ReceiptHandle=again["ReceiptHandle"])
    counts = direct.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert counts["ApproximateNumberOfMessages"] == counts["ApproximateNumberOfMessagesNotVisible"] == "0"
    server.stop()


def test_a_worker_delivers_from_a_pool_of_remote_queues(front, servers, name, tmp_path):
    pool = name + ".fifo"
    back = servers(name="back", pools=())
    server = front(back.url)
    sent = [(f"g{i % 5}", f"g{i % 5}-{i}") for i in range(60)]
    send(server, pool, sent)
    with open(tmp_path / "delivered", "wb") as out:
        worker = Process(["work", "--endpoint", server.url, "--pool", pool, "--deliver", "stdout:"],
                         tmp_path / "work.log", stdout=out)
        wait_until(lambda: (tmp_path / "delivered").read_text().count("\n") >= 60, 30, "delivery")
        worker.stop()
    lines = [json.loads(line) for line in (tmp_path / "delivered").read_text().splitlines()]
    for group in {group for group, _ in sent}:
        assert [line["body"] for line in lines if line["group"] == group] == [b for g, b in sent if g == group]
    server.stop()
    back.stop()


@pytest.mark.parametrize("waits", [(0, 0, 0, 0), (5, 5, 5, 5), (0, 5, 0, 5)], ids=["looks", "polls", "both"])
def test_receivers_of_one_queue_never_hold_a_group_together(front, servers, name, waits):
    """Four receivers whose looks and polls overlap at one remote queue that locks groups, as SQS does (I2)."""
    pool = name + ".fifo"
    back = servers(name="back", pools=())
    server = front(back.url, 1)
    sent = [(f"g{i % 3}", f"g{i % 3}-{i:04}") for i in range(240)]
    got, holders, lock, together = [], {}, threading.Lock(), []

    def receiver(number, wait):
        while len(got) < len(sent):
            batch = server.answer("ReceiveMessage", {
                "QueueUrl": pool, "MaxNumberOfMessages": 2 + number, "WaitTimeSeconds": wait,
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
                server.answer("DeleteMessageBatch", {"QueueUrl": pool, "Entries": [
                    {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(batch)]})

    with ThreadPoolExecutor(4) as threads:
        running = [threads.submit(receiver, number, wait) for number, wait in enumerate(waits)]
        send(server, pool, sent)
        for future in running:
            future.result(90)
    assert not together
    for group in ("g0", "g1", "g2"):
        assert [b for g, b in got if g == group] == [b for g, b in sent if g == group]
    server.stop()
    back.stop()


def test_an_endpoint_that_dies_and_comes_back_loses_and_reorders_nothing(front, servers, name):
    """Killed twice under load: what was acknowledged arrives once, in order; every send is answered."""
    pool = name + ".fifo"
    back = servers(name="back", pools=())
    server = front(back.url)
    acknowledged, stop = [], threading.Event()

    def sender(group):
        number = 0
        while not stop.is_set():
            body = f"{group}-{number}"
            answer = requests.post(f"{server.url}/v1/pools/{pool}/messages", timeout=60, json={
                "group": group, "body": body, "deduplicationId": body})
            # Refused for now: sent again under its id, so that a later number never passes it.
            if answer.status_code == 202:
                acknowledged.append((group, body))
                number += 1
            else:
                assert answer.status_code in (429, 502, 503), answer.text

    with ThreadPoolExecutor(8) as threads:
        running = [threads.submit(sender, f"g{i}") for i in range(8)]
        for _ in range(2):
            time.sleep(1)
            back.kill9()
            before = len(acknowledged)
            time.sleep(0.5)
            back = servers(name="back", pools=(), port=back.port)
            wait_until(lambda: len(acknowledged) > before + 50, 30, "sends after the restart")
        stop.set()
        for future in running:
            future.result(90)
    got, seen = [], set()
    for message in drain(server, pool, len(acknowledged), wait=5):
        # Redelivered messages may come again; none is expected here, for nobody received before.
        assert message["Body"] not in seen, "delivered twice"
        seen.add(message["Body"])
        got.append(message)
    in_order(got, sorted(acknowledged, key=lambda pair: (pair[0], int(pair[1].split("-")[1]))))
    server.stop()
    back.stop()


def test_a_shard_that_stands_still_delays_its_own_groups_only(front, servers, name, tmp_path):
    """Shards behind two endpoints: one stands still (SIGSTOP), the groups of the other go on (I5)."""
    pool = name + ".fifo"
    backs = [servers(name=f"back{i}", pools=()) for i in range(2)]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--control", f"sqlite:{tmp_path}/other.sqlite",
        "--endpoint-url", backs[1].url, *REGION, check=0)
    front(backs[0].url, 2).stop()
    # The second shard becomes the queue at the other server: a pool may span endpoints, regions and accounts.
    url = backs[1].boto().get_queue_url(QueueName=f"{name}-0001.fifo")["QueueUrl"]
    with closing(sqlite3.connect(tmp_path / "control.sqlite")) as control, control:
        control.execute("UPDATE shards SET endpoint = ?, queue_url = ? WHERE pool = ? AND number = 1",
                        (backs[1].url, url, pool))
    server = servers("--control", f"sqlite:{tmp_path}/control.sqlite", *REGION, name="front2", pools=())
    groups = {}
    for number in range(40):
        groups.setdefault(server.send(pool, f"g{number}", "first")["shard"], []).append(f"g{number}")
    well, ill = groups[f"{name}-0000.fifo"], groups[f"{name}-0001.fifo"]
    backs[1].popen.send_signal(signal.SIGSTOP)
    with ThreadPoolExecutor(20) as threads:
        held = [threads.submit(server.send, pool, group, "second") for group in ill[:5]]
        start = time.monotonic()
        for _ in range(5):
            for group in well[:5]:
                server.send(pool, group, f"more {time.monotonic()}")
        assert time.monotonic() - start < 5 and not any(future.done() for future in held)
        backs[1].popen.send_signal(signal.SIGCONT)
        for future in held:
            future.result(60)
    server.stop()


def test_injected_faults_reach_remote_shards_and_lose_and_reorder_nothing(front, servers, name):
    """The same switch, the same way as without it: sends are tried again, failed receives and deletes are told."""
    far = servers(name="far", pools=())
    near = front(far.url, faults=["--inject-error-rate", "0.3"])
    sent = [(f"g{number % 20}", f"{number % 20}/{number // 20}") for number in range(200)]
    send(near, name + ".fifo", sent)
    got, failures = [], 0
    while len(got) < len(sent):
        answer = near.session.post(near.url, json={
            "QueueUrl": name + ".fifo", "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1,
            "MessageSystemAttributeNames": ["All"]}, headers={
                "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.ReceiveMessage"}, timeout=30)
        if answer.status_code != 200:
            failures += 1
            continue
        for message in answer.json().get("Messages", []):
            got.append(message)
            while True:
                answer = near.session.post(near.url, json={
                    "QueueUrl": name + ".fifo", "ReceiptHandle": message["ReceiptHandle"]}, headers={
                        "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.DeleteMessage"},
                    timeout=30)
                if answer.status_code == 200:
                    break
                failures += 1
    in_order(got, sent)
    assert failures > 0, "nothing was injected"
