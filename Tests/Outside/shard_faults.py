# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A pool of queues of which one can be taken ill: a proxy before that one, and traffic to the others meanwhile."""

import contextlib
import json
import threading
import time
from collections import defaultdict
from http.server import ThreadingHTTPServer

from faulty_queue import FaultyQueue

WAYS = ["silent", "refusing", "throttling", "slow"]


class IllQueue(FaultyQueue):
    """Passes everything on until it is taken ill: then it accepts and never answers, refuses connections, throttles
    whatever is asked, or takes two seconds for each answer."""

    def __init__(self, target):
        super().__init__(target)
        self.way, self.well = None, threading.Event()
        self.well.set()
        self.on = self
        self.serve()

    def serve(self):
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def get(self, action, otherwise):
        """What becomes of a request: in the place of a table by action."""
        return {None: otherwise, "silent": self.hold, "refusing": lambda call: call.cut(),
                "throttling": lambda call: call.refuse("ThrottlingException"), "slow": self.delay}[self.way]

    def hold(self, call):
        self.well.wait(60)
        call.cut()

    @staticmethod
    def delay(call):
        time.sleep(2)
        call.answer(*call.pass_on())

    def fall_ill(self, way):
        self.way = way
        self.well.clear()
        if way == "refusing":
            self.close()

    def recover(self):
        way, self.way = self.way, None
        if way == "refusing":
            self.server = ThreadingHTTPServer(self.server.server_address, self.server.RequestHandlerClass)
            self.serve()
        self.well.set()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@contextlib.contextmanager
def ill_queue(target):
    queue = IllQueue(target)
    try:
        yield queue
    finally:
        queue.well.set()
        with contextlib.suppress(OSError):
            queue.close()


class Latencies:
    """Seconds that each kind of request took, with when it began."""

    def __init__(self):
        self.lock, self.taken = threading.Lock(), defaultdict(list)

    @contextlib.contextmanager
    def of(self, kind):
        start = time.monotonic()
        yield
        self.note(kind, start, time.monotonic() - start)

    def note(self, kind, start, seconds):
        with self.lock:
            self.taken[kind].append((start, seconds))

    def p99(self, since, until):
        """By kind, of those that began in between; what is still under way at `until` is not among them."""
        with self.lock:
            kinds = {kind: sorted(s for start, s in taken if since <= start < until)
                     for kind, taken in self.taken.items()}
        return {kind: (len(taken), taken[min(len(taken) - 1, len(taken) * 99 // 100)])
                for kind, taken in kinds.items() if taken}


class Traffic:
    """Senders and receivers of one pool, each message noted when it is acknowledged and when it comes.

    A body is `group/number/time`; a sender goes on to the next number only when this one is acknowledged, and sends
    it again under its deduplication id until then.
    """

    def __init__(self, server, pool):
        self.server, self.pool = server, pool
        self.lock, self.stopping, self.draining = threading.Lock(), threading.Event(), threading.Event()
        self.acknowledged, self.received, self.errors = defaultdict(int), defaultdict(list), []
        self.latencies, self.threads, self.refusals = Latencies(), [], []

    def start(self, work, *arguments):
        def run():
            try:
                work(*arguments)
            except Exception as error:
                self.errors.append(error)

        thread = threading.Thread(target=run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def message(self, group):
        number = self.acknowledged[group]
        return {"group": group, "body": f"{group}/{number}/{time.monotonic()}", "deduplicationId": f"{group}/{number}"}

    # MARK: - Senders

    def singles(self, group, session):
        """Well: every message is taken at once."""
        while not self.stopping.is_set():
            with self.latencies.of("send"):
                answer = session.post(f"{self.server.url}/v1/pools/{self.pool}/messages", json=self.message(group),
                                      timeout=60)
            assert answer.status_code == 202, answer.text
            self.acknowledged[group] += 1
            time.sleep(0.02)

    def refused(self, group, session):
        """Ill: refused now and then; sent again."""
        while not self.stopping.is_set():
            start, message = time.monotonic(), self.message(group)
            answer = session.post(f"{self.server.url}/v1/pools/{self.pool}/messages", json=message, timeout=60)
            if answer.status_code == 202:
                self.acknowledged[group] += 1
                self.latencies.note("ill send", start, time.monotonic() - start)
            else:
                with self.lock:
                    self.refusals.append(
                        (start, time.monotonic() - start, answer.status_code, answer.headers.get("Retry-After")))
            time.sleep(0.1)

    def streams(self, groups, session):
        while not self.stopping.is_set():
            lines = "".join(json.dumps(self.message(group)) + "\n" for group in groups)
            with self.latencies.of("NDJSON"):
                answer = session.post(f"{self.server.url}/v1/pools/{self.pool}/messages", data=lines, timeout=60,
                                      headers={"Content-Type": "application/x-ndjson"})
            results = [json.loads(line) for line in answer.text.splitlines()]
            assert len(results) == len(groups) and all("id" in result for result in results), answer.text
            for group in groups:
                self.acknowledged[group] += 1
            time.sleep(0.05)

    def batches(self, groups, kind, sqs):
        """Batches of SQS over several shards; entries that failed are sent again."""
        while not self.stopping.is_set():
            messages = [self.message(group) for group in groups]
            with self.latencies.of(kind):
                answer = sqs.send_message_batch(QueueUrl=self.pool, Entries=[
                    {"Id": str(i), "MessageBody": m["body"], "MessageGroupId": m["group"],
                     "MessageDeduplicationId": m["deduplicationId"]} for i, m in enumerate(messages)])
            for entry in answer.get("Successful", []):
                self.acknowledged[groups[int(entry["Id"])]] += 1
            time.sleep(0.05)

    # MARK: - Receivers

    def receiver(self, sqs, ill):
        """Long polls of the whole pool; extends and deletes what comes."""
        while not self.draining.is_set():
            got = sqs.receive_message(QueueUrl=self.pool, MaxNumberOfMessages=10, WaitTimeSeconds=3,
                                      VisibilityTimeout=10).get("Messages", [])
            now = time.monotonic()
            well = []
            for message in got:
                group, number, sent = message["Body"].split("/")
                with self.lock:
                    self.received[group].append(int(number))
                if group not in ill:
                    well.append(message)
                    self.latencies.note("arrival", float(sent), now - float(sent))
            others = [message for message in got if message not in well]
            for kind, messages in (("", well), ("ill ", others)):
                if messages:
                    self.finish(sqs, kind, messages)

    def finish(self, sqs, kind, messages):
        handles = [{"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)]
        with self.latencies.of(kind + "extend"):
            sqs.change_message_visibility_batch(
                QueueUrl=self.pool, Entries=[{**handle, "VisibilityTimeout": 10} for handle in handles])
        with self.latencies.of(kind + "delete"):
            answer = sqs.delete_message_batch(QueueUrl=self.pool, Entries=handles)
        assert kind or "Failed" not in answer, answer["Failed"]

    # MARK: - The end

    def missing(self):
        with self.lock:
            return [group for group, count in self.acknowledged.items()
                    if not set(range(count)) <= set(self.received[group])]

    def assert_in_order(self):
        """Each group begins at 0 and goes on by one; what came again because its delete failed came again in order."""
        with self.lock:
            for group, numbers in self.received.items():
                highest = -1
                for number in numbers:
                    assert number <= highest + 1, (group, numbers)
                    highest = max(highest, number)
