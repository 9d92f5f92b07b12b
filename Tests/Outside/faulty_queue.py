# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A queue that misbehaves: a proxy that understands the actions of SQS, and does with them what a test says."""

import contextlib
import json
import threading
from http.server import ThreadingHTTPServer

import requests
from proxy import PassingProxy

DELETE, EXTEND, RECEIVE = "DeleteMessageBatch", "ChangeMessageVisibilityBatch", "ReceiveMessage"


class Call:
    """One request of an action. `number` counts the action's requests from 0."""

    def __init__(self, handler, action, number, data):
        self.handler, self.action, self.number, self.data = handler, action, number, data
        self.json = json.loads(data)

    @property
    def entries(self):
        return self.json["Entries"]

    def pass_on(self, entries=None):
        """Performs it at the server, with these entries only if given: status, JSON, headers."""
        data = self.data if entries is None else json.dumps({**self.json, "Entries": entries}).encode()
        status, body, headers = self.handler.pass_on(data)
        return status, json.loads(body), headers

    def answer(self, status, body, headers):
        self.handler.answer(status, json.dumps(body).encode(), headers)

    def refuse(self, code, status=400):
        """An error instead of an answer."""
        self.answer(status, {"__type": f"com.amazonaws.sqs#{code}", "message": "refused by the test"},
                    {"x-amzn-query-error": f"{code};{'Sender' if status < 500 else 'Receiver'}"})

    def fail_entries(self, code, fails):
        """Entries of which `fails(entry)` is true fail with this code; the others are performed."""
        bad = [entry for entry in self.entries if fails(entry)]
        good = [entry for entry in self.entries if not fails(entry)]
        answer = self.pass_on(good)[1] if good else {}
        failed = [{"Id": entry["Id"], "Code": code, "SenderFault": False, "Message": "refused by the test"}
                  for entry in bad]
        self.answer(200, {"Successful": answer.get("Successful", []), "Failed": answer.get("Failed", []) + failed},
                    {"Content-Type": "application/x-amz-json-1.0"})

    def cut(self):
        """Closes the connection without a word."""
        self.handler.close_connection = True

    def tear(self, status, body, headers):
        """Begins an answer, and closes the connection before its end: unlike one that was cut without a word, such a
        request is not sent again by the client's library itself."""
        whole = json.dumps(body).encode()
        self.handler.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(whole))}.items():
            self.handler.send_header(key, value)
        self.handler.end_headers()
        self.handler.wfile.write(whole[:len(whole) // 2])
        self.cut()


class FaultyQueue:
    """`on[ACTION] = function(call)` decides about an action's requests; all others are passed on."""

    def __init__(self, target):
        self.on, self.lock, self.counts = {}, threading.Lock(), {}
        # What the server handed out: bodies with their receive counts; and bodies by handle.
        self.receives, self.bodies = [], {}
        # Of deletes and changes of visibility: code of each entry that the worker was told failed.
        self.failures, queue = {DELETE: [], EXTEND: []}, self

        class Handler(PassingProxy):
            def do_GET(self):
                try:
                    self.answer(*self.pass_on(None))
                except requests.ConnectionError:
                    self.close_connection = True

            def do_POST(self):
                data, action = self.body(), self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                with queue.lock:
                    number = queue.counts.get(action, 0)
                    queue.counts[action] = number + 1
                call = Call(self, action, number, data)
                try:
                    queue.on.get(action, lambda call: call.answer(*call.pass_on()))(call)
                except (requests.ConnectionError, BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def pass_on(self, body):
                status, content, headers = super().pass_on(body)
                if self.headers.get("X-Amz-Target", "").endswith(RECEIVE) and status == 200:
                    queue.note(json.loads(content).get("Messages", []))
                return status, content, headers

            def answer(self, status, body, headers):
                action = self.headers.get("X-Amz-Target", "").rpartition(".")[2]
                if action in queue.failures and status == 200:
                    with queue.lock:
                        queue.failures[action] += [entry["Code"] for entry in json.loads(body).get("Failed", [])]
                super().answer(status, body, headers)

        Handler.target = target
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def note(self, messages):
        with self.lock:
            for message in messages:
                self.bodies[message["ReceiptHandle"]] = message["Body"]
                self.receives.append((message["Body"], int(message["Attributes"]["ApproximateReceiveCount"])))

    def count(self, action):
        with self.lock:
            return self.counts.get(action, 0)

    def body_of(self, entry):
        """The body of the message that an entry of a batch is about."""
        with self.lock:
            return self.bodies.get(entry["ReceiptHandle"])

    def receive_counts(self):
        """By body: how often the server handed the message out."""
        with self.lock:
            return {body: max(count for other, count in self.receives if other == body) for body, _ in self.receives}


@contextlib.contextmanager
def faulty_queue(target):
    queue = FaultyQueue(target)
    threading.Thread(target=queue.server.serve_forever, daemon=True).start()
    try:
        yield queue
    finally:
        queue.server.shutdown()
        queue.server.server_close()
