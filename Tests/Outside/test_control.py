# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Pools whose shards are queues of SQS and whose topology is in DynamoDB, against moto's SQS and DynamoDB."""

from concurrent.futures import ThreadPoolExecutor

import boto3
import pytest
import requests

from conftest import run, wait_until

TAGS = {"queuepool:pool", "queuepool:shard", "queuepool:epoch"}


@pytest.fixture(scope="module")
def aws(moto):
    return moto


class Account:
    """The commands and boto3 on one table and one pool of a test's own."""

    def __init__(self, url, name):
        self.url, self.pool, self.stem, self.table = url, name + ".fifo", name, "table-" + name
        options = dict(endpoint_url=url, region_name="us-east-1")
        self.sqs, self.dynamodb = boto3.client("sqs", **options), boto3.client("dynamodb", **options)
        self.flags = ["--control", "dynamodb:" + self.table, "--endpoint-url", url, "--region", "us-east-1"]

    def command(self, name, *arguments, check=0):
        return run("pool", name, self.pool, *arguments, *self.flags, check=check)

    def create(self, shards=3, *arguments, check=0):
        return self.command("create", "--backend", "sqs", "--shards", shards, *arguments, check=check)

    def queues(self):
        urls = self.sqs.list_queues(QueueNamePrefix=self.stem).get("QueueUrls", [])
        return {url.split("/")[-1]: url for url in urls}

    def attributes(self, url):
        return self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]

    def item(self, sort):
        return self.dynamodb.get_item(
            TableName=self.table, Key={"pk": {"S": "POOLS"}, "sk": {"S": sort}}, ConsistentRead=True).get("Item")

    def fifo(self, name, **attributes):
        return self.sqs.create_queue(QueueName=name, Attributes={
            "FifoQueue": "true", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perQueue",
            "ContentBasedDeduplication": "false", "VisibilityTimeout": "60", "MaximumMessageSize": "1048576",
            "SqsManagedSseEnabled": "true", **attributes})["QueueUrl"]


@pytest.fixture
def account(aws, name):
    return Account(aws, name)


def test_create_makes_queues_table_and_pool(account):
    account.create(3)
    queues = account.queues()
    assert set(queues) == {f"{account.stem}-000{i}.fifo" for i in range(3)} | {f"{account.stem}-dlq.fifo"}
    shard = account.attributes(queues[f"{account.stem}-0001.fifo"])
    dlq = account.attributes(queues[f"{account.stem}-dlq.fifo"])
    assert shard["FifoQueue"] == "true" and shard["ContentBasedDeduplication"] == "false"
    assert shard["DeduplicationScope"] == "messageGroup" and shard["SqsManagedSseEnabled"] == "true"
    assert dlq["QueueArn"] in shard["RedrivePolicy"] and "RedrivePolicy" not in dlq
    tags = account.sqs.list_queue_tags(QueueUrl=queues[f"{account.stem}-0001.fifo"])["Tags"]
    assert set(tags) == TAGS and tags["queuepool:shard"] == "1" and tags["queuepool:pool"] == account.pool
    item = account.item("POOL#" + account.pool)
    assert item["backend"] == {"S": "sqs"} and len(item["shards"]["L"]) == 3 and len(item["slots"]["B"]) == 32768
    assert account.item("POOL#" + f"{account.stem}-dlq.fifo")["shards"]["L"][0]["M"]["queueURL"]["S"] == \
        queues[f"{account.stem}-dlq.fifo"]
    table = account.dynamodb.describe_table(TableName=account.table)["Table"]
    assert table["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    ttl = account.dynamodb.describe_time_to_live(TableName=account.table)["TimeToLiveDescription"]
    assert ttl["TimeToLiveStatus"] == "ENABLED" and ttl["AttributeName"] == "expiresAt"


def test_create_again_changes_nothing(account):
    account.create(2)
    before = account.item("POOL#" + account.pool), account.item("REVISION")
    again = account.create(2)
    assert "0 queues created, 3 found" in again.stdout
    assert (account.item("POOL#" + account.pool), account.item("REVISION")) == before


@pytest.mark.parametrize("lost", ["-0000.fifo", "-0001.fifo", "-dlq.fifo", "pool", "dlq-pool"])
def test_create_goes_on_after_an_interruption(account, lost):
    """What an interrupted creation leaves: some of the queues, and not yet the pool."""
    account.create(2)
    lost_pool = account.stem + ("-dlq.fifo" if lost == "dlq-pool" else ".fifo")
    account.dynamodb.delete_item(TableName=account.table, Key={"pk": {"S": "POOLS"}, "sk": {"S": "POOL#" + lost_pool}})
    if lost.endswith(".fifo"):
        account.sqs.delete_queue(QueueUrl=account.queues()[account.stem + lost])
    account.create(2)
    assert len(account.queues()) == 3
    assert "as it should be" in account.command("verify").stdout


def test_create_names_the_attribute_that_differs(account):
    account.fifo(account.stem + "-0001.fifo", VisibilityTimeout="77")
    done = account.create(2, check=1)
    assert "VisibilityTimeout is '77', should be '30'" in done.stderr
    assert account.item("POOL#" + account.pool) is None
    assert account.attributes(account.queues()[account.stem + "-0001.fifo"])["VisibilityTimeout"] == "77"


def test_another_number_of_shards_is_refused(account):
    account.create(2)
    assert "sqs with 2 shards" in account.create(3, check=1).stderr
    assert len(account.queues()) == 3


def test_two_creations_at_once_agree(account):
    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(lambda _: account.create(2, check=None), range(2)))
    assert all(one.returncode == 0 for one in done), [one.stderr for one in done]
    assert len(account.queues()) == 3 and account.item("POOL#" + account.pool)["version"] == {"N": "1"}


def test_verify_tells_each_difference(account):
    account.create(2)
    assert "as it should be" in account.command("verify").stdout
    queues = account.queues()
    account.sqs.set_queue_attributes(
        QueueUrl=queues[account.stem + "-0000.fifo"], Attributes={"VisibilityTimeout": "99"})
    account.sqs.untag_queue(QueueUrl=queues[account.stem + "-0000.fifo"], TagKeys=["queuepool:pool"])
    account.sqs.delete_queue(QueueUrl=queues[account.stem + "-0001.fifo"])
    lines = account.command("verify", check=1).stdout.splitlines()
    assert f"{account.stem}-0000.fifo: VisibilityTimeout is '99', should be '30'" in lines
    assert f"{account.stem}-0000.fifo: tag queuepool:pool is not set, should be '{account.pool}'" in lines
    assert f"{account.stem}-0001.fifo: is missing" in lines
    assert len(lines) == 3


def test_adopt_takes_queues_that_exist(account):
    urls = [account.fifo(f"{account.stem}-{word}.fifo") for word in ("east", "west")]
    flags = [flag for url in urls for flag in ("--queue", url)]
    account.command("adopt", *flags)
    assert "0 queues created, 2 found" in account.command("adopt", *flags).stdout
    shards = account.item("POOL#" + account.pool)["shards"]["L"]
    assert [shard["M"]["queueURL"]["S"] for shard in shards] == urls
    assert "RedrivePolicy" in account.attributes(urls[1])
    assert "as it should be" in account.command("verify").stdout


def test_adopt_names_the_queue_that_differs(account):
    urls = [account.fifo(f"{account.stem}-a.fifo"), account.fifo(f"{account.stem}-b.fifo", VisibilityTimeout="61")]
    done = account.command("adopt", *[flag for url in urls for flag in ("--queue", url)], check=1)
    assert f"{account.stem}-b.fifo: VisibilityTimeout is '61', should be '60'" in done.stderr
    assert account.item("POOL#" + account.pool) is None


def test_sqlite_holds_such_a_pool_too(account, tmp_path):
    account.flags[1] = f"sqlite:{tmp_path}/control.sqlite"
    account.create(2)
    assert "0 queues created, 3 found" in account.create(2).stdout
    assert "as it should be" in account.command("verify").stdout


def test_what_cannot_work_says_why(account, aws):
    missing = account.command("verify", check=69)
    assert "the table does not exist" in missing.stderr
    no_region = run("pool", "verify", account.pool, "--control", "dynamodb:" + account.table, "--endpoint-url", aws,
                    env={"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_CONFIG_FILE": "/nonexistent"})
    assert no_region.returncode == 78 and "region" in no_region.stderr
    wrong = run("pool", "verify", account.pool, "--control", "mysql:x")
    assert wrong.returncode == 64 and "sqlite:FILE, dynamodb:TABLE" in wrong.stderr


def test_servers_on_one_table_follow_each_other(account, servers):
    """A pool that is made, and an attribute that is set through one server, reach the other within seconds."""
    account.create(2)
    one, other = (servers(*account.flags, name=name, pools=()) for name in ("one", "other"))
    assert one.pool(account.pool)["epoch"] == other.pool(account.pool)["epoch"] == 1
    later = Account(account.url, account.stem + "x")
    later.flags = account.flags
    later.create(1)
    for server in (one, other):
        wait_until(lambda: server.get(f"/v1/pools/{later.pool}").status_code == 200, 10, "the new pool")
    one.boto().set_queue_attributes(QueueUrl=account.pool, Attributes={"VisibilityTimeout": "47"})

    def seen():
        got = other.boto().get_queue_attributes(QueueUrl=account.pool, AttributeNames=["VisibilityTimeout"])
        return got["Attributes"]["VisibilityTimeout"] == "47"

    wait_until(seen, 10, "the attribute")
    for server in (one, other):
        server.stop()
