# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Redrive out of dead-letter queues in several places: order within a group holds in them and after it."""

import pytest
from conftest import Process, run, wait_until
from test_sqs_shards import drain, in_order, send

GROUPS, EACH = 8, 10


@pytest.fixture
def control(tmp_path):
    return ["--control", f"sqlite:{tmp_path}/control.sqlite"]


def redriven(server, pool):
    """Redrives all of a pool's dead letters; the task at its end."""
    answer = server.post(f"/v1/pools/{pool}/dead-letters/redrive", json={})
    assert answer.status_code == 202, answer.text

    def ended():
        task = server.get(f"/v1/pools/{pool}/dead-letters/redrive").json()
        return task if task["status"] not in ("RUNNING", "CANCELLING") else None

    return wait_until(ended, 60, "the end of the redrive")


def originals(server, queue):
    """By group, the ids that dead letters had in their pool, in the order of their queue."""
    found = {}
    for letter in server.get(f"/v1/pools/{queue}/dead-letters?limit=500").json()["deadLetters"]:
        found.setdefault(letter["group"], []).append(letter["originalId"])
    return found


def stored(server, queue):
    shown = server.pool(queue)
    return shown["backlog"] + shown["inFlight"]


def test_order_holds_in_the_dead_letter_queues_of_two_places_and_after_a_redrive(servers, name, control, tmp_path):
    pool, grave = name + ".fifo", name + "-dlq.fifo"
    backs = [servers(name=f"back{i}", pools=()) for i in range(2)]
    access = [*control, "--endpoint-url", backs[0].url, "--region", "us-east-1"]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--shard-endpoint", f"1={backs[1].url}",
        *access, check=0)
    front = servers(*control, "--region", "us-east-1", name="front", pools=())
    for turn in range(5):
        sent = [(f"g{i % GROUPS}", f"{turn}-g{i % GROUPS}-{i // GROUPS}") for i in range(GROUPS * EACH)]
        results = send(front, pool, sent)
        assert len({result["shard"] for result in results}) == 2
        # By way of the pool's server and straight to its queues, in turns.
        way = ["--endpoint", front.url] if turn % 2 else access
        worker = Process(["work", "--pool", pool, "--deliver", "exec:exit 65", *way], tmp_path / f"work{turn}.log")
        wait_until(lambda: sum(stored(back, grave) for back in backs) == len(sent)
                   and all(stored(backs[i], f"{name}-{i:04}.fifo") == 0 for i in range(2)), 60, "dead letters")
        worker.stop()
        ids = {}
        for (group, _), result in zip(sent, results, strict=True):
            ids.setdefault(group, []).append(result["id"])
        dead = [originals(back, grave) for back in backs]
        assert all(dead) and not set(dead[0]) & set(dead[1]), "each group has its dead letters in one place"
        assert dead[0] | dead[1] == ids
        task = redriven(front, pool)
        assert (task["status"], task["moved"], task["failureReason"]) == ("COMPLETED", len(sent), None), task
        in_order(drain(front, pool, len(sent)), sent)
    front.stop()
