# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A target that is away costs messages nothing; a worker that cannot go on says why and ends with a code."""

import base64
import email.utils
import functools
import secrets
import threading
import time

import pytest
from conftest import Process, free_port, run, wait_until
from receivers import webhook
from standardwebhooks import Webhook, WebhookVerificationError

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


def secret_file(directory, name, text=None):
    path = directory / name
    path.write_text(text if text is not None else "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
    return path


def test_requests_are_signed_by_both_secrets_as_standard_webhooks_says(server, work, tmp_path):
    files = [secret_file(tmp_path, name) for name in ("new", "old")]
    statuses = iter([500])
    with webhook(lambda request: (next(statuses, 200), {})) as hook:
        body = '{"order": "K\u00f6ln \U0001f600"}'
        server.send(POOL, "g", body)
        worker = work("--deliver", hook.url + "?a=1&webhook-secret-file=theirs", "--webhook-secret-file", files[0],
                      "--webhook-secret-file", files[1])
        wait_until(lambda: len(hook.requests) == 2 and is_empty(server), 30, "the second attempt")
        worker.stop()
    for request in hook.requests:
        headers = request["headers"]
        for file in files:
            Webhook(file.read_text().strip()).verify(body, headers)
        with pytest.raises(WebhookVerificationError):
            Webhook("whsec_" + base64.b64encode(bytes(32)).decode()).verify(body, headers)
        assert len(headers["webhook-signature"].split(" ")) == 2
        assert headers["webhook-id"] == headers["Idempotency-Key"] == headers["X-Queuepool-Message-Id"]
    first, second = (request["headers"] for request in hook.requests)
    assert first["webhook-id"] == second["webhook-id"]
    for file in files:
        assert file.read_text().strip()[6:] not in worker.text()


def test_the_path_of_a_secret_comes_from_the_environment_too(server, work, tmp_path):
    file = secret_file(tmp_path, "one")
    with webhook() as hook:
        server.send(POOL, "g", "{}")
        worker = work("--deliver", hook.url, env={"QUEUEPOOL_WORKER_WEBHOOK_SECRET_FILE": str(file)})
        wait_until(lambda: is_empty(server) and hook.requests, 30, "an empty pool")
        worker.stop()
    Webhook(file.read_text().strip()).verify("{}", hook.requests[0]["headers"])


@pytest.mark.parametrize("text", [
    "", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX", "whsec_s3cr*t", "whsec_" + base64.b64encode(bytes(23)).decode(),
    "whsec_" + base64.b64encode(bytes(65)).decode(), None])
def test_a_secret_that_is_none_stops_the_start_and_is_not_shown(tmp_path, text):
    file = tmp_path / "absent" if text is None else secret_file(tmp_path, "wrong", text)
    done = run("work", "--pool", POOL, "--deliver", "http://127.0.0.1:1/", "--webhook-secret-file", file, timeout=20)
    assert done.returncode == 78, done.stderr
    assert "worker.webhook-secret-file" in done.stderr and "24 to 64 bytes" in done.stderr
    assert not text or text not in done.stderr


def test_a_secret_without_a_webhook_and_a_third_one_stop_the_start(tmp_path):
    files = [part for name in "abc" for part in ("--webhook-secret-file", secret_file(tmp_path, name))]
    for target, options in (("stdout:", files[:2]), ("http://127.0.0.1:1/", files)):
        done = run("work", "--pool", POOL, "--deliver", target, *options, timeout=20)
        assert done.returncode == 78 and "worker.webhook-secret-file" in done.stderr, done.stderr


@pytest.mark.parametrize("target", ["lambda+ftp://h", "lambda+smtp://h", "lambda+http://", "lambda+http://u:s3cret@h/"])
def test_a_function_that_is_none_stops_the_start(target):
    done = run("work", "--pool", POOL, "--deliver", target, timeout=20)
    assert done.returncode == 64 and "worker.deliver" in done.stderr and "lambda+http(s)://" in done.stderr
    assert "s3cret" not in done.stderr


@pytest.mark.parametrize("wait", [
    lambda: "6", lambda: email.utils.formatdate(time.time() + 6.9, usegmt=True)], ids=["seconds", "date"])
@pytest.mark.parametrize("status", [429, 503])
def test_a_target_that_says_when_is_left_alone_until_then(server, work, status, wait):
    """The one message that was answered spends an attempt; others are not handed over before the time is over."""
    said, seen = [], []

    def answer(request):
        now = time.monotonic()
        seen.append(now)
        if not said:
            said.append(now)
            return status, {"Retry-After": wait()}
        # What was on its way already may come, and is turned away as well.
        return (status, {"Retry-After": "1"}) if now - said[0] < 0.5 else (200, {})

    with webhook(answer) as hook:
        worker = work("--deliver", hook.url)
        server.send(POOL, "g0", "g0/0")
        wait_until(lambda: said, 20, "the first answer")
        time.sleep(1)
        for group in range(1, 20):
            server.send(POOL, f"g{group}", f"g{group}/0")
        wait_until(lambda: is_empty(server), 90, "an empty pool")
        worker.stop()
    early = [at - said[0] for at in seen if 0.5 <= at - said[0] < 5]
    assert not early, "asked although it said when"
    assert sorted(set(hook.bodies)) == sorted(f"g{group}/0" for group in range(20))
    assert {r["headers"]["X-Queuepool-Attempt"] for r in hook.requests if r["body"] != "g0/0"} == {"1"}
    assert is_empty(server, DEAD)
