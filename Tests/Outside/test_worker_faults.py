# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A worker before a queue that is slow, throttles, fails by halves, loses answers or begins anew: each message is
delivered once and in the order of its group, and the queue is empty in the end."""

import collections
import json
import threading
import time

import pytest
from conftest import wait_until
from faulty_queue import DELETE, EXTEND, RECEIVE, faulty_queue
from receivers import webhook

POOL = "emails.fifo"
DEAD = "emails-dlq.fifo"


@pytest.fixture
def own(servers):
    """A server with an empty pool of one shard."""
    return servers(pools=(POOL + "=1",), name="own")


@pytest.fixture
def queue(own):
    with faulty_queue(own.url) as queue:
        yield queue


@pytest.fixture
def work(workers):
    return lambda url, *arguments: workers(*arguments, endpoint=url)


def send(server, groups, each, prefix="g"):
    """`each` messages for each group, side by side; their bodies (`group/number`)."""
    bodies = [f"{prefix}{group}/{number}" for number in range(each) for group in range(groups)]
    lines = "".join(json.dumps({"group": body.split("/")[0], "body": body}) + "\n" for body in bodies)
    answer = server.post(f"/v1/pools/{POOL}/messages", data=lines, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200 and '"error"' not in answer.text, answer.text
    return bodies


def left(server, name=POOL):
    pool = server.pool(name)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"]


def assert_each_once_and_in_order(delivered, bodies):
    found = collections.Counter(delivered)
    assert {body: times for body, times in found.items() if times > 1} == {}, "delivered more than once"
    assert set(delivered) == set(bodies)
    groups = collections.defaultdict(list)
    for body in delivered:
        groups[body.split("/")[0]].append(int(body.split("/")[1]))
    assert all(numbers == sorted(numbers) for numbers in groups.values()), groups


def assert_done(server, worker, hook, bodies):
    """The worker gets its queue empty, and everything went as it should."""
    wait_until(lambda: left(server) == 0, 60, "an empty pool")
    worker.stop()
    assert_each_once_and_in_order(hook.bodies, bodies)
    assert left(server, DEAD) == 0


def quick_or_slow(slow, seconds):
    """A webhook's answer: bodies for which `slow` is true take that long."""
    def answer(request):
        if slow(request["body"]):
            time.sleep(seconds)
        return 200, {}

    return answer


@pytest.mark.parametrize("when", ["request", "answer"])
def test_deletes_that_are_overtaken_by_extensions(own, queue, work, when):
    """Each delete takes half a second, and the groups are held for longer than a visibility timeout."""
    def slow(call):
        if when == "request":
            time.sleep(0.5)
        answer = call.pass_on()
        if when == "answer":
            time.sleep(0.5)
        call.answer(*answer)

    queue.on[DELETE] = slow
    bodies = send(own, 10, 8)
    with webhook() as hook:
        began = time.monotonic()
        worker = work(queue.url, "--deliver", hook.url, "--visibility-seconds", "4")
        assert_done(own, worker, hook, bodies)
        # Each round takes one or two deletes; a message that came again would cost four more each time.
        assert time.monotonic() - began < 30
    assert queue.count(EXTEND) > 0
    assert set(queue.receive_counts().values()) == {1}
    assert {request["headers"]["X-Queuepool-Attempt"] for request in hook.requests} == {"1"}
    assert queue.failures[DELETE] == []


@pytest.mark.parametrize("code", ["whole", "ThrottlingException", "InternalError", "RequestThrottled"])
def test_extensions_that_a_quota_refuses_are_tried_again(own, queue, work, code):
    def throttle(call):
        if call.number >= 6:
            call.answer(*call.pass_on())
        elif code == "whole":
            call.refuse("ThrottlingException")
        else:
            call.fail_entries(code, lambda entry: True)

    queue.on[EXTEND] = throttle
    bodies = send(own, 2, 3)
    with webhook(quick_or_slow(lambda body: body.endswith("/0"), 6)) as hook:
        worker = work(queue.url, "--deliver", hook.url, "--visibility-seconds", "4")
        assert_done(own, worker, hook, bodies)
    assert queue.count(EXTEND) > 6
    assert set(queue.receive_counts().values()) == {1}, "nothing was dropped"


@pytest.mark.parametrize("code", ["ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight"])
def test_an_extension_whose_handle_is_no_good_means_that_the_message_comes_again(own, queue, work, code):
    """What is under way ends and is not delivered again; its followers wait until they come again."""
    queue.on[EXTEND] = lambda call: call.fail_entries(code, lambda entry: True)
    bodies = send(own, 2, 3)
    with webhook(quick_or_slow(lambda body: body.endswith("/0"), 3)) as hook:
        worker = work(queue.url, "--deliver", hook.url, "--visibility-seconds", "4")
        assert_done(own, worker, hook, bodies)
    counts = queue.receive_counts()
    assert {counts[f"g{group}/{number}"] for group in range(2) for number in (1, 2)} == {2}


def test_an_entry_of_a_batch_of_deletes_that_fails_is_tried_again(own, queue, work):
    refused = collections.Counter()

    def refuse(call):
        bad = [body for body in map(queue.body_of, call.entries) if body.startswith("g1/") and refused[body] < 3]
        refused.update(bad)
        call.fail_entries("InternalError", lambda entry: queue.body_of(entry) in bad)

    queue.on[DELETE] = refuse
    bodies = send(own, 4, 3)
    with webhook() as hook:
        worker = work(queue.url, "--deliver", hook.url)
        assert_done(own, worker, hook, bodies)
    assert refused == {f"g1/{number}": 3 for number in range(3)}
    assert set(queue.receive_counts().values()) == {1}


def test_a_batch_of_deletes_that_is_half_done_and_whose_answer_is_lost(own, queue, work):
    cuts, gate = [], threading.Barrier(8)

    def half(call):
        if len(call.entries) >= 2 and len(cuts) < 3:
            cuts.append(call.number)
            call.pass_on(call.entries[:len(call.entries) // 2])
            return call.cut()
        call.answer(*call.pass_on())

    def together(request):
        # The groups go in step, so that deletes come in batches.
        if request["body"].endswith("/0"):
            gate.wait(20)
        return 200, {}

    queue.on[DELETE] = half
    bodies = send(own, 8, 5)
    with webhook(together) as hook:
        began = time.monotonic()
        worker = work(queue.url, "--deliver", hook.url, "--visibility-seconds", "30")
        assert_done(own, worker, hook, bodies)
        assert time.monotonic() - began < 30, "it did not wait for a visibility timeout"
    assert len(cuts) == 3
    assert set(queue.receive_counts().values()) == {1}
    assert queue.failures[DELETE] == [], "deleting again is no failure"


def test_receives_whose_answers_are_lost(own, queue, work):
    lost = []

    def lose(call):
        answer = call.pass_on()
        found = [message["Body"] for message in answer[1].get("Messages", [])]
        if found and len(lost) < 2:
            lost.append(found)
            return call.cut()
        call.answer(*answer)

    bodies = send(own, 3, 8)
    queue.on[RECEIVE] = lose
    with webhook() as hook:
        worker = work(queue.url, "--deliver", hook.url, "--visibility-seconds", "2")
        assert_done(own, worker, hook, bodies)
    assert len(lost) == 2
    counts = queue.receive_counts()
    assert {counts[body] for found in lost for body in found} <= {2, 3}
    assert {counts[body] for body in bodies if not any(body in found for found in lost)} <= {1}
