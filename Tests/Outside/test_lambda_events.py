# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A function written for AWS Lambda, with Powertools' own processor, gets the events that it gets there."""

import collections
import contextlib
import functools
import http.server
import json
import threading
import time

import pytest
from aws_lambda_powertools.utilities.batch import SqsFifoPartialProcessor, process_partial_response
from aws_lambda_powertools.utilities.data_classes import SQSEvent
from conftest import wait_until

POOL = "emails.fifo"
DEAD = "emails-dlq.fifo"


class Function:
    """A function behind HTTP: `handle(record)` fails a record by an exception; `respond`, if set, answers instead."""

    def __init__(self, handle, respond=None):
        self.handle, self.respond = handle, respond
        self.events, self.done, self.lock = [], [], threading.Lock()

    def __call__(self, event):
        with self.lock:
            self.events.append(event)
        if self.respond and (answer := self.respond(event)) is not None:
            return answer
        processor = SqsFifoPartialProcessor(skip_group_on_error=True)
        try:
            return 200, json.dumps(process_partial_response(
                event=event, record_handler=self.record, processor=processor, context=None))
        except Exception:  # Powertools raises when all records of an event failed, as Lambda expects.
            return 500, json.dumps({"errorType": "BatchProcessingError"})

    def record(self, record):
        self.handle(record)
        with self.lock:
            self.done.append(record.body)

    @property
    def bodies(self):
        with self.lock:
            return [[record["body"] for record in event["Records"]] for event in self.events]


@contextlib.contextmanager
def served(function):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, body = function(event)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *arguments):
            pass

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 256

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"lambda+http://127.0.0.1:{server.server_port}/function"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def work(server, workers):
    for pool in (POOL, DEAD):
        server.post(f"/v1/pools/{pool}/purge")
    return functools.partial(workers, endpoint=server.url)


def is_empty(server, name=POOL):
    pool = server.pool(name)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"] == 0


def test_a_record_is_what_lambda_hands_over(server, sqs, work):
    function = Function(lambda record: None)
    with served(function) as url:
        sent = sqs.send_message(
            QueueUrl=POOL, MessageBody="K\u00f6ln \U0001f600", MessageGroupId="g1", MessageDeduplicationId="d1",
            MessageAttributes={"kind": {"DataType": "String", "StringValue": "order"},
                               "count": {"DataType": "Number", "StringValue": "7"},
                               "raw": {"DataType": "Binary", "BinaryValue": b"\x00\xff"}})
        worker = work("--deliver", url)
        wait_until(lambda: is_empty(server) and function.done, 30, "an empty pool")
        worker.stop()
    [event] = function.events
    record = next(iter(SQSEvent(event).records))
    assert record.message_id == sent["MessageId"] and record.body == "K\u00f6ln \U0001f600"
    assert record.md5_of_body == sent["MD5OfMessageBody"] and record.receipt_handle
    assert record.attributes.message_group_id == "g1"
    assert record.attributes.approximate_receive_count == "1"
    assert int(record.attributes.approximate_first_receive_timestamp) > 1_600_000_000_000
    assert int(record.attributes.sent_timestamp) > 1_600_000_000_000
    assert record.attributes.sequence_number == sent["SequenceNumber"]
    assert record.attributes.message_deduplication_id == "d1"
    assert record.message_attributes["kind"].string_value == "order"
    assert record.message_attributes["count"].data_type == "Number"
    assert record.message_attributes["raw"].binary_value == "AP8="
    assert event["Records"][0]["messageAttributes"]["kind"]["stringListValues"] == []
    assert record.event_source == "aws:sqs" and record.aws_region == "us-east-1"
    assert record.queue_url.endswith(".fifo") and record.event_source_arn.startswith("arn:aws:sqs:us-east-1:")


def test_a_message_that_fails_holds_up_its_own_group_only(server, work):
    """20 groups of 5; one message fails twice. Order is kept, the others do not wait, and nothing comes twice."""
    failures, release = collections.Counter(), threading.Event()

    def handle(record):
        if record.body == "g7/2" and (failures["g7/2"] < 2 or not release.is_set()):
            failures["g7/2"] += 1
            raise ValueError("not now")

    function = Function(handle)
    for number in range(5):
        for group in range(20):
            server.send(POOL, f"g{group}", f"g{group}/{number}")
    with served(function) as url:
        worker = work("--deliver", url, "--retry-seconds", "600")
        wait_until(lambda: len(function.done) == 97 and failures["g7/2"] >= 2, 60, "all but the one group")
        assert [body for body in function.done if body.startswith("g7/")] == ["g7/0", "g7/1"]
        release.set()
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert len(function.done) == 100 and len(set(function.done)) == 100, "each once"
    for group in range(20):
        assert [b for b in function.done if b.startswith(f"g{group}/")] == [f"g{group}/{k}" for k in range(5)]
    handed = collections.Counter(body for bodies in function.bodies for body in bodies)
    assert {body for body, count in handed.items() if count > 1} == {"g7/2"}, "nothing else came twice"
    assert max(map(len, function.bodies)) <= 10
    for event in function.events:
        groups = [record["attributes"]["MessageGroupId"] for record in event["Records"]]
        assert len(groups) == len(set(groups)), "one of a group at a time"
    assert is_empty(server, DEAD)


def test_what_waits_for_a_request_goes_together_in_the_next(server, work):
    held, release = threading.Semaphore(0), threading.Event()

    def respond(event):
        held.release()
        release.wait(60)

    function = Function(lambda record: None, respond)
    for group in range(40):
        server.send(POOL, f"g{group}", f"g{group}/0")
    with served(function) as url:
        worker = work("--deliver", url, "--concurrency", "40")
        for _ in range(4):
            assert held.acquire(timeout=30), "four requests at one time"
        wait_until(lambda: server.pool(POOL)["inFlight"] >= 40, 30, "the worker to hold all")
        release.set()
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    sizes = [len(bodies) for bodies in function.bodies]
    assert sizes[:4] == [1, 1, 1, 1] and sum(sizes) == 40 and max(sizes) == 10, sizes
    assert sorted(function.done) == sorted(f"g{group}/0" for group in range(40))


@pytest.mark.parametrize("answer", [
    (200, "OK"), (200, ""), (200, json.dumps({"batchItemFailures": [{"itemIdentifier": "not-ours"}]})),
    (200, json.dumps({"batchItemFailures": [{"itemIdentifier": ""}]})), (400, "{}"), (500, "{}"),
], ids=["text", "nothing", "not-ours", "empty-id", "http-400", "http-500"])
def test_an_answer_that_is_none_delivers_nothing_and_gives_nothing_up(server, work, answer):
    seen = collections.Counter()

    def respond(event):
        """The first answer for each record is none."""
        bodies = [record["body"] for record in event["Records"]]
        first = any(seen[body] == 0 for body in bodies)
        seen.update(bodies)
        return answer if first else None

    function = Function(lambda record: None, respond)
    for group in range(3):
        server.send(POOL, f"g{group}", f"g{group}/0")
    with served(function) as url:
        worker = work("--deliver", url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert sorted(function.done) == ["g0/0", "g1/0", "g2/0"] and set(seen.values()) == {2}
    assert is_empty(server, DEAD)


def test_a_record_on_which_the_function_dies_takes_others_down_once(server, work):
    """Every event with the poison message fails as a whole; after the first time that message goes alone, although
    others wait whenever it is tried again: the function is slow."""
    def respond(event):
        time.sleep(0.3)
        if any(record["body"] == "g3/0" for record in event["Records"]):
            return 500, "{}"

    function = Function(lambda record: None, respond)
    for number in range(6):
        for group in range(12):
            server.send(POOL, f"g{group}", f"g{group}/{number}")
    with served(function) as url:
        worker = work("--deliver", url, "--max-attempts", "4", "--concurrency", "12")
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    with_poison = [bodies for bodies in function.bodies if "g3/0" in bodies]
    assert len(with_poison) == 4 and all(bodies == ["g3/0"] for bodies in with_poison[1:]), with_poison
    assert sorted(function.done) == sorted(
        f"g{group}/{number}" for group in range(12) for number in range(6) if (group, number) != (3, 0))
    assert server.pool(DEAD)["backlog"] == 1
    server.post(f"/v1/pools/{DEAD}/purge")
