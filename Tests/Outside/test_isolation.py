# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What many receivers, and receivers that leave, do to each other: nothing."""

import asyncio
import json
import resource
import socket
import struct
import uuid

import pytest
from conftest import wait_until
from test_sqs_receiving import background, waiting_receives

POOL = "emails.fifo"


def long_poll(server, chunked=False):
    """A receive that waits for 20 s; one whose body is chunked goes to the server's HTTP decoder."""
    data = json.dumps({"QueueUrl": f"{server.url}/queue/{POOL}", "MaxNumberOfMessages": 1, "WaitTimeSeconds": 20})
    length, body = "Content-Length: " + str(len(data)), data
    if chunked:
        length, body = "Transfer-Encoding: chunked", f"{len(data):x}\r\n{data}\r\n0\r\n\r\n"
    return (f"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.0\r\n"
            f"X-Amz-Target: AmazonSQS.ReceiveMessage\r\n{length}\r\n\r\n{body}").encode()


@pytest.fixture
def many_files():
    """As many open files as allowed, and how many connections they are good for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = hard if hard != resource.RLIM_INFINITY else 65_536
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 65_536), hard))
    yield min(most, 65_536) - 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def read_answer(reader):
    """Status and body of one answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length:"))
    return int(lines[0].split(" ")[1]), await reader.readexactly(length)


async def open_polls(server, count):
    """Connections on each of which a long poll waits."""
    streams = []
    while len(streams) < count:
        # A listener's backlog is bounded.
        streams += await asyncio.gather(*(
            asyncio.open_connection("127.0.0.1", server.port) for _ in range(min(200, count - len(streams)))))
    for _, writer in streams:
        writer.write(long_poll(server))
    return streams


def test_a_repeated_receive_replays_the_messages_of_all_its_shards(servers):
    server = servers(pools=(f"{POOL}=8",))
    sqs = server.boto()
    url = sqs.get_queue_url(QueueName=POOL)["QueueUrl"]

    def send(count):
        for number in range(count):
            sqs.send_message(QueueUrl=url, MessageBody="x", MessageGroupId=uuid.uuid4().hex,
                             MessageDeduplicationId=uuid.uuid4().hex)

    def receive(attempt, count=10):
        got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=count, ReceiveRequestAttemptId=attempt)
        return [message["MessageId"] for message in got.get("Messages", [])]

    send(6)
    first = receive("attempt-1")
    assert len(first) == 6
    # More arrives, on all shards, before the repeat: it is not for the repeat.
    send(40)
    assert receive("attempt-1") == first
    other = receive("attempt-2")
    assert len(other) == 10 and not set(other) & set(first)
    assert receive("attempt-2") == other
    assert receive("attempt-1") == first


def test_receivers_that_leave_are_forgotten_at_once_and_take_nothing(servers, many_files):
    server = servers(pools=(f"{POOL}=8",))
    count = min(2_000, many_files)
    gone = []
    for number in range(count):
        connection = socket.create_connection(("127.0.0.1", server.port))
        # A connection that is closed so is reset.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(long_poll(server, chunked=number % 2 == 1))
        gone.append(connection)
    wait_until(lambda: waiting_receives(server) == count, what="all waiting")
    alive = background(lambda: server.answer("ReceiveMessage", {
        "QueueUrl": f"{server.url}/queue/{POOL}", "WaitTimeSeconds": 20}))
    wait_until(lambda: waiting_receives(server) == count + 1, what="the live one waiting")
    for connection in gone:
        connection.close()
    wait_until(lambda: waiting_receives(server) == 1, 5, "those that left being forgotten")
    sent = server.boto().send_message(
        QueueUrl=f"{server.url}/queue/{POOL}", MessageBody="x", MessageGroupId="g", MessageDeduplicationId="d")
    got = alive(10)["Messages"]
    assert [message["MessageId"] for message in got] == [sent["MessageId"]]


def test_nine_thousand_receivers_woken_at_once_are_all_answered(servers, many_files):
    server = servers(pools=(f"{POOL}=8",))
    count = min(9_000, many_files)

    async def run():
        streams = await open_polls(server, count)
        while waiting_receives(server) < count:
            await asyncio.sleep(0.1)
        lines = "".join(
            json.dumps({"group": f"g{number}", "body": "x"}) + "\n" for number in range(count)).encode()
        sent = await asyncio.to_thread(
            server.post, f"/v1/pools/{POOL}/messages", data=lines, headers={"Content-Type": "application/x-ndjson"})
        assert sent.status_code == 200 and sent.text.count('"id"') == count
        answers = await asyncio.wait_for(asyncio.gather(*(read_answer(reader) for reader, _ in streams)), 60)
        for _, writer in streams:
            writer.transport.abort()
        return answers

    answers = asyncio.run(run())
    assert {status for status, _ in answers} == {200}
    bodies = [json.loads(body) for _, body in answers]
    ids = [message["MessageId"] for body in bodies for message in body.get("Messages", [])]
    assert len(ids) == len(set(ids)) == count
    assert server.is_running
