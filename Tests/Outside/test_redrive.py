# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Redrive of what a worker gave up, and what a move task says when it cannot go on."""

import pytest
from conftest import Process, wait_until

POOL, DEAD = "emails.fifo", "emails-dlq.fifo"


@pytest.fixture
def given_up(servers, tmp_path):
    """A server whose dead-letter queue holds 12 messages of 3 groups that a worker gave up."""
    server = servers(pools=(POOL + "=4",))
    for number in range(12):
        server.send(POOL, f"g{number % 3}", str(number))
    worker = Process(["work", "--pool", POOL, "--endpoint", server.url, "--deliver", "exec:exit 65"],
                     tmp_path / "worker.log")
    wait_until(lambda: server.pool(DEAD)["backlog"] == 12, 30, "12 dead letters")
    wait_until(lambda: server.pool(POOL)["backlog"] + server.pool(POOL)["inFlight"] == 0, 30, "an empty pool")
    worker.stop()
    return server


def arn(server):
    return server.answer("GetQueueAttributes", {"QueueUrl": DEAD, "AttributeNames": ["QueueArn"]})["Attributes"]["QueueArn"]


def redrive(server):
    server.answer("StartMessageMoveTask", {"SourceArn": arn(server)})

    def ended():
        task = server.answer("ListMessageMoveTasks", {"SourceArn": arn(server)})["Results"][0]
        return task if task["Status"] not in ("RUNNING", "CANCELLING") else None

    return wait_until(ended, 60, "the end of the move task")


def groups(messages):
    found = {}
    for message in messages:
        found.setdefault(message["Attributes"]["MessageGroupId"], []).append(int(message["Body"]))
    return found


def test_what_a_worker_gave_up_goes_back_to_its_pool_and_group_in_order(given_up):
    task = redrive(given_up)
    assert task["Status"] == "COMPLETED" and task["ApproximateNumberOfMessagesMoved"] == 12
    assert given_up.pool(DEAD)["backlog"] == 0
    back = given_up.drain(POOL)
    assert groups(back) == {f"g{g}": list(range(g, 12, 3)) for g in range(3)}
    assert not [name for m in back for name in m.get("MessageAttributes", {}) if name.startswith("queuepool.")]


def test_a_queue_is_not_moved_into_itself(given_up):
    """The copy would be a duplicate of the message that is then deleted."""
    refused = given_up.action("StartMessageMoveTask", {"SourceArn": arn(given_up), "DestinationArn": arn(given_up)})
    assert refused.status_code == 400 and refused.headers["x-amzn-query-error"] == "InvalidParameterValue;Sender"
    assert "destination" in refused.json()["message"].lower()
    assert "Results" not in given_up.answer("ListMessageMoveTasks", {"SourceArn": arn(given_up)})
    assert given_up.pool(DEAD)["backlog"] == 12


def test_a_message_that_says_it_came_from_its_own_queue_stays(given_up):
    given_up.answer("SendMessage", {
        "QueueUrl": DEAD, "MessageBody": "x", "MessageGroupId": "circle", "MessageDeduplicationId": "1",
        "MessageAttributes": {"queuepool.pool": {"DataType": "String", "StringValue": DEAD}}})
    task = redrive(given_up)
    assert task["Status"] == "FAILED" and "1 messages do not say" in task["FailureReason"]
    assert len(given_up.drain(POOL)) == 12
    assert [m["Body"] for m in given_up.drain(DEAD)] == ["x"]


def test_a_message_without_a_home_stays_and_holds_up_no_other_group(servers, given_up):
    # Before all others in its group, and in a group of its own.
    given_up.answer("SendMessage", {
        "QueueUrl": DEAD, "MessageBody": "x", "MessageGroupId": "homeless", "MessageDeduplicationId": "1"})
    task = redrive(given_up)
    assert task["Status"] == "FAILED" and "1 messages do not say" in task["FailureReason"]
    assert len(given_up.drain(POOL)) == 12
    shown = given_up.pool(DEAD)
    assert shown["backlog"] + shown["inFlight"] == 1


def test_few_messages_keep_to_the_rate_too(given_up):
    started = given_up.post(f"/v1/pools/{POOL}/dead-letters/redrive", json={"ratePerSecond": 3})
    assert started.status_code == 202, started.text
    wait_until(lambda: given_up.get(f"/v1/pools/{POOL}/dead-letters/redrive").json()["status"] == "COMPLETED", 30, "its end")
    times = sorted(int(message["Attributes"]["SentTimestamp"]) for message in given_up.drain(POOL))
    assert len(times) == 12
    # Three at once are a second's worth; what is behind them comes a second later for each three.
    for early, late in zip(times, times[6:], strict=False):
        assert late - early >= 1_000
