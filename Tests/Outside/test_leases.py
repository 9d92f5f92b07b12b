# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Workers of one server share a pool's shards out by leases, and go on when one of them leaves, dies or stands still.

The scenarios run side by side, each with a pool of its own.
"""

import contextlib
import http.server
import json
import signal
import threading
import time

import pytest
import requests
from conftest import Process, Server, run, wait_until
from lease_world import TERM, Sender, Workers, figure, left, side_by_side, stand_still, wait_empty

SCENARIOS = {}
scenario, outcomes = side_by_side(SCENARIOS)


class Place:
    """Where a scenario takes place: the server that all share, a fresh pool there and a directory."""

    def __init__(self, server, directory):
        self.server, self.directory, self.pool = server, directory, directory.name + ".fifo"
        self.url = server.url

    def create(self, shards):
        answer = requests.post(self.url + "/v1/pools", json={"name": self.pool, "shards": shards}, timeout=60)
        assert answer.status_code in (200, 201), answer.text
        return self

    def workers(self, url=None):
        return Workers(self.directory / "workers", self.pool, "--endpoint", url or self.url)

    def own_server(self, *arguments, shards=4, port=None):
        return Server(self.directory / "server", *arguments, pools=(f"{self.pool}={shards}",), port=port)

    def table(self, url=None):
        answer = requests.get(f"{url or self.url}/v1/pools/{self.pool}/leases", timeout=30)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def names(self, worker):
        """What the table has of a worker: its heartbeats and shards. Its process id is a part of its name."""
        table, mark = self.table(), f"-{worker.pid}-"
        return ([row["worker"] for row in table["workers"] if mark in row["worker"]],
                [row["shard"] for row in table["leases"] if mark in (row["owner"] or "")])


@pytest.fixture(scope="module")
def place(server, tmp_path_factory):
    """By a scenario's name."""
    def place(name):
        return Place(server, tmp_path_factory.mktemp(name.removeprefix("test_")[:30].strip("_").replace("_", "-")))

    return place


# The four requests. A renewal and a lease as a worker would write them; tests change one thing of it.

BEAT = {"beat": 1, "renewedAt": 1_000, "isLeaving": False}
LEASE = {"version": 0, "owner": "w.1", "next": None, "acquiredAt": 1_000}
MOST = 2**53 - 1


@pytest.fixture
def leases(server, name):
    answer = server.post("/v1/pools", json={"name": name + ".fifo", "shards": 2})
    assert answer.status_code in (200, 201), answer.text
    return f"/v1/pools/{name}.fifo"


def put(server, path, document):
    return server.session.put(server.url + path, json=document, timeout=30)


def delete(server, path):
    return server.session.delete(server.url + path, timeout=30)


def problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert kind in answer.json()["type"], answer.text
    return answer.json()


def test_what_is_written_is_read(server, leases):
    assert put(server, f"{leases}/workers/w.1", BEAT).status_code == 204
    assert put(server, f"{leases}/workers/w.1", {**BEAT, "beat": 2, "isLeaving": True}).status_code == 204
    answer = put(server, f"{leases}/leases/1", {**LEASE, "next": "w.2"})
    stored = {"shard": 1, "owner": "w.1", "next": "w.2", "acquiredAt": 1_000, "version": 1}
    assert (answer.status_code, answer.json()) == (200, stored)
    heartbeat = {"worker": "w.1", "beat": 2, "renewedAt": 1_000, "isLeaving": True}
    assert server.get(leases + "/leases").json() == {"workers": [heartbeat], "leases": [stored]}
    assert delete(server, f"{leases}/workers/w.1?beat=2").status_code == 204
    assert delete(server, f"{leases}/workers/w.1?beat=2").status_code == 204, "a removal may be repeated"
    given = {"version": 1, "acquiredAt": 2_000}
    assert put(server, f"{leases}/leases/1", given).json() == {**stored, "owner": None, "next": None, "version": 2,
                                                               "acquiredAt": 2_000}
    assert server.get(leases + "/leases").json()["workers"] == []


def test_a_request_from_an_old_view_is_refused(server, leases):
    for beat in (1, 2, 2):
        assert put(server, f"{leases}/workers/w.1", {**BEAT, "beat": beat}).status_code == 204, "a beat may be repeated"
    for beat in (1, 4):
        problem(put(server, f"{leases}/workers/w.1", {**BEAT, "beat": beat}), 409, "lease-conflict")
    problem(put(server, f"{leases}/workers/w.2", {**BEAT, "beat": 2}), 409, "lease-conflict")
    problem(delete(server, f"{leases}/workers/w.1?beat=1"), 409, "lease-conflict")
    assert put(server, f"{leases}/leases/0", LEASE).json()["version"] == 1
    for version in (0, 2, MOST):
        problem(put(server, f"{leases}/leases/0", {**LEASE, "version": version}), 409, "lease-conflict")
    problem(put(server, f"{leases}/leases/1", {**LEASE, "version": 1}), 409, "lease-conflict")
    table = server.get(leases + "/leases").json()
    assert [row["beat"] for row in table["workers"]] == [2] and [row["version"] for row in table["leases"]] == [1]


MISSING = object()
LONG = "w" * 81


@pytest.mark.parametrize("path, document, field", [
    *[("workers/w.1", {**BEAT, "beat": value}, "beat") for value in (0, -1, MISSING, MOST + 1, 2**63 - 1)],
    *[("workers/w.1", {**BEAT, "renewedAt": value}, "renewedAt") for value in (-1, MISSING, 2**63 - 1)],
    *[(f"workers/{name}", BEAT, "worker") for name in (LONG, "w%20x", "w%2Fx", "%C3%A4")],
    *[("leases/0", {**LEASE, "version": value}, "version") for value in (-1, MISSING, MOST + 1, 2**63 - 1)],
    *[("leases/0", {**LEASE, "acquiredAt": value}, "acquiredAt") for value in (-1, MISSING, 2**63 - 1)],
    *[("leases/0", {**LEASE, "owner": value}, "owner") for value in ("", LONG, "a b", "ä")],
    *[("leases/0", {**LEASE, "next": value}, "next") for value in ("", LONG, "a b", "ä")],
    *[(f"leases/{shard}", LEASE, "shard") for shard in ("2", "-1", "x", "+0", "00", "0x0", "9" * 30)],
    ("workers/w.1", {**BEAT, "more": 1}, "body"), ("leases/0", {**LEASE, "beat": 1}, "body"),
    ("workers/w.1", {**BEAT, "owner": "w.1"}, "body")])
def test_a_wrong_field_is_named(server, leases, path, document, field):
    document = {name: value for name, value in document.items() if value is not MISSING}
    found = problem(put(server, f"{leases}/{path}", document), 400, "invalid")
    assert found["field"] == field, found
    assert LONG not in str(found) and "a b" not in str(found)
    assert server.get(leases + "/leases").json() == {"workers": [], "leases": []}


@pytest.mark.parametrize("path, document", [
    *[("workers/w.1", {**BEAT, "beat": value}) for value in ("1", 1.5, None, 2**63, [1])],
    *[("workers/w.1", {**BEAT, "renewedAt": value}) for value in ("1", 1.5, None, 2**63)],
    *[("workers/w.1", {**BEAT, "isLeaving": value}) for value in ("true", 1, None)],
    *[("leases/0", {**LEASE, "version": value}) for value in ("1", 1.5, None, 2**63)],
    *[("leases/0", {**LEASE, "owner": value}) for value in (1, True, ["w.1"], {})],
    *[("leases/0", {**LEASE, "acquiredAt": value}) for value in ("1", None)],
    ("leases/0", []), ("leases/0", 1), ("workers/w.1", "beat")])
def test_a_value_of_a_wrong_kind_is_refused(server, leases, path, document):
    answer = put(server, f"{leases}/{path}", document)
    assert answer.status_code == 400, answer.text
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert server.get(leases + "/leases").json() == {"workers": [], "leases": []}


@pytest.mark.parametrize("query", ["", "?beat=", "?beat=0", "?beat=-1", "?beat=x", "?beat=1.0", "?beat=01",
                                   "?beat=%2B1", "?beat=" + "9" * 30])
def test_a_removal_names_a_beat(server, leases, query):
    assert put(server, f"{leases}/workers/w.1", BEAT).status_code == 204
    assert problem(delete(server, f"{leases}/workers/w.1{query}"), 400, "invalid")["field"] == "beat"
    assert len(server.get(leases + "/leases").json()["workers"]) == 1


def test_the_largest_numbers_do_no_harm(server, leases):
    problem(put(server, f"{leases}/workers/w.1", {**BEAT, "beat": MOST}), 409, "lease-conflict")
    assert put(server, f"{leases}/workers/w.1", {**BEAT, "renewedAt": MOST}).status_code == 204
    problem(put(server, f"{leases}/leases/0", {**LEASE, "version": MOST}), 409, "lease-conflict")
    assert put(server, f"{leases}/leases/0", {**LEASE, "acquiredAt": MOST}).status_code == 200
    table = server.get(leases + "/leases").json()
    assert table["workers"][0]["renewedAt"] == MOST and table["leases"][0]["acquiredAt"] == MOST
    assert server.get(leases).status_code == 200


@pytest.mark.parametrize("path, allowed", [
    ("leases", {"GET"}), ("leases/0", {"PUT"}), ("workers/w.1", {"PUT", "DELETE"})])
def test_another_method_is_refused_with_those_that_are_allowed(server, leases, path, allowed):
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH"} - allowed:
        answer = server.session.request(method, f"{server.url}{leases}/{path}", timeout=30)
        problem(answer, 405, "method")
        assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_pool_that_is_not_there_has_no_leases(server, name):
    for answer in (server.get(f"/v1/pools/{name}.fifo/leases"), put(server, f"/v1/pools/{name}.fifo/leases/0", LEASE),
                   put(server, f"/v1/pools/{name}.fifo/workers/w.1", BEAT),
                   delete(server, f"/v1/pools/{name}.fifo/workers/w.1?beat=1")):
        problem(answer, 404, "pool")


def test_leases_go_with_their_pool(server, leases):
    assert put(server, f"{leases}/workers/w.1", BEAT).status_code == 204
    assert put(server, f"{leases}/leases/0", LEASE).status_code == 200
    assert delete(server, leases).status_code in (200, 202, 204)
    wait_until(lambda: server.get(leases + "/leases").status_code == 404, 20, "the pool's end")
    name = leases.split("/")[-1]
    assert server.post("/v1/pools", json={"name": name, "shards": 2}).status_code in (200, 201)
    assert server.get(leases + "/leases").json() == {"workers": [], "leases": []}


# The scenarios: they begin with the first test of the file, and are waited for here.

@scenario
def test_workers_come_and_go_under_load(at):
    """1, 2, 4 workers share 8 shards evenly; one leaves, one is killed: each once and in order all the while."""
    at.create(8)
    with at.workers() as workers:
        first = workers.start()
        workers.wait_owned(8)
        sender = Sender(at.url, at.pool)
        with sender.under_way():
            workers.start()
            workers.wait_owned(4, 4)
            third, fourth = workers.start(), workers.start()
            workers.wait_owned(2, 2, 2, 2)
            # Whoever leaves gives its shards up itself: when it has ended, nothing of it is left to wait a term for.
            workers.stop(third)
            assert at.names(third) == ([], [])
            workers.wait_owned(3, 3, 2)
            workers.kill9(fourth)
            workers.wait_owned(4, 4, seconds=2 * TERM)
        wait_empty(at.url, at.pool)
        assert all(figure(worker, "leases_lost_total") == 0 for worker in workers.alive)
        workers.stop(first)
        workers.assert_each_once_and_in_order(sender.counts, killed=[fourth])
        assert workers.bodies(third) and workers.bodies(fourth)


@scenario
def test_more_workers_than_shards_stand_by_and_take_over(at):
    at.create(2)
    with at.workers() as workers:
        started = [workers.start() for _ in range(3)]
        wait_until(lambda: sorted(figure(worker, "standby") for worker in started) == [0, 0, 1], 15, "one in stand-by")
        workers.wait_owned(1, 1, 0)
        waiting = next(worker for worker in started if figure(worker, "standby") == 1)
        sender = Sender(at.url, at.pool)
        sender.round()
        wait_empty(at.url, at.pool)
        assert not workers.bodies(waiting)
        killed = next(worker for worker in started if worker is not waiting)
        workers.kill9(killed)
        sender.round()
        workers.wait_owned(1, 1, seconds=2 * TERM)
        assert figure(waiting, "standby") == 0
        wait_empty(at.url, at.pool)
        workers.assert_each_once_and_in_order(sender.counts, killed=[killed])
        assert workers.bodies(waiting)


@scenario
def test_a_worker_that_stood_still_delivers_nothing_that_others_took(at):
    """All its deliveries are out when it stops, and answered while it stands: awake, it must not go on."""
    at.create(4)
    with at.workers() as workers:
        still = workers.start("--visibility-seconds", "6")
        other = workers.start("--visibility-seconds", "6")
        workers.wait_owned(2, 2)
        workers.gate.clear()
        sender = Sender(at.url, at.pool, groups=20)
        for _ in range(5):
            sender.round()
        wait_until(lambda: len(workers.bodies()) == 20, 30, "the first delivery of each group")
        mine = [body.split("/")[0] for body in workers.bodies(still)]
        assert 0 < len(mine) < 20
        still.popen.send_signal(signal.SIGSTOP)
        workers.gate.set()
        workers.alive.remove(still)
        workers.wait_owned(4, seconds=2 * TERM)
        wait_empty(at.url, at.pool)
        awake = len(workers.delivered)
        assert set(workers.bodies(still)) == {f"{group}/0" for group in mine}
        still.popen.send_signal(signal.SIGCONT)
        workers.alive.append(still)
        workers.wait_owned(2, 2)
        assert figure(still, "leases_lost_total") == 2
        before = dict(sender.counts)
        sender.round()
        wait_empty(at.url, at.pool)
        workers.assert_each_once_and_in_order(sender.counts, killed=[still])
        workers.assert_each_once_and_in_order(sender.counts, since=awake, first=before)
        assert workers.bodies(other)


@scenario
def test_a_worker_that_stood_still_under_load_breaks_no_order(at):
    """15 s, in which others take over; in the queue's view its messages are still its own, and come again later."""
    at.create(4)
    with at.workers() as workers:
        still = workers.start("--visibility-seconds", "18")
        workers.start("--visibility-seconds", "18")
        workers.wait_owned(2, 2)
        sender = Sender(at.url, at.pool)
        with sender.under_way():
            wait_until(lambda: len(workers.bodies(still)) > 100, 30, "deliveries")
            stand_still(still, 15)
            wait_until(lambda: figure(still, "leases_lost_total") == 2, 15, "the loss of its shards")
            workers.wait_owned(2, 2)
        wait_empty(at.url, at.pool)
        workers.assert_each_once_and_in_order(sender.counts, killed=[still], late=[still])


@scenario
def test_shards_that_are_named_are_owned_for_good(at):
    """`--shards` takes no lease and needs none."""
    at.create(8)
    with at.workers() as workers:
        workers.start("--shards", "0-3"), workers.start("--shards", "4-7")
        workers.wait_owned(4, 4)
        sender = Sender(at.url, at.pool)
        for _ in range(3):
            sender.round()
        wait_empty(at.url, at.pool)
        workers.assert_each_once_and_in_order(sender.counts)
        assert at.table() == {"workers": [], "leases": []}
        assert [figure(worker, "standby") for worker in workers.alive] == [0, 0]
        assert all(workers.bodies(worker) for worker in workers.alive)


@scenario
def test_a_worker_in_the_server_shares_with_one_outside(at):
    with at.workers() as workers:
        inside = workers.hook(100)
        server = at.own_server("--deliver", inside)
        workers.stack.callback(lambda: server.is_running and server.kill9())
        workers.way = ("--endpoint", server.url)

        def served():
            page = server.get("/metrics").text
            return [line for line in page.splitlines() if line.startswith("queuepool_worker_owned_shards{")]

        wait_until(lambda: served() == [f'queuepool_worker_owned_shards{{pool="{at.pool}"}} 4'], 15, "4 shards inside")
        sender = Sender(server.url, at.pool)
        with sender.under_way():
            outside = workers.start()
            workers.wait_owned(2)
            assert served() == [f'queuepool_worker_owned_shards{{pool="{at.pool}"}} 2']
            wait_until(lambda: len(workers.bodies(outside)) > 100, 30, "deliveries outside")
            workers.stop(outside)
            wait_until(lambda: served()[0].endswith(" 4"), 15, "4 shards inside again")
        wait_empty(server.url, at.pool)
        server.stop()
        workers.assert_each_once_and_in_order(sender.counts)
        assert {number for number, _ in workers.delivered} == {100, outside.number}


@scenario
def test_work_goes_on_after_the_server_was_away(at):
    server = at.own_server()
    with at.workers(server.url) as workers:
        workers.start(), workers.start()
        workers.wait_owned(2, 2)
        sender = Sender(server.url, at.pool)
        sender.round()
        wait_empty(server.url, at.pool)
        server.kill9()
        time.sleep(5)
        server = at.own_server(port=server.port)
        workers.stack.callback(lambda: server.is_running and server.kill9())
        for _ in range(3):
            sender.round()
        workers.wait_owned(2, 2)
        wait_empty(server.url, at.pool)
        workers.assert_each_once_and_in_order(sender.counts)
        for worker in list(workers.alive):
            workers.stop(worker)
        assert at.table(server.url)["workers"] == []
        assert left(server.url, at.pool) == 0
        server.stop()


@scenario
def test_a_worker_with_nothing_to_do_does_not_wait_for_a_server_that_is_away(at):
    """It stops well before its grace period, which is for deliveries."""
    server = at.own_server()
    with at.workers(server.url) as workers:
        worker = workers.start("--grace-seconds", "120")
        workers.wait_owned(4)
        server.kill9()
        workers.stop(worker)


@scenario
def test_a_worker_whose_pool_is_gone_stops_at_once_and_one_that_waits_takes_the_next(at):
    at.create(2)
    with at.workers() as workers:
        ends, waits = workers.start("--grace-seconds", "120"), workers.start()
        workers.wait_owned(1, 1)
        answer = requests.delete(f"{at.url}/v1/pools/{at.pool}", timeout=30)
        assert answer.status_code in (200, 204), answer.text
        workers.wait_owned(0, 0)
        workers.stop(ends)
        wait_until(lambda: requests.get(f"{at.url}/v1/pools/{at.pool}", timeout=30).status_code == 404, 20, "its end")
        at.create(2)
        workers.wait_owned(2)
        sender = Sender(at.url, at.pool, groups=5)
        sender.round()
        wait_empty(at.url, at.pool)
        workers.assert_each_once_and_in_order(sender.counts)
        assert len(workers.bodies(waits)) == 5


@scenario
def test_a_worker_takes_part_in_shards_that_come_while_it_works(at):
    """The pool comes again under its name, with more shards."""
    at.create(2)
    with at.workers() as workers:
        workers.start(), workers.start()
        workers.wait_owned(1, 1)
        answer = requests.delete(f"{at.url}/v1/pools/{at.pool}", timeout=30)
        assert answer.status_code in (200, 204), answer.text
        wait_until(lambda: requests.get(f"{at.url}/v1/pools/{at.pool}", timeout=30).status_code == 404, 20, "its end")
        at.create(4)
        workers.wait_owned(2, 2, seconds=2 * TERM)
        sender = Sender(at.url, at.pool)
        for _ in range(3):
            sender.round()
        wait_empty(at.url, at.pool)
        workers.assert_each_once_and_in_order(sender.counts)
        received = sum((requests.get(worker.address + "/metrics", timeout=30).text.splitlines()
                        for worker in workers.alive), [])
        shards = {line.split('shard="')[1].split('"')[0] for line in received
                  if line.startswith("queuepool_worker_received_messages_total{") and not line.endswith(" 0")}
        assert len(shards) == 4, shards
        for worker in list(workers.alive):
            workers.stop(worker)
        assert at.table()["workers"] == []


# Whom no leases can be had from. What it answers to other requests is no matter: none comes.

NO_ROUTE = {"type": "urn:queuepool:problem:no-such-resource", "title": "There is nothing here", "status": 404}
POOL = {"name": "emails.fifo", "shards": [{"index": 0, "name": "emails-0000.fifo"}]}


@contextlib.contextmanager
def answering(answers):
    """A server that answers GET by the ends of paths, and 404 to everything else."""
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, document = next((a for end, a in answers.items() if self.path.endswith(end)), (404, NO_ROUTE))
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()


def assert_keeps_no_leases(url):
    done = run("work", "--pool", "emails.fifo", "--endpoint", url, "--deliver", "stdout:", timeout=20, check=78)
    assert "keeps no leases" in done.stderr and url in done.stderr, done.stderr
    assert "--shards" in done.stderr and "--control" in done.stderr


def test_a_server_that_is_too_old_for_leases_ends_the_worker():
    with answering({"/v1/pools/emails.fifo": (200, POOL)}) as url:
        assert_keeps_no_leases(url)


def test_an_endpoint_of_plain_sqs_ends_the_worker(moto):
    assert_keeps_no_leases(moto)


def test_a_server_whose_leases_fail_is_asked_again(tmp_path):
    with answering({"/v1/pools/emails.fifo": (200, POOL), "/leases": (503, {})}) as url:
        worker = Process(["work", "--pool", "emails.fifo", "--endpoint", url, "--deliver", "stdout:"],
                         tmp_path / "worker.log")
        try:
            wait_until(lambda: "Leases cannot be kept" in worker.text(), 20, "a word about it")
            assert worker.is_running
            worker.stop()
        finally:
            if worker.is_running:
                worker.kill9()
