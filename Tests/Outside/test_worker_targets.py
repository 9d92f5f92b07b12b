# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A target that is away costs messages nothing; a worker that cannot go on says why and ends with a code."""

import functools
import socket
import threading
import time

import pytest
from conftest import Process, wait_until
from receivers import webhook

POOL = "emails.fifo"
DEAD = "emails-dlq.fifo"


@pytest.fixture
def work(server, workers):
    for pool in (POOL, DEAD):
        server.post(f"/v1/pools/{pool}/purge")
    return functools.partial(workers, endpoint=server.url)


def is_empty(server, name=POOL):
    pool = server.pool(name)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"] == 0


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("options", [[], ["--max-attempts", "2"]])
def test_a_provider_that_is_down_for_a_while_costs_no_message_an_attempt(server, work, options):
    port = free_port()
    for number in range(30):
        server.send(POOL, f"g{number % 10}", f"g{number % 10}/{number // 10}")
    worker = work("--deliver", f"http://127.0.0.1:{port}/", *options)
    wait_until(lambda: "Target does not take deliveries" in worker.text(), 20, "the log to say that the target is away")
    time.sleep(10)  # more than five attempts took before
    assert is_empty(server, DEAD)
    with webhook(port=port) as hook:
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert sorted(hook.bodies) == sorted(f"g{n % 10}/{n // 10}" for n in range(30))
    for group in range(10):
        assert [b for b in hook.bodies if b.startswith(f"g{group}/")] == [f"g{group}/{k}" for k in range(3)]
    assert {r["headers"]["X-Queuepool-Attempt"] for r in hook.requests} == {"1"}
    assert is_empty(server, DEAD)
    assert f"target=http://127.0.0.1:{port}" in worker.text() and "Target takes deliveries again" in worker.text()


def test_a_refusal_is_final_and_no_other_target_gets_the_message(server, work):
    with webhook(lambda request: (400, {})) as first, webhook() as second:
        server.send(POOL, "g", "refused")
        worker = work("--deliver", first.url, "--deliver", second.url)
        wait_until(lambda: not is_empty(server, DEAD), 30, "a dead letter")
        worker.stop()
    assert first.bodies == ["refused"] and second.bodies == []


def test_a_pool_that_does_not_exist_is_named_and_ends_the_worker(server, work):
    worker = work("--deliver", "stdout:", pool="nothing.fifo")
    assert worker.popen.wait(20) == 78
    assert "no pool nothing.fifo" in worker.text() and "pool create" in worker.text()


def test_shards_that_do_not_exist_are_named_and_end_the_worker(server, work):
    worker = work("--deliver", "stdout:", "--shards", "0,99")
    assert worker.popen.wait(20) == 78
    assert "99" in worker.text() and "shards, 0 to" in worker.text()


def test_a_server_that_is_away_is_named_with_its_address(server, work):
    port = free_port()
    worker = work("--deliver", "stdout:", endpoint=f"http://127.0.0.1:{port}")
    wait_until(lambda: f"endpoint=http://127.0.0.1:{port}" in worker.text(), 20, "the log to name the server")
    assert worker.is_running and "unreachable(unreachable)" not in worker.text()
    worker.stop()


def test_deliveries_take_no_room_from_the_workers_own_calls(server, work):
    """As many deliveries as the worker may have are under way and last longer than a visibility timeout."""
    started, release = [], threading.Event()

    def answer(request):
        started.append(request["body"])
        release.wait(60)
        return 200, {}

    with webhook(answer) as hook:
        for group in range(300):
            server.send(POOL, f"g{group}", f"g{group}/0")
        worker = work("--deliver", hook.url, "--concurrency", "300", "--visibility-seconds", "4")
        wait_until(lambda: len(started) >= 300, 40, "300 deliveries at once")
        time.sleep(6)  # extensions must get through meanwhile, or the messages come again
        release.set()
        wait_until(lambda: is_empty(server), 40, "an empty pool")
        worker.stop()
    assert sorted(hook.bodies) == sorted(f"g{group}/0" for group in range(300)), "each once"


def test_more_deliveries_than_the_process_may_have_files_for_are_refused(server, tmp_path):
    worker = Process(["work", "--endpoint", server.url, "--pool", POOL, "--deliver", "stdout:", "--concurrency", "400"],
                     tmp_path / "worker.log", open_files_max=(512, 512))
    assert worker.popen.wait(20) == 78
    assert "concurrency 400" in worker.text() and "allowed here are 1 to 128" in worker.text()


def test_the_password_of_an_endpoint_is_in_no_log(workers):
    port = free_port()
    worker = workers("--deliver", "stdout:", endpoint=f"http://someone:s3cret@127.0.0.1:{port}")
    wait_until(lambda: f"endpoint=http://127.0.0.1:{port}" in worker.text(), 20, "the log to name the server")
    worker.stop()
    assert "s3cret" not in worker.text() and "someone" not in worker.text()
