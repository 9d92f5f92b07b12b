"""I1, I2, I3 under `kill -9`: what was acknowledged arrives, once, in its group's order."""
import collections
import random
import threading

import requests

from conftest import Server, receive, delete, sqs_client

KILLS = 20
GROUPS = 24
SENDERS = 8


class Sender(threading.Thread):
    """Sends numbered messages to groups of its own, one request at a time; a request without an answer is repeated with
    the same deduplication id, as a client should."""

    def __init__(self, url, groups, seed):
        super().__init__(daemon=True)
        self.url, self.groups, self.random = url, groups, random.Random(seed)
        self.acknowledged = collections.defaultdict(list)
        self.next = collections.Counter()
        self.unanswered = {}
        self.stop = threading.Event()
        self.session = requests.Session()

    def run(self):
        while not self.stop.is_set():
            group = self.random.choice(self.groups)
            number = self.unanswered.pop(group, None)
            if number is None:
                number = self.next[group]
                self.next[group] += 1
            try:
                answer = self.session.post(
                    f"{self.url}/v1/pools/emails.fifo/messages", timeout=10,
                    json={"group": group, "body": f"{group}:{number}", "deduplicationId": f"{group}:{number}"})
            except requests.RequestException:
                self.unanswered[group] = number
                self.stop.wait(0.02)
                continue
            if answer.status_code == 202:
                self.acknowledged[group].append(number)
            else:
                self.unanswered[group] = number


class Receiver(threading.Thread):
    """Receives and deletes; remembers every delivery, and which deletes were answered."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url = url
        self.deliveries = []
        self.deleted = set()
        self.stop = threading.Event()

    def run(self):
        sqs = sqs_client(self.url)
        while not self.stop.is_set():
            try:
                messages = receive(sqs, "emails.fifo", WaitTimeSeconds=1)
                self.deliveries.append([(m["MessageId"], m["Body"]) for m in messages])
                delete(sqs, "emails.fifo", messages)
                self.deleted.update(m["MessageId"] for m in messages)
            except AssertionError:
                raise
            except Exception:
                self.stop.wait(0.02)


def drain(url):
    sqs = sqs_client(url)
    found = []
    while True:
        messages = receive(sqs, "emails.fifo", WaitTimeSeconds=1)
        if not messages:
            return found
        found.append([(m["MessageId"], m["Body"]) for m in messages])
        delete(sqs, "emails.fifo", messages)


def check(acknowledged, receivers, drained):
    """Every acknowledged message came; what came twice was in flight when a server was killed; the first arrivals of a
    group are in order."""
    first, ids = {}, {}
    deleted = set().union(*(r.deleted for r in receivers))
    history = [batch for r in receivers for batch in r.deliveries] + drained
    for batch in history:
        for message_id, body in batch:
            assert ids.setdefault(body, message_id) == message_id, f"{body} was accepted twice"
            first.setdefault(body, len(first))
    for group, numbers in acknowledged.items():
        missing = [n for n in numbers if f"{group}:{n}" not in first]
        assert not missing, f"{group} lost {missing}"
    for message_id, body in (m for batch in drained for m in batch):
        assert message_id not in deleted, f"{body} came again although its delete was answered"
    for batch in history:
        last = {}
        for _, body in batch:
            group, number = body.split(":")
            assert int(number) > last.get(group, -1), f"{group} out of order within one receive"
            last[group] = int(number)


def test_what_was_acknowledged_survives_twenty_kills(tmp_path, seed):
    rng = random.Random(seed)
    server = Server(tmp_path).start()
    groups = [f"g{i}" for i in range(GROUPS)]
    senders = [Sender(server.url, groups[i::SENDERS], seed + i) for i in range(SENDERS)]
    receivers = [Receiver(server.url) for _ in range(2)]
    for thread in senders + receivers:
        thread.start()
    for _ in range(KILLS):
        threading.Event().wait(rng.uniform(0.05, 0.9))
        server.kill9()
        server.start()
    for thread in senders:
        thread.stop.set()
        thread.join()
    for thread in receivers:
        thread.stop.set()
        thread.join()
    # A clean stop and start end every visibility timeout that a receiver left behind.
    server.kill9()
    server.start()
    drained = drain(server.url)
    acknowledged = {g: n for s in senders for g, n in s.acknowledged.items()}
    total = sum(len(n) for n in acknowledged.values())
    assert total > 200, f"only {total} messages were acknowledged: the test tested nothing"
    check(acknowledged, receivers, drained)
    orders = collections.defaultdict(list)
    for batch in drained:
        for _, body in batch:
            group, number = body.split(":")
            orders[group].append(int(number))
    for group, numbers in orders.items():
        assert numbers == sorted(numbers), f"{group} drained out of order"
    server.stop()
