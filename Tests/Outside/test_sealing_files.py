# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Encryption at rest of what lies beside the shards' files: large bodies, tracking records, idempotency keys."""

import base64
import json
import os
import signal
import sqlite3
import time

import pytest
from conftest import wait_until
from test_bodies import NOTHING, metric, queue_of, receive, text_of
from test_sealing import keyfile, refused, snapshot  # noqa: F401
from test_tracking import track

POOL = "emails.fifo"
ONE = (f"{POOL}=1",)
MIB = 1 << 20
CANARIES = {
    "body": "canarybody", "large": "canarylarge", "subject": "canarysubject", "recipient": "canaryrecipient",
    "tag": "canarytag", "target": "canarytarget", "id": "canaryid", "key": "canarykey", "group": "canarygroup", "attribute": "canaryattribute"}
# Long enough for a word of another writing, and short enough for every place in base64.
FORMS = [(name, form) for name, word in CANARIES.items() for form in (
    word.encode(), word.encode().hex().encode(), word.encode("utf-16-le"),
    *(base64.b64encode(b"x" * shift + word.encode())[4 if shift else 0:12 if shift else 16] for shift in range(3)))]


def found(directory):
    """Which canaries are anywhere in a data directory, as they are or in another writing, in logs and shared memory too."""
    contents = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    return {name for name, form in FORMS if any(form in content for content in contents)}


def email(server, number=0, key=CANARIES["key"]):
    return server.post(f"/v1/pools/{POOL}/emails", json={
        "from": "shop@example.com", "to": f"{CANARIES['recipient']}{number}@example.com",
        "subject": f"{CANARIES['subject']} {number}", "text": f"{CANARIES['body']} {number}",
        "group": f"{CANARIES['group']}{number}", "tags": {"campaign": CANARIES["tag"]},
    }, headers={"Idempotency-Key": f"{key}{number}"})


def large(server, group="g", size=2 * MIB, pool=POOL, seed=CANARIES["large"]):
    server.boto().send_message(
        QueueUrl=server.url + "/" + pool if "://" not in pool else pool, MessageBody=text_of(size, seed),
        MessageGroupId=group, MessageDeduplicationId=f"{group}{seed}",
        MessageAttributes={"a": {"DataType": "String", "StringValue": CANARIES["attribute"]}})


def fill(server):
    sent = email(server)
    assert sent.status_code == 202, sent.text
    large(server)
    told = server.post(f"/v1/pools/{POOL}/outcomes", json={"outcomes": [
        {"id": sent.json()["id"], "state": "sent", "target": CANARIES["target"], "tags": {"campaign": CANARIES["tag"]}},
        {"id": CANARIES["id"], "state": "sent"}]})
    assert told.status_code == 204, told.text
    assert track(server, sent.json()["id"])["target"] == CANARIES["target"]
    return sent


def test_the_search_finds_what_is_not_sealed(servers):
    server = servers()
    fill(server)
    # The idempotency key too: it is the deduplication id of a request that has none.
    assert found(server.data) == set(CANARIES)


def test_nothing_that_a_caller_gave_is_in_any_file_and_all_comes_back(servers, keyfile):
    key = keyfile()
    server = servers("--master-key-file", key, pools=ONE)
    first = fill(server)
    assert {"bodies.sqlite-wal", "tracking.sqlite-wal", "idempotency.sqlite-wal"} <= {
        path.name for path in server.data.iterdir()}
    assert found(server.data) == set()
    server.kill9()
    assert found(server.data) == set()
    server = servers("--master-key-file", key, pools=ONE)
    assert track(server, first.json()["id"])["target"] == CANARIES["target"]
    assert track(server, CANARIES["id"])["state"] == "sent"
    again = email(server)
    assert again.content == first.content and again.headers["Idempotent-Replayed"] == "true"
    got = receive(server.boto(), server.url + "/" + POOL)
    assert text_of(2 * MIB, CANARIES["large"]) in [message["Body"] for message in got] and len(got) == 2
    server.stop()
    assert found(server.data) == set()
    for word in CANARIES.values():
        assert word not in server.text()


def flip(path, table, column, rows="ORDER BY rowid DESC LIMIT 1"):
    with sqlite3.connect(path) as database:
        (value,) = database.execute(f"SELECT {column} FROM {table} WHERE {column} IS NOT NULL {rows}").fetchone()
        changed = bytearray(value)
        changed[len(changed) // 2] ^= 1
        done = database.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (bytes(changed), value))
        assert done.rowcount == 1
    database.close()


def test_a_large_body_that_was_changed_is_held_back_and_ends_in_the_dead_letter_queue(servers, keyfile):
    key = keyfile()
    server = servers("--master-key-file", key, pools=ONE)
    sqs, dead = server.boto(), queue_of(server, "dead")
    queue = queue_of(server, "live", RedrivePolicy=json.dumps(
        {"deadLetterTargetArn": NOTHING + "dead.fifo", "maxReceiveCount": "2"}))
    for group, body in (("g", text_of(2 * MIB)), ("g", "behind it"), ("other", "of another group")):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=str(len(body)))
    server.stop()
    flip(server.data / "bodies.sqlite", "parts", "bytes")
    server = servers("--master-key-file", key, pools=ONE, port=server.port)
    got = receive(sqs, queue, VisibilityTimeout=1)
    assert [m["Body"] for m in got] == ["of another group"], "nothing overtakes in the group of the damaged one"
    assert metric(server, "queuepool_bodies_missing_total") == 1
    assert "A large body is not as it was sealed" in server.text() and "body=1" in server.text()
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=got[0]["ReceiptHandle"])
    assert [m["Body"] for m in wait_until(
        lambda: receive(sqs, queue, WaitTimeSeconds=2, VisibilityTimeout=1), what="the next")] == ["behind it"]
    told = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]
    assert told["ApproximateNumberOfMessages"] == "1"


def test_a_tracking_record_that_was_changed_is_not_known_and_told_without_what_is_in_it(servers, keyfile):
    key = keyfile()
    server = servers("--master-key-file", key, pools=ONE)
    id = fill(server).json()["id"]
    server.stop()
    with sqlite3.connect(server.data / "tracking.sqlite") as database:
        rows = database.execute("SELECT pool, id, tags FROM records").fetchall()
        for pool, row, sealed in rows:
            changed = bytearray(sealed)
            changed[-20] ^= 4
            database.execute("UPDATE records SET tags = ? WHERE pool = ? AND id = ?", (bytes(changed), pool, row))
    database.close()
    server = servers("--master-key-file", key, pools=ONE)
    # The queue itself knows a message that it has, and nothing of what was told of it.
    known = track(server, id)
    assert known["state"] == "queued" and "target" not in known
    assert track(server, CANARIES["id"])["state"] is None
    assert "Tracking records are not as they were sealed" in server.text()
    assert id not in server.text() and CANARIES["tag"] not in server.text()


@pytest.mark.parametrize("column", ["key", "answer"])
def test_an_idempotency_key_that_was_changed_is_forgotten_and_told_by_their_number(servers, keyfile, column):
    key = keyfile()
    server = servers("--master-key-file", key, pools=ONE)
    first, other = email(server, 1), email(server, 2)
    server.stop()
    flip(server.data / "idempotency.sqlite", "keys", column)
    server = servers("--master-key-file", key, pools=ONE)
    assert "Idempotency keys are not as they were sealed" in server.text() and "keys=1" in server.text()
    assert email(server, 1).headers.get("Idempotent-Replayed") == "true" and email(server, 1).content == first.content
    assert "Idempotent-Replayed" not in email(server, 2).headers
    assert other.status_code == 202


def test_another_key_or_none_is_refused_by_name_and_no_file_is_changed(servers, keyfile):
    server = servers("--master-key-file", keyfile(), pools=ONE)
    fill(server)
    server.stop()
    before = snapshot(server.data)
    assert "does not open the data keys" in refused(
        servers("--master-key-file", keyfile("other.key"), pools=ONE, ready=False))
    assert "--master-key-file must give the master key" in refused(servers(pools=ONE, ready=False))
    assert snapshot(server.data) == before


def test_what_lay_there_before_the_key_stays_and_what_comes_is_sealed(servers, keyfile):
    server = servers(pools=ONE)
    first = email(server, 1)
    large(server, "early", seed="earlier")
    told = {"id": "callers-id", "state": "sent", "target": "earlier"}
    assert server.post(f"/v1/pools/{POOL}/outcomes", json={"outcomes": [told]}).status_code == 204
    server.stop()
    key = keyfile()
    server = servers("--master-key-file", key, pools=ONE)
    large(server, "late", seed="canarylater")
    assert not any(b"canarylater" in content for content in snapshot(server.data).values())
    assert email(server, 1).headers["Idempotent-Replayed"] == "true"
    assert track(server, "callers-id")["target"] == "earlier"
    server.kill9()
    server = servers("--master-key-file", key, pools=ONE)
    got = []
    while len(got) < 3:
        more = receive(server.boto(), server.url + "/" + POOL)
        assert more
        got += [message["Body"] for message in more]
    assert {text_of(2 * MIB, "earlier"), text_of(2 * MIB, "canarylater")} < set(got)


@pytest.mark.parametrize("way", ["sighup", "start"])
def test_a_server_killed_while_another_master_key_takes_the_place_loses_nothing(servers, keyfile, way):
    """At whatever moment it dies, one of the two keys opens everything, and which one is told by the start."""
    old, new = keyfile("old.key"), keyfile("new.key")
    server = servers("--master-key-file", old, pools=ONE)
    first = fill(server)
    server.kill9()
    for turn in range(6):
        if way == "sighup":
            current = keyfile("current.key", text=old.read_text())
            server = servers("--master-key-file", current, pools=ONE)
            current.write_text(new.read_text())
            server.popen.send_signal(signal.SIGHUP)
            time.sleep(turn * 0.0007)
        else:
            server = servers("--master-key-file", new, "--old-master-key-file", old, pools=ONE, ready=False)
            time.sleep(turn * 0.04)
        server.kill9()
        if turn == 3:
            (server.data / "keys.json.new").write_bytes(b"half of a fi")
        server = servers("--master-key-file", new, "--old-master-key-file", old, pools=ONE)
        assert track(server, first.json()["id"])["target"] == CANARIES["target"]
        assert email(server).content == first.content
        server.kill9()
        old, new = new, keyfile(f"new{turn}.key")
    server = servers("--master-key-file", old, pools=ONE)
    got = [message["Body"] for message in receive(server.boto(), server.url + "/" + POOL)]
    assert len(got) == 2 and text_of(2 * MIB, CANARIES["large"]) in got
    assert os.listdir(server.data).count("keys.json.new") == 0
