# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A worker whose deletes fail must not go on delivering: everything would come again."""

import signal
import threading
from http.server import ThreadingHTTPServer

import pytest
from conftest import Process, wait_until
from proxy import PassingProxy

POOL = "emails.fifo"


class Proxy(PassingProxy):
    """While `fails` is set, deletes are answered 503."""

    fails = True

    def do_GET(self):
        body = self.body()
        if self.fails and "DeleteMessage" in self.headers.get("X-Amz-Target", ""):
            return self.answer(503, b'{"__type":"com.amazonaws.sqs#ServiceUnavailable"}',
                               {"x-amzn-query-error": "ServiceUnavailable;Receiver"})
        self.answer(*self.pass_on(body))

    do_POST = do_GET


@pytest.fixture
def proxied(servers):
    server = servers(pools=(POOL + "=1",))
    handler = type("Handler", (Proxy,), {"target": server.url, "fails": True})
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    yield server, f"http://127.0.0.1:{proxy.server_port}", handler
    proxy.shutdown()


def lines(path):
    return [line for line in path.read_text().splitlines() if line]


def start(url, tmp_path, name, *options):
    output = tmp_path / f"{name}.out"
    worker = Process(["work", "--endpoint", url, "--pool", POOL, "--deliver", "stdout:", *options],
                     tmp_path / f"{name}.log", stdout=open(output, "wb"))
    return worker, output


def test_it_stops_says_so_and_ends_with_a_failure(proxied, tmp_path):
    server, url, _ = proxied
    for number in range(200):
        server.send(POOL, f"g{number % 20}", str(number))
    worker, output = start(url, tmp_path, "worker", "--grace-seconds", "5")
    wait_until(lambda: "Deletes fail" in worker.text(), 30, "a line in the log")
    before = len(lines(output))
    assert 0 < before < 100
    wait_until(lambda: server.pool(POOL)["inFlight"] >= before, 10, "messages in flight")
    worker.popen.send_signal(signal.SIGTERM)
    assert worker.popen.wait(60) == 69
    assert worker.text().count("Deletes fail") == 1
    assert "could not be deleted" in worker.text()
    assert len(lines(output)) <= before + 20, "it went on delivering"


def test_it_goes_on_when_deletes_work_again(proxied, tmp_path):
    server, url, handler = proxied
    for number in range(60):
        server.send(POOL, f"g{number % 6}", str(number))
    worker, output = start(url, tmp_path, "worker")
    wait_until(lambda: "Deletes fail" in worker.text(), 30, "a line in the log")
    handler.fails = False
    wait_until(lambda: server.pool(POOL)["backlog"] + server.pool(POOL)["inFlight"] == 0, 40, "an empty pool")
    worker.stop()
    assert len(lines(output)) == 60, "each once"
