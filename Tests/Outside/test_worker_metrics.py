# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A worker's figures agree with what its targets saw, and name nobody."""

import re

import pytest
import requests
from conftest import Process, free_port, run, wait_until
from receivers import webhook

POOL = "emails.fifo"
DEAD = "emails-dlq.fifo"


class Figures:
    """A page of metrics, read as strictly as Prometheus reads it."""

    SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (\S+)')

    def __init__(self, text):
        self.text, self.values, kinds = text, {}, {}
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# "):
                _, word, name, rest = line.split(" ", 3)
                assert word in ("HELP", "TYPE") and rest
                assert (name, word) not in kinds, f"{name} has {word} twice"
                kinds[(name, word)] = rest
            elif line.startswith("queuepool_worker_"):
                name, labels, value = self.SAMPLE.fullmatch(line).groups()
                assert (re.sub("_(bucket|sum|count)$", "", name), "TYPE") in kinds, name
                key = (name.removeprefix("queuepool_worker_"), frozenset(re.findall(r'([a-z]+)="((?:[^"\\]|\\.)*)"', labels)))
                assert key not in self.values, f"{line} is there twice"
                self.values[key] = float(value)

    def sum(self, name, **labels):
        """Of all samples with these labels; there must be one."""
        found = [value for (series, own), value in self.values.items() if series == name and labels.items() <= dict(own).items()]
        assert found, f"{name} {labels} is not in\n{self.text}"
        return sum(found)


class Watched(Process):
    """A worker whose metrics are served."""

    @property
    def address(self):
        found = re.search(r"Metrics are served host=127.0.0.1 port=(\d+)", self.text())
        return found and f"http://127.0.0.1:{found[1]}"

    def figures(self):
        address = wait_until(lambda: self.address, 20, "the line that says where metrics are")
        answer = requests.get(address + "/metrics", timeout=10)
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return Figures(answer.text)

    def when(self, what, condition):
        """The figures once they are so."""
        return wait_until(lambda: (lambda now: condition(now) and now)(self.figures()), 40, what)


@pytest.fixture
def work(server, tmp_path):
    for pool in (POOL, DEAD):
        server.post(f"/v1/pools/{pool}/purge")
    started = []

    def start(*arguments, endpoint=server.url, listen="127.0.0.1:0"):
        worker = Watched(["work", "--endpoint", endpoint, "--pool", POOL, "--metrics-listen", listen, *arguments],
                         tmp_path / f"worker{len(started)}.log")
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.is_running:
            worker.kill9()


def test_the_figures_agree_with_what_the_webhook_saw_and_name_nobody(server, work):
    def fails_first(request):
        return (200 if request["headers"]["X-Queuepool-Attempt"] != "1" else 503), {}

    ids = [server.send(POOL, f"canary-group-{n % 10}", f"canary-body-{n}")["id"] for n in range(30)]
    mail = {"from": "canary-from@example.com", "to": ["canary-to@example.com"], "subject": "canary-subject", "text": "x"}
    answer = server.post(f"/v1/pools/{POOL}/emails", json=mail)
    assert answer.status_code == 202, answer.text
    ids.append(answer.json()["id"])
    with webhook(fails_first) as hook:
        worker = work("--deliver", hook.url)
        target = hook.url.removesuffix("/hook")
        now = worker.when("31 deletes", lambda now: "shard=" in now.text and now.sum("deleted_messages_total") == 31)
    attempts = [int(request["headers"]["X-Queuepool-Attempt"]) for request in hook.requests]
    assert len(attempts) == 62
    assert now.sum("deliveries_total") == len(attempts)
    assert now.sum("deliveries_total", pool=POOL, target=target, outcome="delivered") == 31
    assert now.sum("deliveries_total", pool=POOL, target=target, outcome="failed") == 31
    assert now.sum("retries_total", pool=POOL, target=target) == sum(attempt > 1 for attempt in attempts)
    assert now.sum("handler_seconds_count", target=target) == len(attempts)
    assert now.sum("handler_seconds_bucket", target=target, le="+Inf") == len(attempts)
    assert now.sum("received_messages_total") == 31
    for name in ("held_messages", "held_bytes", "undeleted_messages", "deliveries_under_way", "dead_letters_total",
                 "lapsed_messages_total"):
        assert now.sum(name) == 0, name
    assert now.sum("target_up") == 1 and now.sum("shard_up") == 8
    assert "canary" not in now.text and "@" not in now.text and "hook" not in now.text
    assert not [message for message in ids if message in now.text]
    worker.stop()


def test_what_waits_for_a_retry_is_held(server, work):
    server.send(POOL, "g", "twelve bytes")
    with webhook(lambda request: (503, {"Retry-After": "30"})) as hook:
        worker = work("--deliver", hook.url)
        now = worker.when("a failed delivery", lambda now: now.sum("deliveries_total", outcome="failed") == 1)
        assert now.sum("held_messages") == 1 and now.sum("held_bytes") >= len("twelve bytes")
        worker.stop()


def test_a_target_that_is_away_is_shown_as_down_and_up_again(server, work):
    port = free_port()
    server.send(POOL, "g", "one")
    with webhook(port=free_port()) as other:
        worker = work("--deliver", f"http://127.0.0.1:{port}/",
                      "--deliver", other.url)
        away, up = f"http://127.0.0.1:{port}", other.url.removesuffix("/hook")
        number = 0

        def sends(now):
            nonlocal number
            number += 1
            server.send(POOL, f"g{number}", f"{number}")
            return now.sum("target_up", target=away) == 0

        now = worker.when("a target that is down", sends)
        assert now.sum("target_up", target=up) == 1
        assert now.sum("deliveries_total", target=away, outcome="unavailable") >= 3
        with webhook(port=port):
            server.send(POOL, "h", "probe")

            def sends_until_up(now):
                sends(now)
                return now.sum("target_up", target=away) == 1

            worker.when("a target that is up again", sends_until_up)
        worker.stop()


def test_dead_letters_count_by_reason(server, work):
    for number in range(3):
        server.send(POOL, f"g{number}", "refused")
    with webhook(lambda request: (400, {})) as hook:
        worker = work("--deliver", hook.url)
        now = worker.when("3 dead letters", lambda now: now.sum("dead_letters_total") == 3)
        assert now.sum("dead_letters_total", pool=POOL, reason="permanent-failure") == 3
        assert now.sum("deliveries_total", outcome="refused") == 3
        worker.stop()
    assert server.pool(DEAD)["backlog"] == 3


def test_a_shard_that_does_not_answer_is_shown(servers, work):
    server = servers(pools=(POOL + "=2",))
    worker = work("--deliver", "stdout:", endpoint=server.url)
    worker.when("shards", lambda now: "shard=" in now.text and now.sum("owned_shards") == 2 == now.sum("shard_up"))
    server.kill9()
    worker.when("shards that are down", lambda now: now.sum("shard_up") == 0)
    servers(pools=(POOL + "=2",), port=server.port)
    worker.when("shards that are up again", lambda now: now.sum("shard_up") == 2)
    worker.stop()


def test_health_is_told_and_other_names_and_pages_are_not_answered(work):
    worker = work("--deliver", "stdout:")
    address = wait_until(lambda: worker.address, 20, "the metrics' address")
    assert requests.get(address + "/healthz", timeout=10).text == "ok\n"
    assert requests.get(address + "/v1/pools", timeout=10).status_code == 404
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}):
        answer = requests.get(address + "/metrics", headers=headers, timeout=10)
        assert answer.status_code == 403 and "queuepool_worker" not in answer.text
    worker.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(address + "/healthz", timeout=10)


def test_a_worker_is_healthy_while_it_waits_for_its_server(work):
    worker = work("--deliver", "stdout:", endpoint=f"http://127.0.0.1:{free_port()}")
    wait_until(lambda: "does not answer" in worker.text(), 20, "the line that says so")
    assert worker.figures().sum("target_up") == 1
    assert requests.get(worker.address + "/healthz", timeout=10).ok
    worker.stop()


def test_a_taken_address_is_told_and_nothing_is_received(server, work):
    server.send(POOL, "g", "stays")
    worker = work("--deliver", "stdout:", listen=f"127.0.0.1:{server.port}")
    assert worker.popen.wait(30) == 69
    assert f"metrics cannot be served on 127.0.0.1:{server.port}" in worker.text()
    assert server.pool(POOL)["backlog"] == 1


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:1"])
def test_metrics_off_loopback_are_refused_unless_asked_for_by_name(server, address):
    done = run("work", "--pool", POOL, "--endpoint", server.url, "--deliver", "stdout:", "--metrics-listen", address)
    assert done.returncode == 64
    assert "worker.metrics-listen" in done.stderr and "--allow-insecure-metrics-listen" in done.stderr


def test_metrics_off_loopback_are_possible_by_name(work):
    worker = work("--deliver", "stdout:", "--allow-insecure-metrics-listen", listen="0.0.0.0:0")
    wait_until(lambda: "Metrics are served" in worker.text(), 20, "the metrics' address")
    worker.stop()


def test_a_worker_in_the_server_is_on_the_servers_page(servers):
    with webhook() as hook:
        server = servers("--deliver", hook.url, pools=("one.fifo=2", "two.fifo=1"))
        for number in range(4):
            server.send("one.fifo", f"g{number}", f"{number}")
        server.send("two.fifo", "g", "x")

        def figures():
            now = Figures(server.get("/metrics").text)
            done = now.values and now.sum("deliveries_total", outcome="delivered") == 5
            return done and now.sum("deleted_messages_total") == 5 and now

        now = wait_until(figures, 40, "5 deliveries on the page")
        assert now.sum("deliveries_total", pool="one.fifo") == 4
        assert now.sum("deliveries_total", pool="two.fifo") == 1
        assert "queuepool_backlog_messages" in now.text
        server.stop()


def test_a_server_without_a_worker_has_no_figures_of_one(server):
    assert "queuepool_worker_" not in server.get("/metrics").text
