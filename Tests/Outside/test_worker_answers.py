# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A worker reads a queue's answers as AWS's SDKs do: what is not said was not done, and digests are checked."""

import pytest
from conftest import wait_until
from faulty_queue import DELETE, RECEIVE, faulty_queue
from receivers import webhook
from test_worker_faults import POOL, left, send

HEADERS = {"Content-Type": "application/x-amz-json-1.0"}


@pytest.fixture
def own(servers):
    return servers(pools=(POOL + "=1",), name="own")


@pytest.fixture
def queue(own):
    with faulty_queue(own.url) as queue:
        yield queue


def test_a_delete_that_an_answer_does_not_mention_is_asked_for_again(own, queue, workers):
    def forget(call):
        if call.number >= 2:
            return call.answer(*call.pass_on())
        call.answer(200, {}, HEADERS)

    queue.on[DELETE] = forget
    bodies = send(own, 2, 2)
    with webhook() as hook:
        # Nothing comes back within this test: only another delete empties the pool.
        worker = workers("--deliver", hook.url, "--visibility-seconds", "600", endpoint=queue.url)
        wait_until(lambda: left(own) == 0, 30, "an empty pool")
        worker.stop()
        assert sorted(hook.bodies) == sorted(bodies)
    assert set(queue.receive_counts().values()) == {1}


def test_a_message_that_its_digest_does_not_fit_is_not_delivered_before_it_comes_whole(own, queue, workers):
    spoilt = []

    def spoil(call):
        status, answer, headers = call.pass_on()
        for message in answer.get("Messages", []):
            if message["Body"] == "g1/1" and not spoilt:
                spoilt.append(message["Body"])
                message["Body"] = "g1/?"
        call.answer(status, answer, headers)

    queue.on[RECEIVE] = spoil
    bodies = send(own, 3, 3)
    with webhook() as hook:
        worker = workers("--deliver", hook.url, "--visibility-seconds", "2", endpoint=queue.url)
        wait_until(lambda: left(own) == 0, 60, "an empty pool")
        worker.stop()
        assert spoilt and sorted(hook.bodies) == sorted(bodies)
        assert [body for body in hook.bodies if body.startswith("g1/")] == ["g1/0", "g1/1", "g1/2"]
