# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What survives a restart, of the server or of the worker: a message that was delivered is not delivered again by the
same worker, and one that kills its workers blocks nobody for ever."""

import threading
import time

import pytest
from conftest import wait_until
from faulty_queue import DELETE, EXTEND, faulty_queue
from receivers import webhook
from test_worker_faults import DEAD, POOL, assert_each_once_and_in_order, left, own, send, work

GROUPS = 40


@pytest.mark.parametrize("handles", ["good", "bad"])
@pytest.mark.parametrize("answers", ["while it is away", "when it is back"])
@pytest.mark.parametrize("end", ["kill9", "stop"])
def test_deliveries_under_way_when_the_server_restarts_are_not_repeated(own, servers, work, end, answers, handles):
    """`bad`: the handles from before the restart are good for nothing after it, as with a server that forgets them."""
    gate, ended = threading.Event(), []

    def answer(request):
        gate.wait(60)
        ended.append(request["body"])
        return 200, {}

    bodies = send(own, GROUPS, 5)
    with webhook(answer) as hook, faulty_queue(own.url) as queue:
        worker = work(queue.url, "--deliver", hook.url, "--visibility-seconds", "4")
        wait_until(lambda: len(hook.bodies) == GROUPS, 30, "deliveries to all groups")
        getattr(own, end)()
        old = set(queue.bodies)
        if handles == "bad":
            for action in (DELETE, EXTEND):
                queue.on[action] = lambda call: call.fail_entries(
                    "ReceiptHandleIsInvalid", lambda entry: entry["ReceiptHandle"] in old)
        if answers == "while it is away":
            gate.set()
            wait_until(lambda: len(ended) == GROUPS, 30, "an end of all deliveries")
        extensions = queue.count(EXTEND)
        again = servers(pools=(POOL + "=1",), name="own", port=own.port)
        if answers == "when it is back":
            firsts = {f"g{group}/0" for group in range(GROUPS)}

            def came_again():
                return firsts <= {queue.bodies[handle] for handle in set(queue.bodies) - old}

            # A server that was stopped in good order knows what is in flight, and good handles go on being extended.
            is_kept = (end, handles) == ("stop", "good")
            wait_until(lambda: queue.count(EXTEND) > extensions + GROUPS if is_kept else came_again(), 25,
                       "extensions" if is_kept else "a second receive of each")
            gate.set()
        wait_until(lambda: left(again) == 0, 90, "an empty pool")
        worker.stop()
    assert_each_once_and_in_order(hook.bodies, bodies)
    assert left(again, DEAD) == 0


def test_a_message_that_kills_its_workers_ends_in_the_dead_letter_queue_and_nothing_else_does(own, work, tmp_path):
    poison, out = "p0/0", tmp_path / "out"
    send(own, 1, 3, prefix="p")
    others = send(own, 10, 3)
    command = f'read -r line; echo "$line" >> {out}; [ "$line" != {poison} ] || kill -9 $PPID; exit 0'
    # With shards that are given to it the next worker waits for no lease of the one that was killed.
    kills, end = 0, time.monotonic() + 120
    while left(own):
        assert time.monotonic() < end, f"{kills} kills, {left(own)} messages left"
        worker = work(own.url, "--deliver", f"exec:{command}", "--max-attempts", "3", "--visibility-seconds", "2",
                      "--shards", "0")
        wait_until(lambda: not worker.is_running or left(own) == 0, 60, "a kill or an empty pool")
        if not worker.is_running:
            assert worker.popen.returncode == -9
            kills += 1
    worker.stop()
    found = out.read_text().split()
    assert found.count(poison) == kills and 3 <= kills <= 6
    dead = own.drain(DEAD)
    assert [message["Body"] for message in dead] == [poison], "and nothing that was only held beside it"
    assert set(found) == {poison, "p0/1", "p0/2", *others}
    assert [line for line in found if line in ("p0/1", "p0/2")] == ["p0/1", "p0/2"]


def test_groups_that_fail_keep_no_good_group_waiting(own, work):
    with webhook(lambda request: (500 if request["body"].startswith("bad") else 200, {})) as hook:
        send(own, 20, 10, prefix="bad")
        worker = work(own.url, "--deliver", hook.url, "--max-attempts", "1000", "--shards", "0")
        wait_until(lambda: hook.bodies.count("bad19/0") >= 2 and len(set(hook.bodies)) == 20, 60, "retries of all")
        good, began = send(own, 100, 1), time.monotonic()
        wait_until(lambda: set(good) <= set(hook.bodies), 60, "all good messages")
        assert time.monotonic() - began < 10
        delivered = [body for body in hook.bodies if body.startswith("g")]
        assert_each_once_and_in_order(delivered, good)
        assert {body for body in hook.bodies if body.startswith("bad")} == {f"bad{group}/0" for group in range(20)}
        worker.stop()
    assert left(own) == 200 and left(own, DEAD) == 0


def test_a_message_that_may_have_arrived_is_tried_again_there_and_nowhere_else(own, work):
    """The first webhook takes the body and cuts the connection: nobody knows what became of the message."""
    keys = []

    def cut(request):
        keys.append(request["headers"]["Idempotency-Key"])
        if len(keys) <= 2:
            raise ConnectionAbortedError("as the test says")
        return 200, {}

    with webhook(cut) as first, webhook() as second:
        first.server.handle_error = lambda *_: None
        identifier = own.send(POOL, "g0", "g0/0")["id"]
        own.send(POOL, "g0", "g0/1")
        worker = work(own.url, "--deliver", first.url, "--deliver", second.url)
        wait_until(lambda: left(own) == 0, 60, "an empty pool")
        worker.stop()
    assert first.bodies == ["g0/0", "g0/0", "g0/0", "g0/1"] and second.bodies == []
    assert keys[:3] == [identifier] * 3 and keys[3] != identifier
    assert left(own, DEAD) == 0
