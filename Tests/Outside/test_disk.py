# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Disks that fail: a full one, and a write-ahead log whose end is not what was written."""

import json
import os
import shutil
import subprocess

import pytest
import requests
from conftest import Server, wait_until
from errors import assert_problem

POOL = "emails.fifo"


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 192 MiB (a shard keeps up to 32 MiB of log), where the machine lets us make one."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=192m", "queuepool-test", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        yield None
        return
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(server, send, tries=4_000):
    """Sends until something is refused: what was acknowledged, and the refusal."""
    acknowledged = []
    for i in range(tries):
        answer = send(i)
        if answer.status_code >= 300:
            return acknowledged, answer
        acknowledged.append(answer.json()["id"])
    raise AssertionError("the disk did not fill")


def big(server, i):
    return server.post(f"/v1/pools/{POOL}/messages", json={"group": f"g{i % 8}", "body": "x" * 60_000})


def test_a_full_disk_fails_sends_and_the_server_lives(small_disk, tmp_path):
    """Without the right to mount, a limit on the size of files stands in for the disk, and a restart for more room."""
    ballast = (small_disk or tmp_path) / "ballast"
    ballast.write_bytes(b"\0" * (48 << 20))
    limit = {} if small_disk else {"file_bytes_max": 40 << 20}
    server = Server(small_disk or tmp_path / "limited", pools=(POOL + "=2",), **limit)
    acknowledged, refusal = fill(server, lambda i: big(server, i))
    problem = assert_problem(refusal, 503)
    assert "full" in (problem["title"] + problem["detail"]).lower(), problem
    assert acknowledged, "nothing was accepted before"
    sqs = server.action("SendMessage", {
        "QueueUrl": POOL, "MessageBody": "x" * 60_000, "MessageGroupId": "g0", "MessageDeduplicationId": "s"})
    assert sqs.status_code in (500, 503) and "room" in sqs.text, sqs.text
    assert server.get("/healthz").status_code == 200
    assert server.pool(POOL)["backlog"] >= len(acknowledged)
    ballast.unlink()
    if not small_disk:
        server.stop()
        server = Server(server.directory, pools=(POOL + "=2",), port=server.port)
    wait_until(lambda: big(server, 0).status_code == 202, what="that sends succeed again when there is room")
    stored = [m["MessageId"] for m in server.drain(POOL)]
    assert len(stored) == len(set(stored)) and set(acknowledged) <= set(stored), "nothing acknowledged is lost"
    assert server.pool(POOL)["inFlight"] == 0
    server.stop()
    again = Server(server.directory, pools=(POOL + "=2",), port=server.port)
    assert again.drain(POOL) == [], "deletes that were answered stay"
    again.stop()


def take_the_rest(mount):
    """Somebody else writes until the disk is full."""
    with open(mount / f"ballast{len(list(mount.iterdir()))}", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(b"\0" * 4_096)
        except OSError:
            pass


@pytest.mark.parametrize("size", ["192m", "8m"])
def test_a_full_disk_can_be_emptied(tmp_path, size):
    """Sends stop first. Deletes go on until nothing is left, before and after a restart, and sends come back."""
    mount = tmp_path / "data"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "queuepool-test", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("no right to mount a file system")
    server = None
    try:
        server = Server(tmp_path, pools=(POOL + "=2",))
        server.post("/", data=json.dumps({"QueueName": "dead.fifo", "Attributes": {"FifoQueue": "true"}}), headers={
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.CreateQueue"})
        acknowledged, refusal = fill(server, lambda i: big(server, i))
        assert_problem(refusal, 503)
        ready = server.get("/readyz")
        assert assert_problem(ready, 503)["detail"].endswith("too little room for more messages")
        take_the_rest(mount)
        first = server.answer("ReceiveMessage", {"QueueUrl": POOL, "MaxNumberOfMessages": 10})["Messages"]
        gone = server.answer("DeleteMessageBatch", {"QueueUrl": POOL, "Entries": [
            {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(first)]})
        assert "Failed" not in gone, gone
        assert server.get("/readyz").status_code == 503
        server.stop()
        server = Server(tmp_path, pools=(POOL + "=2",), port=server.port, ready=False)
        wait_until(lambda: "Listening" in server.text().split("Stopped")[-1], what="the start")
        left = [m["MessageId"] for m in first] + [m["MessageId"] for m in server.drain(POOL)]
        assert sorted(left) == sorted(acknowledged), "nothing acknowledged is lost"
        for ballast in mount.glob("ballast*"):
            ballast.unlink()
        wait_until(lambda: server.get("/readyz").status_code == 200, what="readiness")
        answer = big(server, 0)
        assert answer.status_code == 202, answer.text
        text = server.text()
        assert text.count("Sends are refused") < 4, text
    finally:
        if server and server.is_running:
            server.kill9()
        subprocess.run(["umount", "-l", str(mount)], check=True)


def test_the_largest_size_of_a_file_is_a_full_disk_too(servers):
    server = servers(pools=(POOL + "=1",), file_bytes_max=2 << 20)
    acknowledged, refusal = fill(server, lambda i: big(server, i))
    assert refusal.status_code in (500, 503)
    assert server.get("/healthz").status_code == 200
    first = server.answer("ReceiveMessage", {"QueueUrl": POOL})["Messages"][0]
    server.answer("DeleteMessage", {"QueueUrl": POOL, "ReceiptHandle": first["ReceiptHandle"]})
    acknowledged.remove(first["MessageId"])
    server.kill9()
    again = servers(pools=(POOL + "=1",), port=server.port)
    assert set(acknowledged) <= {m["MessageId"] for m in again.drain(POOL)}
    again.stop()


def logs(data):
    """The write-ahead logs and journals of the stores."""
    return sorted(path for end in ("-wal", "-commits*") for path in data.rglob("*" + end) if "shard" in str(path))


def written(log):
    """Bytes up to the zeros that a journal has ahead of its records."""
    return len(log.read_bytes().rstrip(b"\0"))


def test_garbage_behind_the_log_is_not_taken_for_messages(servers):
    """What a power cut may leave behind the last commit: the acknowledged messages before it are all there."""
    server = servers(pools=(POOL + "=2",))
    sent = [server.send(POOL, f"g{i % 5}", str(i))["id"] for i in range(300)]
    server.kill9()
    assert logs(server.data), "there is no write-ahead log to spoil"
    for log in logs(server.data):
        with open(log, "r+b") as file:
            # A journal's next record begins at a whole page.
            file.seek(-(-written(log) // 4_096) * 4_096 if "-commits" in log.name else log.stat().st_size)
            file.write(os.urandom(5_000))
    again = servers(pools=(POOL + "=2",), port=server.port)
    assert sorted(m["MessageId"] for m in again.drain(POOL)) == sorted(sent)
    again.stop()


@pytest.mark.parametrize("cut", [1, 4_096, 20_000])
def test_a_log_that_was_cut_off_opens_with_a_prefix_of_what_was_sent(servers, cut):
    """No promise holds for bytes that were synced and then destroyed; but what is left must be whole: of each group a
    beginning, in order, and the server works."""
    server = servers(pools=(POOL + "=1",))
    for i in range(200):
        server.send(POOL, f"g{i % 4}", str(i))
    server.kill9()
    for log in logs(server.data):
        os.truncate(log, max(0, written(log) - cut))
    again = servers(pools=(POOL + "=1",), port=server.port)
    left = {}
    for message in again.drain(POOL):
        left.setdefault(message["Attributes"]["MessageGroupId"], []).append(int(message["Body"]))
    for group, numbers in left.items():
        assert numbers == list(range(int(group[1:]), 200, 4))[:len(numbers)]
    again.send(POOL, "g0", "200")
    assert [m["Body"] for m in again.drain(POOL)] == ["200"]
    again.stop()


def test_a_copy_of_a_killed_servers_directory_is_the_same_queue(servers, tmp_path):
    server = servers(pools=(POOL + "=2",))
    sent = [server.send(POOL, "g", str(i))["id"] for i in range(50)]
    server.kill9()
    (tmp_path / "copy").mkdir()
    shutil.copytree(server.data, tmp_path / "copy" / "data")
    again = servers(pools=(POOL + "=2",), name="copy")
    assert [m["MessageId"] for m in again.drain(POOL)] == sent
    again.stop()


def test_a_file_that_is_no_database_stops_the_start_with_its_name(servers):
    server = servers(pools=(POOL + "=1",))
    server.stop()
    victim = next(path for path in server.data.rglob("*") if path.name == "store-0.sqlite")
    victim.write_bytes(b"this is no database" * 1_000)
    for log in logs(server.data):
        log.unlink()
    with pytest.raises(AssertionError, match="the server ended"):
        servers(pools=(POOL + "=1",), port=server.port)
    text = server.text()
    assert "shards/store-0.sqlite: " in text and "Fatal" not in text


def test_a_failed_send_may_be_repeated(servers):
    """Injected errors stand for a disk that fails now and then: repeated under its id, a message is stored once."""
    server = servers("--inject-error-rate", "0.3", pools=(POOL + "=2",))
    for i in range(60):
        while requests.post(f"{server.url}/v1/pools/{POOL}/messages", timeout=10, data=json.dumps(
                {"group": "g", "body": str(i), "deduplicationId": str(i)}),
                headers={"Content-Type": "application/json"}).status_code != 202:
            pass
    server.stop()
    again = servers(pools=(POOL + "=2",), port=server.port)
    assert [m["Body"] for m in again.drain(POOL)] == [str(i) for i in range(60)]
    again.stop()
