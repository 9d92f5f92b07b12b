# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Bodies that are too large for a queue: they lie in a file of their own, and come back as they were sent."""

import base64
import email
import hashlib
import json
import os
import sqlite3

import pytest
from botocore.exceptions import ClientError
from conftest import wait_until
from errors import assert_problem
from receivers import mail_server

POOL = "emails.fifo"
MIB = 1 << 20
NOTHING = "arn:aws:sqs:us-east-1:000000000000:"


def metric(server, name):
    return float(next(line.split()[-1] for line in server.get("/metrics").text.splitlines() if line.startswith(name + " ")))


def bodies(server):
    return metric(server, "queuepool_bodies")


def text_of(count, seed="a"):
    """No two parts of it are alike, so that one that is lost or out of place is seen."""
    line = f"{seed}-%015d\n"
    size = len(line % 0)
    return "".join(line % i for i in range(count // size + 1))[:count]


@pytest.fixture
def big(servers):
    return servers(pools=(POOL + "=2",))


def queue_of(server, name, **attributes):
    return server.boto().create_queue(
        QueueName=name + ".fifo", Attributes={"FifoQueue": "true", **attributes})["QueueUrl"]


def receive(sqs, queue, count=10, **more):
    return sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=count, MessageAttributeNames=["All"], MessageSystemAttributeNames=["All"],
        **more).get("Messages", [])


def test_a_message_of_5_mb_comes_back_and_its_body_goes_with_it(big):
    sqs, queue, body = big.boto(), queue_of(big, "five"), text_of(5 * MIB)
    sent = sqs.send_message(
        QueueUrl=queue, MessageBody=body, MessageGroupId="g", MessageDeduplicationId="1",
        MessageAttributes={"kind": {"DataType": "String", "StringValue": "x"}})
    assert sent["MD5OfMessageBody"] == hashlib.md5(body.encode()).hexdigest()
    assert (bodies(big), metric(big, "queuepool_bodies_bytes")) == (1, 5 * MIB)
    (message,) = receive(sqs, queue)
    assert message["Body"] == body
    assert list(message["MessageAttributes"]) == ["kind"], "the size is the server's own"
    assert message["MessageId"] == sent["MessageId"]
    sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    (message,) = receive(sqs, queue)
    assert message["Body"] == body and bodies(big) == 1
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    wait_until(lambda: bodies(big) == 0, what="the body's end")
    assert receive(sqs, queue) == []


def test_small_and_large_messages_of_a_group_keep_their_order(big):
    sqs, queue = big.boto(), queue_of(big, "mixed")
    sent = [text_of(2 * MIB, "first"), "small", text_of(2 * MIB, "third"), "last"]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=[
        {"Id": str(i), "MessageBody": body, "MessageGroupId": "g", "MessageDeduplicationId": str(i)}
        for i, body in enumerate(sent)])
    assert "Failed" not in answer
    got = receive(sqs, queue)
    assert [m["Body"] for m in got] == sent
    gone = sqs.delete_message_batch(QueueUrl=queue, Entries=[
        {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)])
    assert "Failed" not in gone
    wait_until(lambda: bodies(big) == 0, what="the bodies' end")


def test_an_email_with_an_attachment_of_25_mb_is_delivered_byte_for_byte(big, workers):
    content = os.urandom(25_000_000)
    answer = big.post(f"/v1/pools/{POOL}/emails", json={
        "from": "shop@example.com", "to": "ada@example.com", "subject": "Large", "text": "Hello",
        "attachments": [{"filename": "a.bin", "contentType": "application/octet-stream",
                         "content": base64.b64encode(content).decode()}]})
    assert answer.status_code == 202, answer.text[:300]
    assert bodies(big) == 1
    with mail_server() as box:
        workers("--deliver", f"smtp://127.0.0.1:{box.port}?tls=off", endpoint=big.url)
        wait_until(lambda: box.mails, 40, "the mail")
        wait_until(lambda: bodies(big) == 0, 60, "the body's end")
    assert len(box.mails) == 1
    (part,) = [p for p in email.message_from_bytes(box.mails[0][-1]).walk() if p.get_filename() == "a.bin"]
    assert part.get_payload(decode=True) == content


def test_a_repeated_send_leaves_one_body(big):
    sqs, body = big.boto(), text_of(5 * MIB)
    queue = queue_of(big, "twice", ContentBasedDeduplication="true")
    first, again = [sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="g") for _ in range(2)]
    assert first["MessageId"] == again["MessageId"]
    wait_until(lambda: bodies(big) == 1, what="one body")
    assert [m["Body"] for m in receive(sqs, queue)] == [body]


def test_what_was_acknowledged_is_there_after_a_kill(servers):
    server = servers(pools=(POOL + "=1",))
    body = text_of(5 * MIB)
    server.send(POOL, "g", body)
    server.kill9()
    server = servers(pools=(POOL + "=1",))
    assert bodies(server) == 1
    assert [m["Body"] for m in server.drain(POOL)] == [body]
    wait_until(lambda: bodies(server) == 0, what="the body's end")


def test_a_body_over_the_limit_is_refused_with_both_sizes(servers):
    server = servers("--body-bytes-max", "2097152", pools=(POOL + "=1",))
    body = "x" * (2 * MIB + 1)
    problem = assert_problem(server.post(f"/v1/pools/{POOL}/messages", json={"group": "g", "body": body}), 400, "body")
    assert str(2 * MIB + 1) in problem["detail"] and str(2 * MIB) in problem["detail"]
    with pytest.raises(ClientError, match="shorter than 2097152 bytes"):
        server.boto().send_message(QueueUrl=POOL, MessageBody=body, MessageGroupId="g", MessageDeduplicationId="1")
    assert bodies(server) == 0
    server.send(POOL, "g", "y" * (2 * MIB))
    assert [len(m["Body"]) for m in server.drain(POOL)] == [2 * MIB]


def test_a_request_that_is_larger_than_any_body_is_refused(servers):
    server = servers("--body-bytes-max", "2097152", pools=(POOL + "=1",))
    answer = server.post(f"/v1/pools/{POOL}/messages", json={"group": "g", "body": "x" * (8 * MIB)})
    assert answer.status_code == 413


def test_a_queue_with_a_limit_of_its_own_keeps_it(big):
    queue = queue_of(big, "small", MaximumMessageSize="2048")
    with pytest.raises(ClientError, match="shorter than 2048 bytes"):
        big.boto().send_message(
            QueueUrl=queue, MessageBody="x" * 2_049, MessageGroupId="g", MessageDeduplicationId="1")
    assert bodies(big) == 0


def test_a_message_whose_body_is_missing_is_held_back_and_ends_in_the_dead_letter_queue(servers):
    server = servers(pools=(POOL + "=1",))
    sqs, dead = server.boto(), queue_of(server, "dead")
    queue = queue_of(server, "live", RedrivePolicy=json.dumps(
        {"deadLetterTargetArn": NOTHING + "dead.fifo", "maxReceiveCount": "2"}))
    for group, body in (("g", text_of(2 * MIB)), ("g", "behind it"), ("other", "of another group")):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=str(len(body)))
    server.stop()
    with sqlite3.connect(server.data / "bodies.sqlite") as file:
        file.execute("DELETE FROM parts")
        file.execute("DELETE FROM bodies")
    file.close()
    server = servers(pools=(POOL + "=1",), port=server.port)
    got = receive(sqs, queue, VisibilityTimeout=1)
    assert [m["Body"] for m in got] == ["of another group"], "nothing overtakes in the group of the missing one"
    assert metric(server, "queuepool_bodies_missing_total") == 1
    assert "are missing" in server.text() and "a-0000" not in server.text()
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=got[0]["ReceiptHandle"])
    assert [m["Body"] for m in wait_until(
        lambda: receive(sqs, queue, WaitTimeSeconds=2, VisibilityTimeout=1), what="the next")] == ["behind it"]
    assert sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["All"])["Attributes"]["ApproximateNumberOfMessages"] == "1"


def test_a_body_goes_along_to_the_dead_letter_queue_and_back(big):
    sqs, dead = big.boto(), queue_of(big, "dead")
    queue = queue_of(big, "live", RedrivePolicy=json.dumps(
        {"deadLetterTargetArn": NOTHING + "dead.fifo", "maxReceiveCount": "1"}))
    body = text_of(3 * MIB)
    sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="g", MessageDeduplicationId="1")
    assert len(receive(sqs, queue, VisibilityTimeout=0)) == 1
    assert receive(sqs, queue) == []
    (moved,) = wait_until(lambda: receive(sqs, dead, WaitTimeSeconds=2, VisibilityTimeout=0), what="the dead letter")
    assert moved["Body"] == body and bodies(big) == 1
    sqs.start_message_move_task(SourceArn=NOTHING + "dead.fifo")
    (back,) = wait_until(lambda: receive(sqs, queue, WaitTimeSeconds=2), what="the message that came back")
    assert back["Body"] == body and bodies(big) == 1
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=back["ReceiptHandle"])
    wait_until(lambda: bodies(big) == 0, what="the body's end")


def test_an_answer_is_bounded_and_the_rest_comes_next(big):
    sqs, queue = big.boto(), queue_of(big, "many")
    sent = [text_of(30 * MIB, f"m{i}") for i in range(3)]
    for i, body in enumerate(sent):
        sqs.send_message(QueueUrl=queue, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=str(i))
    got = []
    while messages := receive(sqs, queue):
        assert len(messages) <= 2
        got += [m["Body"] for m in messages]
        for message in messages:
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    assert got == sent


def test_bodies_go_with_the_pool_that_is_deleted(big):
    sqs, queue = big.boto(), queue_of(big, "gone")
    sqs.send_message(QueueUrl=queue, MessageBody=text_of(2 * MIB), MessageGroupId="g", MessageDeduplicationId="1")
    assert bodies(big) == 1
    sqs.delete_queue(QueueUrl=queue)
    wait_until(lambda: bodies(big) == 0, what="the body's end")
