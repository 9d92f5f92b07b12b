# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Pools that are made, changed and removed: by many callers at once, by two servers, and by one that is killed."""

import json
import random
import threading
import time

import pytest

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
