# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A target's own concurrency, rate and deadline, and what the metrics say of them."""

import base64
import functools
import secrets
import socket
import threading
import time

import pytest
from conftest import run, wait_until
from receivers import webhook
from standardwebhooks import Webhook
from test_worker_metrics import Watched

POOL = "emails.fifo"
DEAD = "emails-dlq.fifo"
EXIT_CONFIGURATION = 78


@pytest.fixture
def work(server, workers):
    for pool in (POOL, DEAD):
        server.post(f"/v1/pools/{pool}/purge")
    return functools.partial(workers, "--metrics-listen", "127.0.0.1:0", endpoint=server.url, kind=Watched)


def is_empty(server, name=POOL):
    pool = server.pool(name)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"] == 0


class Counting:
    """What a receiver answers, slowly, and how many requests it had at one time."""

    def __init__(self, seconds):
        self.seconds, self.now, self.most, self.lock = seconds, 0, 0, threading.Lock()

    def __call__(self, request):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(self.seconds)
        with self.lock:
            self.now -= 1
        return 200, {}


def test_concurrency_of_a_target_is_never_exceeded_and_another_target_has_its_own(server, work):
    busy, free = Counting(0.05), Counting(0.05)
    with webhook(busy) as first, webhook(lambda request: free(request)) as second:
        for number in range(40):
            server.send(POOL, f"g{number}", f"{number}")
        worker = work("--deliver", first.url + "#concurrency=2", "--deliver", second.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        now = worker.figures()
        worker.stop()
    assert busy.most == 2
    assert sorted(first.bodies, key=int) == [str(n) for n in range(40)], "each once: a busy target is not passed over"
    assert second.bodies == []
    assert {r["headers"]["X-Queuepool-Attempt"] for r in first.requests} == {"1"}
    target = first.url.removesuffix("/hook")
    assert now.sum("target_limited_total", target=target, limit="concurrency") >= 10
    assert now.sum("target_limited_total", target=target, limit="rate") == 0
    assert now.sum("target_waiting_groups", target=target) == 0
    for state, value in (("closed", 1), ("open", 0), ("half-open", 0)):
        assert now.sum("target_breaker_state", target=target, state=state) == value
    assert now.sum("target_breaker_opened_total") == 0


def test_a_rate_is_reached_and_not_exceeded(server, work):
    times = []

    def answer(request):
        times.append(time.monotonic())
        return 200, {}

    with webhook(answer) as hook:
        for number in range(120):
            server.send(POOL, f"g{number}", f"{number}")
        worker = work("--deliver", hook.url + "#rate=20")
        wait_until(lambda: times, 20, "a first delivery")
        wait_until(lambda: time.monotonic() > times[0] + 3.5, 20, "three seconds and a half to pass")
        now = worker.figures()
        worker.stop()
    # Any three seconds have sixty, a burst of three, and a few that were late on their way.
    for start in list(times):
        assert sum(start <= at < start + 3 for at in times) <= 60 + 3 + 5
    assert sum(at < times[0] + 3 for at in times) >= 30
    assert now.sum("target_limited_total", limit="rate") > 0
    assert now.sum("target_waiting_groups") > 0


def test_a_timeout_ends_the_delivery_at_a_silent_server(server, work):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        server.send(POOL, "g", "body")
        began = time.monotonic()
        worker = work("--deliver", f"http://127.0.0.1:{silent.getsockname()[1]}/#timeout=1")
        wait_until(lambda: "Delivery failed" in worker.text(), 20, "the log to say that the delivery failed")
        assert time.monotonic() - began < 15, "it is half a minute without the option"
        line = next(line for line in worker.text().splitlines() if "Delivery failed" in line)
        assert "unknown timeout" in line
        worker.kill9()


def test_a_silent_mail_server_is_left_after_its_timeout(server, work):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        mail = {"from": "a@example.com", "to": ["b@example.com"], "subject": "s", "text": "x"}
        assert server.post(f"/v1/pools/{POOL}/emails", json=mail).status_code == 202
        worker = work("--deliver", f"smtp://127.0.0.1:{silent.getsockname()[1]}?tls=off#timeout=1")
        wait_until(lambda: "Delivery failed" in worker.text(), 20, "the log to say that the delivery failed")
        assert "unavailable timeout" in worker.text()
        worker.kill9()


def test_a_target_that_fails_is_left_for_the_next_whatever_its_limits(server, work):
    with webhook() as second:
        for number in range(30):
            server.send(POOL, f"g{number}", f"{number}")
        worker = work("--deliver", "http://127.0.0.1:1/#concurrency=3&rate=50", "--deliver", second.url + "#concurrency=4")
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        now = worker.figures()
        worker.stop()
    assert sorted(second.bodies, key=int) == [str(n) for n in range(30)]
    assert now.sum("target_breaker_opened_total", target="http://127.0.0.1:1") == 1
    assert now.sum("target_breaker_state", target="http://127.0.0.1:1", state="closed") == 0
    states = [now.sum("target_breaker_state", target="http://127.0.0.1:1", state=s) for s in ("open", "half-open")]
    assert sum(states) == 1


@pytest.mark.parametrize("option, words", [
    ("concurrency=many", "concurrency is a whole number"), ("rate=fast", "rate is a decimal number"),
    ("timeout=4000", "timeout is a whole number"), ("colour=blue", "is not known")])
@pytest.mark.parametrize("command", ["work", "serve"])
def test_a_bad_option_stops_the_start_and_says_what_is_allowed(tmp_path, command, option, words):
    more = ["--data-dir", tmp_path / "data", "--listen", "127.0.0.1:0"] if command == "serve" else []
    pool = POOL + "=1" if command == "serve" else POOL
    done = run(command, "--pool", pool, *more, "--deliver", "http://127.0.0.1:1/#" + option, timeout=20)
    assert done.returncode == EXIT_CONFIGURATION, done.stderr
    assert words in done.stderr and "rate=0.001...1000000" in done.stderr
    assert option.split("=")[1] not in done.stderr.replace("...", ""), "what was given is not shown"


def test_a_server_signs_what_its_worker_sends_and_takes_a_function_as_target(servers, tmp_path):
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    (tmp_path / "secret").write_text(secret + "\n")
    with webhook() as hook, webhook(lambda request: (503, {})) as function:
        address = "lambda+" + function.url + "#concurrency=1"
        server = servers("--deliver", address, "--deliver", hook.url + "#rate=100", "--webhook-secret-file", tmp_path / "secret")
        server.send(POOL, "g", "{}")
        wait_until(lambda: hook.requests, 30, "a request at the second target")
    assert '"Records"' in function.bodies[0]
    request = hook.requests[0]
    Webhook(secret).verify("{}", request["headers"])
