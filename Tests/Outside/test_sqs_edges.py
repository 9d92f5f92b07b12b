# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Pools of remote queues at their edges: queues as AWS makes them, what nobody knows of them, what does not hold."""

import json
import os
import re
import socket
import sqlite3
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
import requests

from conftest import Server, run, wait_until
from proxy import PassingProxy
from test_control import Account

REGION = ["--region", "us-east-1"]


@pytest.fixture
def account(moto, name):
    return Account(moto, name)


def queue(account, word, **attributes):
    """A FIFO queue as AWS makes it unless told otherwise."""
    name = f"{account.stem}-{word}.fifo"
    return account.sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true", **attributes})["QueueUrl"]


def adopt(account, *urls, check=0):
    return account.command("adopt", *[flag for url in urls for flag in ("--queue", url)], check=check)


# Making and taking over


def test_another_quota_is_refused_and_the_field_is_named(account):
    account.create(1, "--quota", "300")
    before = account.item("POOL#" + account.pool)
    assert "0 queues created" in account.create(1, "--quota", "300").stdout
    assert "0 queues created" in account.create(1).stdout
    refused = account.create(1, "--quota", "500", check=1).stderr
    assert "quota" in refused and "300" in refused and "500" in refused
    assert account.item("POOL#" + account.pool) == before


def test_another_quota_is_refused_by_adopt_too(account):
    url = account.fifo(account.stem + "-a.fifo")
    adopt(account, url)
    refused = account.command("adopt", "--queue", url, "--quota", "500", check=1).stderr
    assert "quota" in refused and "500" in refused and "none" in refused


def test_adopt_takes_queues_as_aws_makes_them_and_says_what_it_changes(account):
    urls = [queue(account, "a"), queue(account, "b")]
    before = account.attributes(urls[0])
    assert (before["DeduplicationScope"], before["FifoThroughputLimit"]) == ("queue", "perQueue")
    done = adopt(account, *urls)
    for word in "ab":
        assert f"{account.stem}-{word}.fifo: DeduplicationScope is set to 'messageGroup', was 'queue'" in done.stdout
        assert f"{account.stem}-{word}.fifo: FifoThroughputLimit is set to 'perMessageGroupId', was 'perQueue'" \
            in done.stdout
    for url in urls:
        after = account.attributes(url)
        assert after["DeduplicationScope"] == "messageGroup"
        assert after["FifoThroughputLimit"] == "perMessageGroupId"
    assert "as it should be" in account.command("verify").stdout
    again = adopt(account, *urls)
    assert "is set to" not in again.stdout and "0 queues created, 2 found" in again.stdout


def test_a_conflict_in_the_last_queue_leaves_the_first_as_it_was(account):
    urls = [queue(account, "a"), queue(account, "b", VisibilityTimeout="61")]
    done = adopt(account, *urls, check=1)
    assert "VisibilityTimeout is '61', should be '30'" in done.stderr
    assert account.attributes(urls[0])["DeduplicationScope"] == "queue"
    assert not account.sqs.list_queue_tags(QueueUrl=urls[0]).get("Tags")
    assert account.item("POOL#" + account.pool) is None


def test_the_pool_takes_messages_as_large_as_the_least_of_its_queues(account, servers):
    urls = [queue(account, "a"), queue(account, "b", MaximumMessageSize="262144")]
    done = adopt(account, *urls)
    assert f"{account.stem}-b.fifo: MaximumMessageSize is '262144': the pool's messages have at most 262144 bytes" \
        in done.stdout
    assert account.attributes(urls[1])["MaximumMessageSize"] == "262144"
    assert "as it should be" in account.command("verify").stdout
    server = servers(*account.flags, name="front", pools=())
    path = f"/v1/pools/{account.pool}/messages"
    assert server.post(path, json={"group": "g", "body": "x" * 262_144}).status_code == 202
    refused = server.post(path, json={"group": "g", "body": "x" * 262_145})
    assert refused.status_code == 400 and "262144" in refused.text, refused.text
    account.sqs.set_queue_attributes(QueueUrl=urls[1], Attributes={"MaximumMessageSize": "131072"})
    differences = account.command("verify", check=1).stdout
    assert "MaximumMessageSize is '131072', should be '262144'" in differences
    server.stop()


def test_a_key_of_kms_is_kept_and_told(account):
    key = "alias/mail"
    url = queue(account, "a", KmsMasterKeyId=key)
    done = adopt(account, url)
    assert f"{account.stem}-a.fifo: is encrypted with a key of KMS, which stays" in done.stdout
    assert account.attributes(url)["KmsMasterKeyId"] == key
    assert "as it should be" in account.command("verify").stdout


class CountingProxy(PassingProxy):
    """Counts requests by their target."""

    def do_POST(self):
        self.targets.append(self.headers.get("X-Amz-Target", ""))
        self.answer(*self.pass_on(self.body()))


def test_a_table_that_is_there_is_looked_at_once(account):
    targets = []
    handler = type("Handler", (CountingProxy,), {"target": account.url, "targets": targets})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    account.flags[3] = f"http://127.0.0.1:{proxy.server_port}"
    account.create(1)
    targets.clear()
    flags = ["--control", "dynamodb:" + account.table, *REGION]
    run("pool", "create", account.pool, "--backend", "sqs", "--shards", 1, *flags, "--endpoint-url",
        f"http://127.0.0.1:{proxy.server_port}", check=0)
    proxy.shutdown()
    assert targets.count("DynamoDB_20120810.DescribeTable") == 1


# What nobody knows


@pytest.fixture
def front(account, servers, tmp_path):
    account.create(2)
    server = servers(*account.flags, name="front", pools=())
    yield server
    server.stop()


def test_what_a_remote_queue_does_not_tell_is_unknown_and_never_0(account, front):
    front.send(account.pool, "g", "b")
    detail = front.pool(account.pool)
    assert detail["oldestAgeSeconds"] is None
    assert [shard["oldestAgeSeconds"] for shard in detail["shards"]] == [None, None]
    assert {pool["oldestAgeSeconds"] for pool in front.get("/v1/pools").json()["pools"]} == {None}
    metrics = front.get("/metrics").text.splitlines()
    for series in ("oldest_age_seconds", "expired_messages_total", "dead_letter_messages_total"):
        assert not [line for line in metrics if line.startswith(f"queuepool_{series}{{")], series
    assert [line for line in metrics if line.startswith("queuepool_sent_messages_total{") and line.endswith(" 1")]
    schemas = front.get("/openapi.json").json()["components"]["schemas"]
    for schema in ("Pool", "PoolSummary", "Shard"):
        assert schemas[schema]["properties"]["oldestAgeSeconds"]["type"] == ["number", "null"]
    assert "oldestAgeSeconds === null" in front.get("/").text


def test_the_commands_show_a_pool_of_remote_queues(account, front):
    front.send(account.pool, "g", "b")
    shown = run("pool", "show", account.pool, "--endpoint", front.url, check=0).stdout.splitlines()
    # Behind it are two rates and, of a shard, the age of its lease and its owner.
    *lines, last = [line.split() for line in shown]
    assert [line[-5] for line in lines] + [last[-3]] == ["OLDEST", "-", "-", "-"]
    listed = run("pool", "list", "--endpoint", front.url, check=0).stdout.splitlines()
    assert {line.split()[-1] for line in listed[1:]} == {"-"}
    assert json.loads(run("pool", "show", account.pool, "--endpoint", front.url, "--json", check=0).stdout)[
        "oldestAgeSeconds"] is None


def test_a_benchmark_runs_over_a_pool_of_remote_queues(servers, name, tmp_path):
    back = servers(name="back", pools=())
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", back.url, *REGION]
    run("pool", "create", name + ".fifo", "--backend", "sqs", "--shards", 2, *control, check=0)
    server = servers(*control, name="front", pools=())
    run("bench", "--endpoint", server.url, "--pool", name + ".fifo", "--seconds", 1, "--warm-up-seconds", 1,
        "--connections", 2, check=0)
    server.stop()
    back.stop()


# What does not hold


class SpoilingProxy(PassingProxy):
    """The body of one message arrives changed."""

    def do_POST(self):
        status, content, headers = self.pass_on(self.body())
        self.answer(status, content.replace(b"to be spoilt", b"that is wrong"), headers)


def test_a_message_with_a_wrong_digest_is_counted_and_its_id_logged_once(servers, name, tmp_path):
    back = servers(name="back", pools=())
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (SpoilingProxy,), {"target": back.url}))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{proxy.server_port}"
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", url, *REGION]
    pool = name + ".fifo"
    run("pool", "create", pool, "--backend", "sqs", "--shards", 1, *control, check=0)
    server = servers(*control, name="front", pools=())
    spoilt = server.send(pool, "ill", "to be spoilt")["id"]
    server.send(pool, "well", "whole")
    ask = {"QueueUrl": pool, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 5, "VisibilityTimeout": 1}
    assert [m["Body"] for m in server.answer("ReceiveMessage", ask)["Messages"]] == ["whole"]

    def count():
        lines = [line for line in server.get("/metrics").text.splitlines()
                 if line.startswith("queuepool_damaged_messages_total{")]
        return sum(int(line.split()[-1]) for line in lines)

    assert count() == 1
    # Left to its visibility timeout: it comes again, and is counted again.
    wait_until(lambda: server.answer("ReceiveMessage", {**ask, "WaitTimeSeconds": 1}) and count() >= 2, 30,
               "the message a second time")
    told = [line for line in server.text().splitlines() if spoilt in line]
    assert len(told) == 1 and "digest" in told[0], server.text()
    assert "spoilt" not in server.text() and "that is wrong" not in server.text()
    server.stop()
    proxy.shutdown()
    back.stop()


def test_a_pool_that_cannot_be_read_stops_no_other(account, servers):
    account.create(1)
    ill = Account(account.url, account.stem + "x")
    ill.flags = account.flags
    ill.create(1)
    key = {"pk": {"S": "POOLS"}, "sk": {"S": "POOL#" + ill.pool}}
    account.dynamodb.update_item(TableName=account.table, Key=key, UpdateExpression="SET slots = :s",
                                 ExpressionAttributeValues={":s": {"B": b"\x00"}})
    before = account.item("POOL#" + ill.pool)
    server = servers(*account.flags, name="front", pools=())
    assert server.send(account.pool, "g", "b")["id"]
    assert [pool["name"] for pool in server.get("/v1/pools").json()["pools"] if pool["name"] == ill.pool] == []
    for answer in (server.get(f"/v1/pools/{ill.pool}"),
                   server.post(f"/v1/pools/{ill.pool}/messages", json={"group": "g", "body": "b"}),
                   server.action("GetQueueUrl", {"QueueName": ill.pool}),
                   server.post("/v1/pools", json={"name": ill.pool, "shards": 1})):
        assert answer.status_code in (500, 503), (answer.status_code, answer.text)
    told = [line for line in server.text().splitlines() if ill.pool in line and "cannot be read" in line]
    assert told and "error" in told[0].lower(), server.text()
    assert account.item("POOL#" + ill.pool) == before
    server.stop()


def test_a_server_follows_past_a_pool_that_became_unreadable_and_goes_on_with_what_it_holds(account, servers):
    account.create(1)
    server = servers(*account.flags, name="front", pools=())
    server.send(account.pool, "g", "before")
    account.dynamodb.update_item(
        TableName=account.table, Key={"pk": {"S": "POOLS"}, "sk": {"S": "POOL#" + account.pool}},
        UpdateExpression="REMOVE slots")
    later = Account(account.url, account.stem + "x")
    later.flags = account.flags
    later.create(1)
    wait_until(lambda: server.get(f"/v1/pools/{later.pool}").status_code == 200, 10, "the new pool")
    server.send(account.pool, "g", "after")
    server.stop()


# Where it runs


def test_a_server_on_one_processor_starts_with_its_pools_in_dynamodb(account, tmp_path):
    """Opening pools waits for answers of AWS, and getting credentials needs a thread of its own meanwhile."""
    account.create(1)
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(everywhere)})
    try:
        server = Server(tmp_path / "one", *account.flags, pools=(), ready=False)
    finally:
        os.sched_setaffinity(0, everywhere)
    try:
        server.wait_ready(60)
        server.send(account.pool, "g", "b")
        server.stop()
    finally:
        server.kill9()


def test_files_of_a_pool_that_cannot_be_read_are_kept_until_it_can(servers, name):
    """The same with files: they would seem to be nobody's, and what is nobody's is removed at a start."""
    well, ill = f"{name}.fifo", f"{name}x.fifo"
    server = servers(pools=(f"{well}=2", f"{ill}=2"))
    server.send(ill, "g", "kept")
    server.stop()
    path = server.data / "control.sqlite"
    with closing(sqlite3.connect(path)) as control, control:
        slots = control.execute("SELECT slots FROM pools WHERE name = ?", (ill,)).fetchone()[0]
        control.execute("UPDATE pools SET slots = x'00' WHERE name = ?", (ill,))
    server = servers(pools=(f"{well}=2", f"{ill}=2"))
    server.send(well, "g", "served")
    assert server.post(f"/v1/pools/{ill}/messages", json={"group": "g", "body": "b"}).status_code == 503
    assert server.post("/v1/pools", json={"name": f"{name}x-0001.fifo", "shards": 1}).status_code == 409
    server.stop()
    with closing(sqlite3.connect(path)) as control, control:
        control.execute("UPDATE pools SET slots = ? WHERE name = ?", (slots, ill))
    server = servers(pools=())
    assert [message["Body"] for message in server.drain(ill)] == ["kept"]
    server.stop()


def test_a_tls_handshake_that_is_reset_is_tried_again(servers, name, tmp_path):
    """Nothing was sent on such a connection: the sender waits for the next attempt and is not told that it failed."""
    pool = name + ".fifo"
    back = servers(name="back", pools=())
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", *REGION]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 1, *control, "--endpoint-url", back.url, check=0)
    listener = socket.create_server(("127.0.0.1", 0))
    with closing(sqlite3.connect(tmp_path / "control.sqlite")) as stored, stored:
        stored.execute("UPDATE shards SET endpoint = ?", (f"https://127.0.0.1:{listener.getsockname()[1]}",))
    handshakes = []

    def reset():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            handshakes.append(connection)

    threading.Thread(target=reset, daemon=True).start()
    server = servers(*control, name="front", pools=())
    with ThreadPoolExecutor(1) as threads:
        sent = threads.submit(
            requests.post, f"{server.url}/v1/pools/{pool}/messages", json={"group": "g", "body": "b"}, timeout=60)
        before = len(handshakes)
        # Counts of the queue are asked for once in five seconds at most: so many are the send's.
        wait_until(lambda: sent.done() or len(handshakes) > before + 6, 25, "more attempts")
        is_held = not sent.done()
        server.kill9()
        assert is_held, sent.result().text
    listener.close()
    back.stop()
