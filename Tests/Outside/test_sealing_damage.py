# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A sealed row that changes on the disk while the server runs: its messages wait, are told of, and hinder nobody else."""

import os
import shutil
import sqlite3

from conftest import wait_until
from test_sealing import keyfile  # noqa: F401

POOL = "emails.fifo"
# More than the server keeps in memory, of bodies and of pages, so that it has to read what was changed.
FILLING, SIZE = 80, 200_000


def oldest_body(path, shard, scratch):
    """A shard's oldest block as it is stored, read from a copy, because the server has the file; None if it has none."""
    for end in ("", "-wal"):
        shutil.copy(f"{path}{end}", scratch / f"copy{end}")
    with sqlite3.connect(scratch / "copy") as database:
        row = database.execute(
            "SELECT body FROM log JOIN shards ON shard = number WHERE kind = 17 AND name = ? ORDER BY id LIMIT 1",
            (shard,)).fetchone()
    database.close()
    return row and row[0]


def flip(path, needle):
    """Flips a bit of a part of a row, wherever it lies in a store's file and its log."""
    changed = 0
    for end in ("", "-wal"):
        content = (path.parent / (path.name + end)).read_bytes()
        place = content.find(needle)
        while place >= 0:
            with open(f"{path}{end}", "r+b") as file:
                os.pwrite(file.fileno(), bytes([needle[0] ^ 1]), place)
            changed += 1
            place = content.find(needle, place + 1)
    assert changed


def test_a_body_that_changes_under_a_running_server_is_never_delivered_and_hinders_no_other_group(
        servers, keyfile, tmp_path):
    arguments = ("--master-key-file", keyfile(), "--cache-bytes", 1 << 20)
    server = servers(*arguments, pools=(f"{POOL}=2",))
    damaged = "damaged" + "x" * SIZE
    shard = server.send(POOL, "g", damaged)["shard"]
    sent = {f"{number} " + "y" * SIZE for number in range(FILLING)}
    for number, body in enumerate(sorted(sent)):
        server.send(POOL, f"other{number % 10}", body)
    server.send(POOL, "g", "behind it")
    # What the journal has is carried into SQLite, where the test finds it.
    server.stop()
    server = servers(*arguments, pools=(f"{POOL}=2",), port=server.port)
    path, body = next((path, body) for path in server.data.glob("shards/store-*.sqlite")
                      if (body := oldest_body(path, shard, tmp_path)))
    flip(path, body[SIZE // 2:][:32])
    got = []
    for _ in range(FILLING):
        answer = server.action("ReceiveMessage", {
            "QueueUrl": POOL, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600})
        messages = answer.json().get("Messages", []) if answer.status_code == 200 else []
        assert answer.status_code == 200 or answer.status_code >= 500
        got += [message["Body"] for message in messages]
        if messages:
            server.answer("DeleteMessageBatch", {"QueueUrl": POOL, "Entries": [
                {"Id": str(i), "ReceiptHandle": message["ReceiptHandle"]} for i, message in enumerate(messages)]})
        if len(got) == FILLING:
            break
    assert set(got) == sent and len(got) == FILLING
    # Told once, with what an operator looks for, and with nothing of the message.
    lines = [line for line in server.text().splitlines() if "A row is not as it was sealed" in line]
    assert len(lines) == 1 and shard in lines[0] and path.name in lines[0] and "row=" in lines[0]
    unready = server.get("/readyz")
    assert unready.status_code == 503 and shard in unready.text and path.name in unready.text
    # Everything else goes on, in the same shard, too.
    server.send(POOL, "later", "later")
    assert [message["Body"] for message in server.drain(POOL)] == ["later"]
    assert server.answer("PurgeQueue", {"QueueUrl": POOL}) is not None
    wait_until(lambda: server.get("/readyz").status_code == 200, what="a server that is ready again")
    server.send(POOL, "g", "after the purge")
    assert [message["Body"] for message in server.drain(POOL)] == ["after the purge"]
