# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What a restart keeps: messages, order, visibility, receive counts, deduplication, settings of queues, dead letters."""

import json

import pytest
from conftest import Queue

FIFO = {"FifoQueue": "true"}


@pytest.fixture
def restart(servers):
    """A server with a queue; `restart.again()` stops it cleanly, or kills it, and starts it anew."""

    class Restart:
        def __init__(self):
            self.server = servers()
            self.url = self.server.boto().create_queue(QueueName="q.fifo", Attributes=FIFO)["QueueUrl"]
            self.open()

        def open(self):
            self.sqs = self.server.boto()
            handles = self.queue.handles if hasattr(self, "queue") else {}
            self.queue = Queue(self.sqs, "q.fifo")
            self.queue.handles = handles

        def again(self, crash=False):
            self.server.kill9() if crash else self.server.stop()
            self.server = servers(port=self.server.port)
            self.open()

    return Restart()


both_ways = pytest.mark.parametrize("crash", [False, True], ids=["stop", "kill"])


@both_ways
def test_messages_and_their_order_survive(restart, crash):
    words = [f"g{i % 3}-{i}" for i in range(30)]
    restart.queue.send(*words)
    restart.again(crash)
    got = restart.queue.receive() + restart.queue.receive() + restart.queue.receive()
    for group in "012":
        assert [w for w in got if w.startswith("g" + group)] == [w for w in words if w.startswith("g" + group)]


@both_ways
def test_deleted_messages_stay_deleted(restart, crash):
    restart.queue.send("g-1", "g-2")
    restart.queue.receive(1)
    restart.queue.delete("g-1")
    restart.again(crash)
    assert restart.queue.receive() == ["g-2"]


def test_visibility_and_receive_counts_survive_a_clean_stop(restart):
    restart.queue.send("a-1", "a-2", "b-1")
    assert restart.queue.receive(1, visibility=0) == ["a-1"]
    assert restart.queue.receive(1, visibility=600) == ["b-1"]
    assert restart.queue.receive(1, visibility=600) == ["a-1"]
    restart.again()
    assert restart.queue.receive() == [], "what was in flight still is, and holds its group"
    restart.queue.delete("b-1")
    restart.queue.visibility(0, "a-1")
    got = restart.sqs.receive_message(
        QueueUrl="q.fifo", MaxNumberOfMessages=10, MessageSystemAttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert [(m["Body"], m["Attributes"]["ApproximateReceiveCount"]) for m in got] == [("a-1", "3"), ("a-2", "1")]


def test_after_a_crash_a_message_in_flight_is_delivered_again_at_its_place(restart):
    restart.queue.send("a-1", "a-2", "a-3")
    restart.queue.receive(2, visibility=1)
    restart.again(crash=True)
    got = []
    while len(got) < 3:
        more = restart.queue.receive(wait=5)
        assert more, got
        got += more
    assert got == ["a-1", "a-2", "a-3"]


@both_ways
def test_deduplication_survives(restart, crash):
    def send(id):
        return restart.sqs.send_message(
            QueueUrl="q.fifo", MessageBody="x", MessageGroupId="g", MessageDeduplicationId=id)["MessageId"]

    first, deleted = send("one"), send("two")
    restart.queue.receive(2)
    got = restart.sqs.receive_message(QueueUrl="q.fifo").get("Messages", [])
    assert got == []
    restart.queue.visibility(0, "x")
    restart.again(crash)
    assert (send("one"), send("two")) == (first, deleted)


def test_deduplication_of_deleted_messages_survives(restart):
    restart.sqs.send_message(QueueUrl="q.fifo", MessageBody="x", MessageGroupId="g", MessageDeduplicationId="one")
    restart.queue.receive()
    restart.queue.delete("x")
    for crash in (False, True):
        restart.again(crash)
        restart.sqs.send_message(QueueUrl="q.fifo", MessageBody="x", MessageGroupId="g", MessageDeduplicationId="one")
        assert restart.queue.receive() == []


def test_sequence_numbers_go_on_growing(restart):
    def number():
        return restart.server.send("q.fifo", "g", "x")["sequenceNumber"]

    numbers = [number()]
    for crash in (False, True):
        restart.again(crash)
        numbers.append(number())
    assert numbers == sorted(set(numbers))


@both_ways
def test_queues_their_attributes_and_tags_survive(restart, crash):
    restart.sqs.create_queue(QueueName="dead.fifo", Attributes=FIFO)
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead.fifo", "maxReceiveCount": 3}
    changed = {"VisibilityTimeout": "7", "RedrivePolicy": json.dumps(policy), "MaximumMessageSize": "2048"}
    restart.sqs.set_queue_attributes(QueueUrl="q.fifo", Attributes=changed)
    restart.sqs.tag_queue(QueueUrl="q.fifo", Tags={"team": "mail"})
    restart.server.post("/v1/pools", json={"name": "other.fifo", "shards": 5, "quota": 9})
    restart.again(crash)
    shown = restart.queue.attributes()
    assert (shown["VisibilityTimeout"], shown["MaximumMessageSize"]) == ("7", "2048")
    assert json.loads(shown["RedrivePolicy"]) == policy
    assert restart.sqs.list_queue_tags(QueueUrl="q.fifo")["Tags"] == {"team": "mail"}
    other = restart.server.pool("other.fifo")
    assert (len(other["shards"]), other["quota"]) == (5, 9)


@both_ways
def test_a_purge_stays_a_purge(restart, crash):
    restart.queue.send("g-1", "g-2")
    restart.sqs.purge_queue(QueueUrl="q.fifo")
    restart.queue.send("g-3")
    restart.again(crash)
    assert restart.queue.receive() == ["g-3"]


@both_ways
def test_dead_letters_stay_dead_letters(restart, crash):
    restart.sqs.create_queue(QueueName="dead.fifo", Attributes=FIFO)
    policy = {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:dead.fifo", "maxReceiveCount": 1}
    restart.sqs.set_queue_attributes(QueueUrl="q.fifo", Attributes={"RedrivePolicy": json.dumps(policy)})
    restart.queue.send("g-1", "g-2")
    assert restart.queue.receive(1, visibility=0) == ["g-1"]
    assert restart.queue.receive(1, visibility=600, wait=5) == ["g-2"]
    restart.again(crash)
    dead = Queue(restart.sqs, "dead.fifo")
    assert dead.receive(wait=5) == ["g-1"]
    restart.queue.delete("g-2") if not crash else None
    assert "g-1" not in restart.queue.receive()


def test_a_pool_of_another_size_in_the_settings_is_refused(servers):
    server = servers(pools=("emails.fifo=8",))
    server.stop()
    with pytest.raises(AssertionError, match="ended with 78"):
        servers(pools=("emails.fifo=4",), port=server.port)
    again = servers(pools=("emails.fifo=8",), port=server.port)
    assert "8 shards" in again.text() and "different" in again.text(), "the refusal said why"
    again.stop()
