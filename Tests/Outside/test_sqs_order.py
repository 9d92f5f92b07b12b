# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Order over remote queues whose requests fail as a whole: what is repeated is repeated in its order."""

import json
import threading
from http.server import ThreadingHTTPServer

import pytest
from conftest import run
from proxy import PassingProxy

REGION = ["--region", "us-east-1"]


class FailingProxy(PassingProxy):
    """Every so many sends are answered 403, or carried out and answered 500."""

    sends, refuse_every, lose_every = 0, 5, 7
    lock = threading.Lock()

    def do_POST(self):
        body = self.body()
        refuse = lose = False
        if self.headers.get("X-Amz-Target", "").endswith("SendMessageBatch"):
            with self.lock:
                type(self).sends += 1
                refuse, lose = self.sends % self.refuse_every == 0, self.sends % self.lose_every == 0
        if refuse:
            return self.answer(403, b'{"__type":"com.amazonaws.sqs#AccessDenied","message":"no"}',
                               {"x-amzn-query-error": "AccessDenied;Sender"})
        status, content, headers = self.pass_on(body)
        if lose:
            return self.answer(500, b'{"__type":"InternalFailure"}', {"x-amzn-query-error": "InternalFailure;Receiver"})
        self.answer(status, content, headers)


@pytest.fixture
def failing(servers):
    # A server of our own stores in the order of arrival; moto's threads do not.
    handler = type("Handler", (FailingProxy,), {"target": servers(name="back", pools=()).url, "sends": 0})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", handler
    server.shutdown()


def test_send_repeats_what_remote_queues_refused_in_its_order(servers, failing, tmp_path, name):
    url, handler = failing
    pool = name + ".fifo"
    control = ["--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", url, *REGION]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, *control, check=0)
    server = servers(*control, name="front", pools=())
    file = tmp_path / "messages.ndjson"
    file.write_text("".join(json.dumps({"group": f"g{i % 11}", "body": str(i)}) + "\n" for i in range(400)))
    run("send", "--endpoint", server.url, "--pool", pool, file, check=0, timeout=120)
    assert handler.sends > 20
    got, empty = {}, 0
    while sum(map(len, got.values())) < 400 and empty < 5:
        batch = server.answer("ReceiveMessage", {
            "QueueUrl": pool, "MaxNumberOfMessages": 10, "WaitTimeSeconds": 1,
            "MessageSystemAttributeNames": ["All"]}).get("Messages", [])
        empty = 0 if batch else empty + 1
        for message in batch:
            got.setdefault(message["Attributes"]["MessageGroupId"], []).append(int(message["Body"]))
        if batch:
            server.answer("DeleteMessageBatch", {"QueueUrl": pool, "Entries": [
                {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(batch)]})
    assert got == {f"g{g}": list(range(g, 400, 11)) for g in range(11)}
