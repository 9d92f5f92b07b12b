# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Redrive out of dead-letter queues in several places: order within a group holds in them and after it."""

import json

import boto3
import pytest
from conftest import Process, run, wait_until
from test_sqs_shards import drain, in_order, send

GROUPS, EACH = 8, 10


@pytest.fixture
def control(tmp_path):
    return ["--control", f"sqlite:{tmp_path}/control.sqlite"]


def redriven(server, pool):
    """Redrives all of a pool's dead letters; the task at its end."""
    answer = server.post(f"/v1/pools/{pool}/dead-letters/redrive", json={})
    assert answer.status_code == 202, answer.text

    def ended():
        task = server.get(f"/v1/pools/{pool}/dead-letters/redrive").json()
        return task if task["status"] not in ("RUNNING", "CANCELLING") else None

    return wait_until(ended, 60, "the end of the redrive")


def originals(server, queue):
    """By group, the ids that dead letters had in their pool, in the order of their queue."""
    found = {}
    for letter in server.get(f"/v1/pools/{queue}/dead-letters?limit=500").json()["deadLetters"]:
        found.setdefault(letter["group"], []).append(letter["originalId"])
    return found


def stored(server, queue):
    shown = server.pool(queue)
    return shown["backlog"] + shown["inFlight"]


def test_order_holds_in_the_dead_letter_queues_of_two_places_and_after_a_redrive(servers, name, control, tmp_path):
    pool, grave = name + ".fifo", name + "-dlq.fifo"
    backs = [servers(name=f"back{i}", pools=()) for i in range(2)]
    access = [*control, "--endpoint-url", backs[0].url, "--region", "us-east-1"]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--shard-endpoint", f"1={backs[1].url}",
        *access, check=0)
    front = servers(*control, "--region", "us-east-1", name="front", pools=())
    for turn in range(5):
        sent = [(f"g{i % GROUPS}", f"{turn}-g{i % GROUPS}-{i // GROUPS}") for i in range(GROUPS * EACH)]
        results = send(front, pool, sent)
        assert len({result["shard"] for result in results}) == 2
        # By way of the pool's server and straight to its queues, in turns.
        way = ["--endpoint", front.url] if turn % 2 else access
        worker = Process(["work", "--pool", pool, "--deliver", "exec:exit 65", *way], tmp_path / f"work{turn}.log")
        wait_until(lambda: sum(stored(back, grave) for back in backs) == len(sent)
                   and all(stored(backs[i], f"{name}-{i:04}.fifo") == 0 for i in range(2)), 60, "dead letters")
        worker.stop()
        ids = {}
        for (group, _), result in zip(sent, results, strict=True):
            ids.setdefault(group, []).append(result["id"])
        dead = [originals(back, grave) for back in backs]
        assert all(dead) and not set(dead[0]) & set(dead[1]), "each group has its dead letters in one place"
        assert dead[0] | dead[1] == ids
        task = redriven(front, pool)
        assert (task["status"], task["moved"], task["failureReason"]) == ("COMPLETED", len(sent), None), task
        in_order(drain(front, pool, len(sent)), sent)
    front.stop()


# What the redrive policies of the queues moved: no worker wrote on it where it came from.


def over_moto(servers, moto, name, control):
    """Does not say where a dead letter came from."""
    return moto


def over_own(servers, moto, name, control):
    """Says it, as SQS does."""
    return servers(name="back", pools=()).url


def count(endpoint, queue):
    sqs = boto3.client("sqs", endpoint_url=endpoint, region_name="us-east-1")
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return sum(int(found["ApproximateNumberOfMessages" + kind]) for kind in ("", "NotVisible"))


def moved_by_policy(endpoint, name, shards, total):
    """Each message is received once and given back; what is received again goes to the dead-letter queue."""
    sqs = boto3.client("sqs", endpoint_url=endpoint, region_name="us-east-1")

    def looked():
        for number in range(shards):
            url = sqs.get_queue_url(QueueName=f"{name}-{number:04}.fifo")["QueueUrl"]
            for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])[::-1]:
                sqs.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        return count(endpoint, f"{name}-dlq.fifo") == total

    wait_until(looked, 60, "dead letters")


def by_rest(front, pool):
    return redriven(front, pool)


def by_command(front, pool):
    run("dead-letters", "redrive", pool, "--all", "--endpoint", front.url, check=0)

    def ended():
        told = json.loads(run("dead-letters", "status", pool, "--json", "--endpoint", front.url, check=0).stdout)
        return told if told["status"] not in ("RUNNING", "CANCELLING") else None

    return wait_until(ended, 60, "the end of the redrive")


def by_move_task(front, pool):
    grave = pool.replace(".fifo", "-dlq.fifo")
    arn = front.answer("GetQueueAttributes", {
        "QueueUrl": grave, "AttributeNames": ["QueueArn"]})["Attributes"]["QueueArn"]
    front.answer("StartMessageMoveTask", {"SourceArn": arn})

    def ended():
        task = front.answer("ListMessageMoveTasks", {"SourceArn": arn})["Results"][0]
        return task if task["Status"] not in ("RUNNING", "CANCELLING") else None

    task = wait_until(ended, 60, "the end of the move task")
    return {"status": task["Status"], "moved": task["ApproximateNumberOfMessagesMoved"],
            "failureReason": task.get("FailureReason")}


@pytest.mark.parametrize("start", [by_rest, by_command, by_move_task])
@pytest.mark.parametrize("over", [over_moto, over_own])
def test_what_a_queues_own_redrive_policy_moved_goes_back(servers, moto, name, control, over, start):
    endpoint = over(servers, moto, name, control)
    pool, access = name + ".fifo", [*control, "--endpoint-url", endpoint, "--region", "us-east-1"]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--max-receive-count", 1, *access, check=0)
    front = servers(*access, name="front", pools=())
    sent = [(f"g{i % 4}", f"g{i % 4}-{i}") for i in range(12)]
    send(front, pool, sent)
    moved_by_policy(endpoint, name, 2, len(sent))
    task = start(front, pool)
    assert (task["status"], task["moved"], task["failureReason"]) == ("COMPLETED", len(sent), None), task
    assert count(endpoint, f"{name}-dlq.fifo") == 0
    messages = drain(front, pool, len(sent))
    assert sorted((m["Attributes"]["MessageGroupId"], m["Body"]) for m in messages) == sorted(sent)
    if over is over_own:
        in_order(messages, sent)
    front.stop()


def adopted(endpoint, pool, source, grave, access):
    """A pool of one queue that was there already, with a redrive policy to a queue that was there too."""
    sqs = boto3.client("sqs", endpoint_url=endpoint, region_name="us-east-1")
    there = sqs.create_queue(QueueName=grave, Attributes={"FifoQueue": "true"})["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=there, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    url = sqs.create_queue(
        QueueName=source, Attributes={"FifoQueue": "true", "RedrivePolicy": policy})["QueueUrl"]
    run("pool", "adopt", pool, "--queue", url, *access, check=0)


def given_up(endpoint, front, source, grave, pool, bodies):
    """Messages of a pool that the policy of its only queue moved."""
    sqs = boto3.client("sqs", endpoint_url=endpoint, region_name="us-east-1")
    url = sqs.get_queue_url(QueueName=source)["QueueUrl"]
    before = count(endpoint, grave)
    send(front, pool, [("g" + body, body) for body in bodies])

    def looked():
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
        return count(endpoint, grave) == before + len(bodies)

    wait_until(looked, 60, "dead letters")


@pytest.mark.parametrize("over", [over_moto, over_own])
def test_the_dead_letters_of_an_adopted_queue_go_back(servers, moto, name, control, over):
    """Neither its name nor that of its dead-letter queue is by the rule."""
    endpoint, pool = over(servers, moto, name, control), name + ".fifo"
    access = [*control, "--endpoint-url", endpoint, "--region", "us-east-1"]
    adopted(endpoint, pool, name + "-mine.fifo", name + "-grave.fifo", access)
    front = servers(*access, name="front", pools=())
    given_up(endpoint, front, name + "-mine.fifo", name + "-grave.fifo", pool, ["1", "2"])
    task = redriven(front, pool)
    assert (task["status"], task["moved"], task["failureReason"]) == ("COMPLETED", 2, None), task
    assert sorted(message["Body"] for message in drain(front, pool, 2)) == ["1", "2"]
    front.stop()


@pytest.mark.parametrize("over", [over_moto, over_own])
def test_each_dead_letter_of_a_queue_that_two_pools_share_goes_to_its_own_pool_or_stays(
        servers, moto, name, control, over):
    endpoint, grave = over(servers, moto, name, control), name + "-grave.fifo"
    access = [*control, "--endpoint-url", endpoint, "--region", "us-east-1"]
    pools = [f"{name}{letter}.fifo" for letter in "ab"]
    for pool in pools:
        adopted(endpoint, pool, "mine-" + pool, grave, access)
    front = servers(*access, name="front", pools=())
    for number, pool in enumerate(pools):
        given_up(endpoint, front, "mine-" + pool, grave, pool, [f"{number}{i}" for i in range(3)])
    task = redriven(front, pools[0])
    if over is over_own:
        assert (task["status"], task["moved"]) == ("COMPLETED", 6), task
        for number, pool in enumerate(pools):
            bodies = sorted(message["Body"] for message in drain(front, pool, 3))
            assert bodies == [f"{number}{i}" for i in range(3)]
    else:
        # moto does not say which of both it was, so that nobody may guess.
        assert (task["status"], task["moved"]) == ("FAILED", 0) and "6 messages do not say" in task["failureReason"]
        assert count(endpoint, grave) == 6
    front.stop()


@pytest.mark.parametrize("asked", ["All", "DeadLetterQueueSourceArn"])
def test_who_receives_a_dead_letter_through_the_pool_is_told_the_pool(servers, moto, name, control, asked):
    endpoint, pool, grave = over_own(servers, moto, name, control), name + ".fifo", name + "-dlq.fifo"
    access = [*control, "--endpoint-url", endpoint, "--region", "us-east-1"]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--max-receive-count", 1, *access, check=0)
    front = servers(*access, name="front", pools=())
    send(front, pool, [("g", "1")])
    moved_by_policy(endpoint, name, 2, 1)

    def source(server, queue):
        url = server.boto().get_queue_url(QueueName=queue)["QueueUrl"]
        got = server.boto().receive_message(
            QueueUrl=url, MessageSystemAttributeNames=[asked], WaitTimeSeconds=5, VisibilityTimeout=0)
        return got["Messages"][0]["Attributes"]["DeadLetterQueueSourceArn"].rsplit(":", 1)[1]

    back = boto3.client("sqs", endpoint_url=endpoint, region_name="us-east-1")
    got = back.receive_message(QueueUrl=back.get_queue_url(QueueName=grave)["QueueUrl"],
                               MessageSystemAttributeNames=[asked], VisibilityTimeout=0)["Messages"][0]
    assert got["Attributes"]["DeadLetterQueueSourceArn"].rsplit(":", 1)[1].startswith(name + "-000")
    assert source(front, grave) == pool
    front.stop()
