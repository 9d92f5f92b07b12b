# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""One pool over several regions, accounts and endpoints: made, verified, adopted, sent to, received from and deleted."""

import json
from collections import Counter

import boto3
import pytest

from conftest import Process, run, wait_until
from test_sqs_shards import drain, in_order, send

EAST, WEST = "us-east-1", "us-west-2"
ROLE = "arn:aws:iam::222222222222:role/queues"


def client(endpoint, region=EAST, **credentials):
    return boto3.client("sqs", endpoint_url=endpoint, region_name=region, **credentials)


def role_client(endpoint, region=EAST):
    """As the role: the account whose queues those are."""
    got = boto3.client("sts", endpoint_url=endpoint, region_name=region).assume_role(
        RoleArn=ROLE, RoleSessionName="test")["Credentials"]
    return client(endpoint, region, aws_access_key_id=got["AccessKeyId"],
                  aws_secret_access_key=got["SecretAccessKey"], aws_session_token=got["SessionToken"])


def queues(sqs, name):
    return sorted(url.rsplit("/", 1)[1] for url in sqs.list_queues(QueueNamePrefix=name).get("QueueUrls", []))


def attribute(sqs, queue, wanted):
    url = sqs.get_queue_url(QueueName=queue)["QueueUrl"]
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].get(wanted)


def dead_letters(sqs, queue):
    """ARN of the queue that takes what was received too often."""
    return json.loads(attribute(sqs, queue, "RedrivePolicy"))["deadLetterTargetArn"]


@pytest.fixture
def control(tmp_path):
    return ["--control", f"sqlite:{tmp_path}/control.sqlite"]


def shown(pool, control):
    return json.loads(run("pool", "show", pool, "--json", *control, check=0).stdout)


def test_a_pool_over_two_regions_has_its_queues_and_a_dead_letter_queue_in_each(servers, moto, name, control):
    pool, access = name + ".fifo", [*control, "--endpoint-url", moto, "--region", EAST]
    create = ["pool", "create", pool, "--backend", "sqs", "--shards", 4]
    made = run(*create, "--shard-region", f"2-3={WEST}", *access, check=0)
    assert "6 queues created" in made.stdout
    for region, numbers in ((EAST, (0, 1)), (WEST, (2, 3))):
        sqs = client(moto, region)
        assert queues(sqs, name) == [f"{name}-{i:04}.fifo" for i in numbers] + [f"{name}-dlq.fifo"]
        for number in numbers:
            assert dead_letters(sqs, f"{name}-{number:04}.fifo") == attribute(sqs, f"{name}-dlq.fifo", "QueueArn")
            assert f":{region}:" in dead_letters(sqs, f"{name}-{number:04}.fifo")
    # A repetition need not name the places again, and one that names others is refused.
    assert "0 queues created, 6 found" in run(*create, *access, check=0).stdout
    other = run(*create, "--shard-region", "3=eu-west-1", *access, check=1).stderr
    assert f"its shards are in {EAST}" in other and WEST in other and queues(client(moto, "eu-west-1"), name) == []
    assert "as it should be" in run("pool", "verify", pool, *access, check=0).stdout
    where = shown(pool, control)
    assert (where["region"], where["endpoint"]) == (EAST, moto)
    assert [shard.get("region") for shard in where["shards"]] == [None, None, WEST, WEST]
    assert not any("endpoint" in shard or "role" in shard for shard in where["shards"])
    assert WEST in run("pool", "show", pool, *control, check=0).stdout

    server = servers(*access, name="front", pools=())
    sent = [(f"g{i}", f"m{i}") for i in range(60)]
    results = send(server, pool, sent)
    assert len({result["shard"] for result in results}) == 4
    there = {(region, number): int(attribute(client(moto, region), f"{name}-{number:04}.fifo",
                                             "ApproximateNumberOfMessages"))
             for region, number in ((EAST, 0), (EAST, 1), (WEST, 2), (WEST, 3))}
    by_shard = Counter(result["shard"] for result in results)
    assert {f"{name}-{number:04}.fifo": count for (_, number), count in there.items()} == by_shard
    in_order(drain(server, pool, len(sent)), sent)
    server.stop()


def test_a_difference_in_another_region_is_told(moto, name, control):
    pool, access = name + ".fifo", [*control, "--endpoint-url", moto, "--region", EAST]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--shard-region", f"1={WEST}", *access, check=0)
    west = client(moto, WEST)
    url = west.get_queue_url(QueueName=f"{name}-0001.fifo")["QueueUrl"]
    west.set_queue_attributes(QueueUrl=url, Attributes={"VisibilityTimeout": "77"})
    told = run("pool", "verify", pool, *access, check=1).stdout
    assert f"{name}-0001.fifo: VisibilityTimeout is '77'" in told and told.count("\n") == 1
    west.delete_queue(QueueUrl=west.get_queue_url(QueueName=f"{name}-dlq.fifo")["QueueUrl"])
    assert f"{name}-dlq.fifo: is missing" in run("pool", "verify", pool, *access, check=1).stdout


def test_shards_of_another_account_are_reached_by_a_role(servers, moto, name, control, tmp_path):
    pool, access = name + ".fifo", [*control, "--endpoint-url", moto, "--region", EAST]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 3, "--shard-role", f"1-2={ROLE}",
        "--shard-region", f"2={WEST}", *access, check=0)
    assert queues(client(moto), name) == [f"{name}-0000.fifo", f"{name}-dlq.fifo"]
    for region, number in ((EAST, 1), (WEST, 2)):
        theirs = role_client(moto, region)
        assert queues(theirs, name) == [f"{name}-{number:04}.fifo", f"{name}-dlq.fifo"]
        assert f"{region}:222222222222:" in dead_letters(theirs, f"{name}-{number:04}.fifo")
    assert "as it should be" in run("pool", "verify", pool, *access, check=0).stdout
    where = shown(pool, control)
    assert [(shard.get("role"), shard.get("account")) for shard in where["shards"]] == [
        (None, None), (ROLE, "222222222222"), (ROLE, "222222222222")]
    server = servers(*access, name="front", pools=())
    sent = [(f"g{i}", f"m{i}") for i in range(30)]
    assert len({result["shard"] for result in send(server, pool, sent)}) == 3
    assert int(attribute(role_client(moto), f"{name}-0001.fifo", "ApproximateNumberOfMessages")) > 0
    server.stop()
    # A worker goes straight to the queues of all three places.
    with open(tmp_path / "delivered", "wb") as out:
        worker = Process(["work", "--pool", pool, "--deliver", "stdout:", *access], tmp_path / "work.log", stdout=out)
        wait_until(lambda: (tmp_path / "delivered").read_text().count("\n") >= 30, 40, "delivery")
        worker.stop()
    lines = [json.loads(line) for line in (tmp_path / "delivered").read_text().splitlines()]
    assert sorted((line["group"], line["body"]) for line in lines) == sorted(sent)


def test_one_pool_over_two_endpoints_keeps_order_and_deletes(servers, name, control):
    pool = name + ".fifo"
    backs = [servers(name=f"back{i}", pools=()) for i in range(2)]
    access = [*control, "--endpoint-url", backs[0].url, "--region", EAST]
    made = run("pool", "create", pool, "--backend", "sqs", "--shards", 4, "--shard-endpoint", f"1,3={backs[1].url}/",
               *access, check=0)
    assert "6 queues created" in made.stdout
    assert "as it should be" in run("pool", "verify", pool, *access, check=0).stdout
    where = shown(pool, control)
    assert where["endpoint"] == backs[0].url
    assert [shard.get("endpoint") for shard in where["shards"]] == [None, backs[1].url] * 2
    server = servers(*control, "--region", EAST, name="front", pools=())
    sent = [(f"g{i % 20}", f"g{i % 20}-{i}") for i in range(200)]
    by_shard = Counter(result["shard"] for result in send(server, pool, sent))
    for number in range(4):
        queue = f"{name}-{number:04}.fifo"
        assert int(attribute(backs[number % 2].boto(), queue, "ApproximateNumberOfMessages")) == by_shard[queue] > 0
    in_order(drain(server, pool, len(sent)), sent)
    for number in range(4):
        there = backs[number % 2].pool(f"{name}-{number:04}.fifo")
        assert there["backlog"] == there["inFlight"] == 0
    server.stop()


def test_dead_letters_of_each_place_come_out_of_one_pool(servers, name, control):
    pool, grave = name + ".fifo", name + "-dlq.fifo"
    backs = [servers(name=f"back{i}", pools=()) for i in range(2)]
    access = [*control, "--endpoint-url", backs[0].url, "--region", EAST]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--shard-endpoint", f"1={backs[1].url}",
        "--max-receive-count", 1, *access, check=0)
    server = servers(*control, "--region", EAST, name="front", pools=())
    sent = [(f"g{i}", f"m{i}") for i in range(12)]
    assert len({result["shard"] for result in send(server, pool, sent)}) == 2

    def looked():
        """Received once and given back: the next receive moves them."""
        for message in server.answer("ReceiveMessage", {"QueueUrl": pool, "MaxNumberOfMessages": 10}).get("Messages", []):
            server.answer("ChangeMessageVisibility", {
                "QueueUrl": pool, "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 0})
        return all(back.pool(grave)["backlog"] > 0 for back in backs) and sum(
            back.pool(grave)["backlog"] for back in backs) == len(sent)

    wait_until(looked, 30, "dead letters in both places")
    got = drain(server, grave, len(sent))
    assert sorted((m["Attributes"]["MessageGroupId"], m["Body"]) for m in got) == sorted(sent)
    server.stop()


def test_a_redrive_empties_the_dead_letter_queue_of_each_region(servers, moto, name, control, tmp_path):
    pool, grave, access = name + ".fifo", name + "-dlq.fifo", [*control, "--endpoint-url", moto, "--region", EAST]
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, "--shard-region", f"1={WEST}", *access, check=0)
    server = servers(*access, name="front", pools=())
    sent = [(f"g{i % 6}", f"g{i % 6}-{i}") for i in range(24)]
    by_shard = Counter(result["shard"] for result in send(server, pool, sent))
    regions = [client(moto, region) for region in (EAST, WEST)]

    def counts(*names):
        """All that are there: moto may give some to the last request of the worker, which nobody waits for any more."""
        return [sum(int(attribute(sqs, queue, "ApproximateNumberOfMessages" + kind)) for kind in ("", "NotVisible"))
                for sqs, queue in zip(regions, names, strict=True)]

    shards = [f"{name}-{number:04}.fifo" for number in (0, 1)]
    worker = Process(["work", "--pool", pool, "--deliver", "exec:exit 65", "--visibility-seconds", "5", *access],
                     tmp_path / "work.log")
    wait_until(lambda: sum(counts(grave, grave)) == len(sent) and counts(*shards) == [0, 0], 60, "dead letters")
    worker.stop()
    assert all(counts(grave, grave)), "both regions have some"
    answer = server.post(f"/v1/pools/{pool}/dead-letters/redrive", json={})
    assert answer.status_code == 202, answer.text

    def ended():
        task = server.get(f"/v1/pools/{pool}/dead-letters/redrive").json()
        return task if task["status"] not in ("RUNNING", "CANCELLING") else None

    task = wait_until(ended, 60, "the end of the redrive")
    assert (task["status"], task["moved"], task["failureReason"]) == ("COMPLETED", len(sent), None), task
    assert counts(grave, grave) == [0, 0]
    assert counts(*shards) == [by_shard[shard] for shard in shards], "each group is in its shard again"
    # What that request got comes when its visibility timeout is over. Just then moto may give its follower first, so that
    # order is not looked at here.
    got = []
    wait_until(lambda: got.extend(server.drain(pool)) or len(got) >= len(sent), 90, "all messages")
    assert sorted((m["Attributes"]["MessageGroupId"], m["Body"]) for m in got) == sorted(sent)
    server.stop()


def test_queues_of_two_regions_are_adopted(moto, name, control):
    pool, access = name + ".fifo", [*control, "--endpoint-url", moto, "--region", EAST]
    urls = [client(moto, region).create_queue(QueueName=f"{name}-mine.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
            for region in (EAST, WEST)]
    flags = [flag for url in urls for flag in ("--queue", url)]
    adopt = ["pool", "adopt", pool, *flags]
    # moto gives both the same URL: only the region tells them apart.
    run(*adopt, *access, check=64)
    told = run(*adopt, "--shard-region", f"1={WEST}", *access, check=0).stdout
    assert "2 queues created, 2 found" in told
    for region in (EAST, WEST):
        assert dead_letters(client(moto, region), f"{name}-mine.fifo").split(":")[3] == region
    assert "as it should be" in run("pool", "verify", pool, *access, check=0).stdout
    assert "in the control store already" in run(*adopt, "--shard-region", f"1={WEST}", *access, check=0).stdout


@pytest.mark.parametrize("flags, says", [
    (["--shard-region", "2-3=us-west-2", "--shard-region", "3=eu-west-1"], ("--shard-region", "shard 3", "twice")),
    (["--shard-endpoint", "0-1=http://127.0.0.1:1", "--shard-endpoint", "1=http://127.0.0.1:1"], ("--shard-endpoint", "twice")),
    (["--shard-region", "3-4=us-west-2"], ("--shard-region", "shard 4", "0...3")),
    (["--shard-role", "9=" + ROLE], ("--shard-role", "shard 9")),
    (["--shard-region", "1=nowhere"], ("--shard-region", "nowhere", "us-west-2")),
    (["--shard-region", "1=evil.example/x"], ("--shard-region", "us-west-2")),
    (["--shard-region", "us-west-2"], ("--shard-region", "SHARDS=VALUE")),
    (["--shard-role", "1=arn:aws:iam::2:role/x"], ("--shard-role", "arn:aws:iam")),
    (["--shard-endpoint", "1=127.0.0.1:1"], ("--shard-endpoint", "http://")),
])
def test_a_place_that_is_none_is_refused_before_anything_is_made(moto, name, control, tmp_path, flags, says):
    access = [*control, "--endpoint-url", moto, "--region", EAST]
    done = run("pool", "create", name + ".fifo", "--backend", "sqs", "--shards", 4, *flags, *access)
    assert done.returncode == 64 and all(word in done.stderr for word in says), done.stderr
    assert queues(client(moto), name) == [] and not (tmp_path / "control.sqlite").exists()


def test_places_are_for_queues_only(server, name):
    done = run("pool", "create", name + ".fifo", "--shards", 4, "--shard-region", "1=us-west-2", "--endpoint", server.url)
    assert done.returncode == 64 and "--shard-region" in done.stderr and "--backend sqs" in done.stderr
    assert server.get(f"/v1/pools/{name}.fifo").status_code == 404


def test_a_place_that_does_not_answer_shows_before_anything_is_made_in_another(moto, name, control):
    access = [*control, "--endpoint-url", moto, "--region", EAST]
    done = run("pool", "create", name + ".fifo", "--backend", "sqs", "--shards", 2, "--shard-endpoint",
               "1=http://127.0.0.1:1", *access, timeout=90)
    assert done.returncode == 69 and "http://127.0.0.1:1" in done.stderr, done.stderr
    assert queues(client(moto), name) == []
