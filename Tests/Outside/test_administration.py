# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Pools that are made, changed and removed: by many callers at once, by two servers, and by one that is killed."""

import json
import random
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial

import pytest
import requests

from conftest import run, wait_until

MESSAGES = 3_000


def fill(server, pool, count=MESSAGES):
    """Messages d0, d1, ... over 50 groups, by one stream."""
    lines = "\n".join(
        json.dumps({"group": f"g{i % 50}", "body": "x" * 200, "deduplicationId": f"d{i}"}) for i in range(count))
    answer = server.post(f"/v1/pools/{pool}/messages", data=lines,
                         headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200 and len(answer.text.splitlines()) == count


def held(server, pool):
    document = server.pool(pool)
    return document["backlog"] + document["inFlight"] + document["delayed"]


@pytest.mark.parametrize("seed", range(5))
def test_a_kill_while_a_queue_is_deleted_brings_nothing_back(servers, seed):
    """Deleted or not deleted, never half; and a new queue of the name starts with nothing."""
    chance = random.Random(seed)
    server = servers(pools=("emails.fifo=4",))
    for _ in range(2):
        if server.get("/v1/pools/emails.fifo").status_code == 404:
            server.post("/v1/pools", json={"name": "emails.fifo", "shards": 4})
        fill(server, "emails.fifo")
        before = held(server, "emails.fifo")
        assert before >= MESSAGES

        def delete():
            try:
                server.action("DeleteQueue", {"QueueUrl": "emails.fifo"})
            except OSError:
                pass  # killed before it answered

        deleting = threading.Thread(target=delete)
        deleting.start()
        time.sleep(chance.uniform(0, 0.06))
        server.kill9()
        deleting.join()
        server = servers(pools=())
        if server.get("/v1/pools/emails.fifo").status_code == 200:
            assert held(server, "emails.fifo") == before, f"seed {seed}: half of it is gone"
            server.answer("DeleteQueue", {"QueueUrl": "emails.fifo"})
        answer = server.post("/v1/pools", json={"name": "emails.fifo", "shards": 4})
        assert answer.status_code == 201, answer.text
        assert held(server, "emails.fifo") == 0, f"seed {seed}: deleted messages are back"
        for number in range(0, MESSAGES, 97):
            sent = server.send("emails.fifo", f"g{number % 50}", "new", deduplicationId=f"d{number}")
            assert not sent["duplicate"], f"seed {seed}: d{number} is still known"
        server.answer("PurgeQueue", {"QueueUrl": "emails.fifo"})


def at_once(calls):
    """Makes the calls side by side, as far as threads can; whatever one raises, this raises."""
    barrier = threading.Barrier(len(calls))

    def run(call):
        barrier.wait()
        call()

    with ThreadPoolExecutor(len(calls)) as threads:
        for done in [threads.submit(run, call) for call in calls]:
            done.result()


@pytest.fixture
def pair(servers, tmp_path, moto, name):
    """A pool of remote queues, and two servers on one control file that serve it."""
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", moto, "--region", "us-east-1"]
    run("pool", "create", name + ".fifo", "--backend", "sqs", "--shards", 1, *control, check=0)
    return name + ".fifo", [servers(*control, name=f"server-{n}", pools=()) for n in range(2)]


@pytest.mark.parametrize("count", [1, 2], ids=["one server", "two servers"])
def test_changes_at_the_same_moment_are_all_kept(servers, request, count):
    if count == 1:
        name, every = "emails.fifo", [servers(pools=("emails.fifo=1",))]
    else:
        name, every = request.getfixturevalue("pair")

    def call(place, action, **body):
        url = every[place % count].url
        answer = requests.post(url, json={"QueueUrl": name, **body}, timeout=60, headers={
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"})
        assert answer.status_code == 200, answer.text

    calls = [partial(call, n, "TagQueue", Tags={f"key{n}": str(n)}) for n in range(40)]
    calls += [partial(call, 0, "SetQueueAttributes", Attributes={"VisibilityTimeout": "77"}),
              partial(call, 1, "SetQueueAttributes", Attributes={"DelaySeconds": "3"})]
    at_once(calls)
    at_once([partial(call, n, "UntagQueue", TagKeys=[f"key{n}"]) for n in range(20)])
    for server in every:
        wait_until(lambda: len(server.answer("ListQueueTags", {"QueueUrl": name})["Tags"]) == 20, 10, "tags")
        tags = server.answer("ListQueueTags", {"QueueUrl": name})["Tags"]
        assert tags == {f"key{n}": str(n) for n in range(20, 40)}
        shown = server.answer("GetQueueAttributes", {"QueueUrl": name, "AttributeNames": ["All"]})
        assert (shown["Attributes"]["VisibilityTimeout"], shown["Attributes"]["DelaySeconds"]) == ("77", "3")


def refused(server):
    """What a server that must not start says: its last line."""
    assert server.popen.wait(20) == 78, server.text()
    return server.text().splitlines()[-1]


def test_a_pool_is_served_from_the_directory_it_was_made_in(servers, tmp_path):
    """Two directories with files of one pool would each have a part of its messages."""
    control = ("--control", f"sqlite:{tmp_path}/control.sqlite")
    first = servers(*control, name="first", pools=("emails.fifo=2",))
    first.send("emails.fifo", "g", "one")
    for pools in (("emails.fifo=2",), ()):
        text = refused(servers(*control, name="second", pools=pools, ready=False))
        assert str(first.data) in text and str(tmp_path / "second" / "data") in text and "the pool emails" in text
    first.stop()
    # Moved with its files, it is the same directory.
    (tmp_path / "third").mkdir()
    first.data.rename(tmp_path / "third" / "data")
    third = servers(*control, name="third", pools=("emails.fifo=2",))
    assert held(third, "emails.fifo") == 1
    text = refused(servers(*control, name="second", ready=False))
    assert str(third.data) in text and str(first.data) not in text


def test_a_store_that_names_no_owner_is_taken_by_the_directory_with_the_files(servers, tmp_path):
    control = ("--control", f"sqlite:{tmp_path}/control.sqlite")
    first = servers(*control, name="first", pools=("emails.fifo=2",))
    first.send("emails.fifo", "g", "one")
    first.stop()
    with closing(sqlite3.connect(tmp_path / "control.sqlite")) as database:
        database.execute("UPDATE pools SET owner = NULL")
        database.execute("DELETE FROM directories")
        database.commit()
    assert "emails" in refused(servers(*control, name="second", ready=False))
    again = servers(*control, name="first", pools=())
    assert held(again, "emails.fifo") == 1
    assert str(again.data) in refused(servers(*control, name="second", ready=False))


def test_a_deletion_is_finished_by_the_server_that_has_the_files(servers, tmp_path):
    control = ("--control", f"sqlite:{tmp_path}/control.sqlite")
    first = servers(*control, name="first", pools=("emails.fifo=2",))
    fill(first, "emails.fifo", 100)
    first.stop()
    with closing(sqlite3.connect(tmp_path / "control.sqlite")) as database:
        database.execute("UPDATE pools SET deleting = 1")
        database.commit()
    second = servers(*control, name="second", pools=())
    assert second.post("/v1/pools", json={"name": "emails.fifo", "shards": 2}).status_code == 409
    first = servers(*control, name="first", pools=())
    assert second.post("/v1/pools", json={"name": "emails.fifo", "shards": 2}).status_code == 201
    assert first.get("/v1/pools/emails.fifo").status_code == 404 and held(second, "emails.fifo") == 0


def test_pools_that_are_deleted_take_no_memory(servers):
    server = servers(pools=())
    sizes = []
    for _ in range(12):
        assert server.post("/v1/pools", json={"name": "emails.fifo", "shards": 4}).status_code == 201
        fill(server, "emails.fifo", 2_000)
        server.answer("DeleteQueue", {"QueueUrl": "emails.fifo"})
        sizes.append(server.status_bytes("VmRSS"))
    assert sizes[-1] < 1.5 * sizes[1], [size >> 20 for size in sizes]


def redrive(queue):
    return {"RedrivePolicy": json.dumps(
        {"deadLetterTargetArn": f"arn:aws:sqs:us-east-1:000000000000:{queue}", "maxReceiveCount": 1})}


def test_messages_that_are_given_up_do_not_go_in_a_circle(servers):
    server = servers(pools=())
    for name in ("a.fifo", "b.fifo", "c.fifo"):
        server.answer("CreateQueue", {"QueueName": name, "Attributes": {"FifoQueue": "true"}})
    for source, target in (("a.fifo", "b.fifo"), ("b.fifo", "c.fifo")):
        server.answer("SetQueueAttributes", {"QueueUrl": source, "Attributes": redrive(target)})
    for source, target, way in (("c.fifo", "a.fifo", "a circle of 3 queues"),
                                ("c.fifo", "c.fifo", "its own dead-letter queue"), ("b.fifo", "a.fifo", "a circle of 2 queues")):
        answer = server.action("SetQueueAttributes", {"QueueUrl": source, "Attributes": redrive(target)})
        assert answer.status_code == 400 and way in answer.text, answer.text


def test_a_dead_letter_queue_is_deleted_after_its_sources(servers):
    server = servers(pools=("emails.fifo=2",))
    answer = server.action("DeleteQueue", {"QueueUrl": "emails-dlq.fifo"})
    assert answer.status_code == 400 and "of emails.fifo" in answer.text
    answer = server.session.delete(server.url + "/v1/pools/emails-dlq.fifo", timeout=30)
    assert answer.status_code == 409 and "emails.fifo" in answer.json()["detail"]
    for name in ("emails.fifo", "emails-dlq.fifo"):
        answer = server.session.delete(f"{server.url}/v1/pools/{name}", timeout=30)
        assert (answer.status_code, answer.content) == (204, b"")
        answer = server.session.delete(f"{server.url}/v1/pools/{name}", timeout=30)
        assert answer.status_code == 404 and answer.headers["Content-Type"] == "application/problem+json"


def lines(server, message):
    """The fields of each line of the log that says this."""
    found = [json.loads(line) for line in server.text().splitlines() if line.startswith("{")]
    return [line for line in found if line["message"] == message]


def test_who_makes_empties_and_deletes_a_pool_leaves_a_line_with_its_messages(servers):
    server = servers("--log-format", "json", pools=())
    server.post("/v1/pools", json={"name": "emails.fifo", "shards": 2})
    created = {line["pool"]: line["shards"] for line in lines(server, "Pool created")}
    assert created == {"emails.fifo": "2", "emails-dlq.fifo": "1"}
    shards = [server.send("emails.fifo", f"g{n}", "secret")["shard"] for n in range(12)]
    server.answer("PurgeQueue", {"QueueUrl": "emails-0000.fifo"})
    server.post("/v1/pools/emails.fifo/purge")
    first, second = lines(server, "Purged")
    assert (first["shard"], first["messages"]) == ("emails-0000.fifo", str(shards.count("emails-0000.fifo")))
    assert (second["pool"], second["messages"]) == ("emails.fifo", str(shards.count("emails-0001.fifo")))
    assert "shard" not in second
    for n in range(5):
        server.send("emails.fifo", f"h{n}", "secret")
    server.session.delete(server.url + "/v1/pools/emails.fifo", timeout=30)
    [deleted] = lines(server, "Pool deleted")
    assert (deleted["pool"], deleted["messages"]) == ("emails.fifo", "5")
    server.answer("DeleteQueue", {"QueueUrl": "emails-dlq.fifo"})
    assert [line["messages"] for line in lines(server, "Pool deleted")] == ["5", "0"]
    assert "secret" not in server.text()


def test_a_redrive_leaves_a_line_with_its_end(servers):
    server = servers("--log-format", "json", pools=("emails.fifo=1", "other.fifo=1"))
    for n in range(3):
        server.send("emails-dlq.fifo", "g", f"secret{n}")
    arn = "arn:aws:sqs:us-east-1:000000000000:"
    server.answer("StartMessageMoveTask", {
        "SourceArn": arn + "emails-dlq.fifo"})
    [failed] = wait_until(lambda: lines(server, "Redrive ended"), 20, "the end of the redrive")
    assert failed["level"] == "warning" and failed["pool"] == "emails-dlq.fifo" and failed["task"]
    assert (failed["status"], failed["messages"]) == ("FAILED", "0")
    assert failed["reason"] == "3 messages do not say which queue they came from"
    wait_until(lambda: server.pool("emails-dlq.fifo")["backlog"] == 3, 10, "messages that were given back")
    server.answer("StartMessageMoveTask", {
        "SourceArn": arn + "emails-dlq.fifo", "DestinationArn": arn + "other.fifo"})
    ended = wait_until(lambda: lines(server, "Redrive ended")[1:], 20, "the end of the redrive")
    assert [(line["status"], line["messages"], "reason" in line) for line in ended] == [("COMPLETED", "3", False)]
    assert "secret" not in server.text()
