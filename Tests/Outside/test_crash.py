# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""I1, I2, I3 under `kill -9`: what was acknowledged arrives, once, in its group's order.

Senders number the messages of groups of their own and repeat a request without an answer under its deduplication id, as
a client should. Receivers delete what they get. Deliveries that come again because a kill ended their visibility are
counted apart."""

import collections
import os
import random
import threading

import requests
from botocore.exceptions import BotoCoreError, ClientError
from conftest import Server

POOL = "emails.fifo"
KILLS, GROUPS, SENDERS, RECEIVERS = 20, 24, 8, 2


class Sender(threading.Thread):
    def __init__(self, url, groups, seed):
        super().__init__(daemon=True)
        self.url, self.groups, self.random = url, groups, random.Random(seed)
        self.acknowledged = collections.defaultdict(list)
        self.next, self.unanswered, self.ends = collections.Counter(), {}, threading.Event()

    def run(self):
        session = requests.Session()
        while not self.ends.is_set():
            group = self.random.choice(self.groups)
            numbers = self.unanswered.pop(group, None)
            if numbers is None:
                numbers = range(self.next[group], self.next[group] + self.random.choice([1, 1, 5]))
                self.next[group] = numbers.stop
            try:
                accepted = self.send(session, group, numbers)
            except (requests.RequestException, ValueError):
                accepted = False
            if accepted:
                self.acknowledged[group].extend(numbers)
            else:
                self.unanswered[group] = numbers
                self.ends.wait(0.02)

    def send(self, session, group, numbers):
        """One message through REST, several through a batch of the SQS protocol."""
        words = [f"{group}:{number}" for number in numbers]
        if len(words) == 1:
            answer = session.post(f"{self.url}/v1/pools/{POOL}/messages", timeout=10, json={
                "group": group, "body": words[0], "deduplicationId": words[0]})
            return answer.status_code == 202
        answer = session.post(self.url + "/", timeout=10, headers={
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessageBatch"}, json={
                "QueueUrl": POOL, "Entries": [
                    {"Id": str(i), "MessageBody": word, "MessageGroupId": group, "MessageDeduplicationId": word}
                    for i, word in enumerate(words)]})
        return answer.status_code == 200 and "Failed" not in answer.json()


class Receiver(threading.Thread):
    def __init__(self, server):
        super().__init__(daemon=True)
        self.sqs, self.deliveries, self.deleted, self.ends = server.boto(), [], set(), threading.Event()

    def run(self):
        while not self.ends.is_set():
            try:
                got = self.sqs.receive_message(
                    QueueUrl=POOL, MaxNumberOfMessages=10, WaitTimeSeconds=1, VisibilityTimeout=600).get("Messages", [])
                self.deliveries.append([(m["MessageId"], m["Body"]) for m in got])
                gone = got and self.sqs.delete_message_batch(QueueUrl=POOL, Entries=[
                    {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)])
                self.deleted.update(got[int(e["Id"])]["MessageId"] for e in (gone or {}).get("Successful", []))
            except (BotoCoreError, ClientError):
                self.ends.wait(0.02)


def numbers_of(batch):
    groups = collections.defaultdict(list)
    for _, word in batch:
        group, number = word.split(":")
        groups[group].append(int(number))
    return groups


def check(acknowledged, receivers, drained):
    deleted = set().union(*(receiver.deleted for receiver in receivers))
    batches = [batch for receiver in receivers for batch in receiver.deliveries] + [drained]
    ids, times = {}, collections.Counter()
    for batch in batches:
        for group, numbers in numbers_of(batch).items():
            assert numbers == sorted(set(numbers)), f"{group} out of order within one receive: {numbers}"
        for message_id, word in batch:
            assert ids.setdefault(word, message_id) == message_id, f"{word} was accepted twice"
            times[word] += 1
    for group, numbers in acknowledged.items():
        lost = [n for n in numbers if f"{group}:{n}" not in ids]
        assert not lost, f"{group} lost {lost}"
    again = [word for message_id, word in drained if message_id in deleted]
    assert not again, f"came again although their deletes were answered: {again}"
    for receiver in receivers:
        newest = collections.Counter()
        for batch in receiver.deliveries:
            for group, numbers in numbers_of(batch).items():
                fresh = [n for n in numbers if times[f"{group}:{n}"] == 1]
                assert not fresh or fresh[0] >= newest[group], f"{group}: {fresh[0]} after {newest[group]}"
                newest[group] = max([newest[group], *fresh])
    return sum(count - 1 for count in times.values())


def test_what_was_acknowledged_survives_twenty_kills(tmp_path):
    seed = int(os.environ.get("TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}; TEST_SEED={seed} repeats it")
    rng = random.Random(seed)
    server = Server(tmp_path)
    groups = [f"g{i}" for i in range(GROUPS)]
    senders = [Sender(server.url, groups[i::SENDERS], seed + i) for i in range(SENDERS)]
    receivers = [Receiver(server) for _ in range(RECEIVERS)]
    for thread in senders + receivers:
        thread.start()
    for _ in range(KILLS):
        threading.Event().wait(rng.uniform(0.05, 0.9))  # the random moment of the kill
        server.kill9()
        server = Server(tmp_path, port=server.port)
    for thread in senders + receivers:
        thread.ends.set()
    for thread in senders + receivers:
        thread.join(30)
        assert not thread.is_alive()
    server.kill9()  # ends every visibility timeout that a receiver left behind
    server = Server(tmp_path, port=server.port)
    drained = [(m["MessageId"], m["Body"]) for m in server.drain(POOL)]
    acknowledged = {group: numbers for sender in senders for group, numbers in sender.acknowledged.items()}
    total = sum(map(len, acknowledged.values()))
    redelivered = check(acknowledged, receivers, drained)
    print(f"{total} acknowledged, {redelivered} delivered again after a kill, {len(drained)} drained")
    assert total > 1_000, "too little was sent to test anything"
    server.stop()
