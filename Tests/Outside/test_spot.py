# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A worker on a spot instance that will be taken away gives its shards up and ends."""

import http.server
import signal
import threading

import pytest

from conftest import wait_until


class Metadata(http.server.BaseHTTPRequestHandler):
    """The instance's metadata service, version 2: no answer without a token."""

    notice = threading.Event()
    asked = threading.Event()
    refused = []

    def do_PUT(self):
        self.answer(200 if self.path == "/latest/api/token" else 404, b"token-1")

    def do_GET(self):
        if self.headers.get("X-aws-ec2-metadata-token") != "token-1":
            Metadata.refused.append(self.path)
            return self.answer(401, b"")
        Metadata.asked.set()
        came = self.path == "/latest/meta-data/spot/instance-action" and Metadata.notice.is_set()
        self.answer(200 if came else 404, b'{"action": "terminate", "time": "2030-01-01T00:00:00Z"}' if came else b"")

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def owners(server):
    return {shard["owner"] for shard in server.pool("spot.fifo")["shards"]}


@pytest.fixture
def spot_server(servers):
    return servers(pools=["spot.fifo=2"])


def test_the_notice_of_the_metadata_service_stops_the_worker(spot_server, workers):
    metadata = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=metadata.serve_forever, daemon=True).start()
    worker = workers("--deliver", "stdout:", endpoint=spot_server.url, pool="spot.fifo", env={
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://127.0.0.1:{metadata.server_port}/"})
    try:
        wait_until(lambda: None not in owners(spot_server), what="ownership")
        assert Metadata.asked.wait(20) and worker.is_running
        Metadata.notice.set()
        assert worker.popen.wait(30) == 0
        assert owners(spot_server) == {None}
        assert "will be taken away" in worker.text() and not Metadata.refused
    finally:
        metadata.shutdown()


def test_sigusr1_stops_the_worker_like_sigterm(spot_server, workers):
    worker = workers("--deliver", "stdout:", endpoint=spot_server.url, pool="spot.fifo")
    wait_until(lambda: None not in owners(spot_server), what="ownership")
    worker.popen.send_signal(signal.SIGUSR1)
    assert worker.popen.wait(30) == 0
    assert owners(spot_server) == {None}
    assert "Worker stopped" in worker.text()
