# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What each program asks of AWS is what README's table of permissions gives it: all of it, and nothing more."""

import contextlib
import json
import re
import threading
from http.server import ThreadingHTTPServer

import boto3
import requests

from conftest import ROOT, Process, run, wait_until
from proxy import PassingProxy

REGION = ["--region", "us-east-1"]
ROLES = ("router", "worker", "administrator")
QUEUES = re.compile(r"Batch$")
"A batch is allowed by the action of one entry."


class Recorder:
    """Before moto: the permissions that were needed by each access key, as `service:Action`. One for all, because a
    pool remembers the endpoint that it was made at."""

    def __init__(self, target):
        self.needed, self.lock, recorder = {role: set() for role in ROLES}, threading.Lock(), self

        class Handler(PassingProxy):
            def do_POST(self):
                data = self.body()
                role = re.search(r"Credential=(\w+)/", self.headers["Authorization"])[1]
                recorder.note(role, self.headers.get("X-Amz-Target", ""), data)
                try:
                    self.answer(*self.pass_on(data))
                except (requests.ConnectionError, OSError):
                    self.close_connection = True

        Handler.target = target
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def note(self, role, target, data):
        service, _, action = target.partition(".")
        if service == "AmazonSQS":
            found = {"sqs:" + QUEUES.sub("", action)}
        elif action == "TransactWriteItems":
            kinds = {kind for item in json.loads(data)["TransactItems"] for kind in item}
            found = {"dynamodb:" + (kind if kind == "ConditionCheck" else kind + "Item") for kind in kinds}
        elif service.startswith("DynamoDB"):
            found = {"dynamodb:" + action}
        else:
            found = {"sts:" + re.search(rb"Action=(\w+)", data)[1].decode()}
        with self.lock:
            self.needed[role] |= found


@contextlib.contextmanager
def recorded(target):
    recorder = Recorder(target)
    threading.Thread(target=recorder.server.serve_forever, daemon=True).start()
    try:
        yield recorder
    finally:
        recorder.server.shutdown()
        recorder.server.server_close()


def promised(role):
    """What README's table gives a role."""
    row, = re.findall(rf"^\| {role} \|(.*)\|(.*)\|$", (ROOT / "README.md").read_text(), re.M)
    return {f"{service}:{action}" for service, cell in zip(("sqs", "dynamodb"), row)
            for action in re.findall(r"`(\w+)`", cell)}


def test_each_program_needs_what_the_readme_gives_it_and_nothing_else(servers, moto, name, tmp_path):
    pool, table = name + ".fifo", ["--control", f"dynamodb:{name}"]
    with recorded(moto) as recorder:
        access = [*table, "--endpoint-url", recorder.url, *REGION]

        def administer(*arguments):
            return run("pool", *arguments, *access, check=0, env={"AWS_ACCESS_KEY_ID": "administrator"})

        administer("create", pool, "--backend", "sqs", "--shards", 2, "--max-receive-count", 5)
        administer("create", pool, "--backend", "sqs", "--shards", 2, "--max-receive-count", 5)
        administer("verify", pool)
        administer("show", pool)
        there = boto3.client("sqs", endpoint_url=moto, region_name="us-east-1")
        urls = [there.create_queue(
            QueueName=f"{name}-mine-{i}.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"] for i in range(2)]
        administer("adopt", f"{name}b.fifo", *(flag for url in urls for flag in ("--queue", url)))
        administer("delete", f"{name}b.fifo", "--yes")

        router = servers(*access, name="front", pools=(), env={"AWS_ACCESS_KEY_ID": "router"})
        through = router.boto()
        for number in range(10):
            router.send(pool, f"g{number}", "single")
        through.send_message_batch(QueueUrl=pool, Entries=[
            {"Id": str(i), "MessageBody": "batch", "MessageGroupId": f"h{i}", "MessageDeduplicationId": str(i)}
            for i in range(10)])
        got = through.receive_message(QueueUrl=pool, WaitTimeSeconds=5)["Messages"][0]
        through.change_message_visibility(QueueUrl=pool, ReceiptHandle=got["ReceiptHandle"], VisibilityTimeout=60)
        through.set_queue_attributes(QueueUrl=pool, Attributes={"VisibilityTimeout": "31"})
        through.delete_message(QueueUrl=pool, ReceiptHandle=got["ReceiptHandle"])
        router.pool(pool)
        # Workers of an endpoint have their leases through the router.
        near = Process(
            ["work", "--pool", pool, "--endpoint", router.url, "--deliver", "stdout:"], tmp_path / "near.log")
        wait_until(lambda: "delivered" in near.text() or '"single"' in near.text(), 30, "delivery through the router")
        near.stop()
        requests.post(f"{router.url}/v1/pools/{pool}/purge", timeout=30).raise_for_status()

        router.send(pool, "good", "good", deduplicationId="1")
        router.send(pool, "bad", "bad", deduplicationId="2")
        # Delivers one message while its visibility timeout is extended, and gives up another.
        worker = Process(
            ["work", "--pool", pool, *access, "--visibility-seconds", "2", "--deliver",
             "exec:case $QUEUEPOOL_GROUP in bad) exit 65;; *) sleep 2.5;; esac"], tmp_path / "work.log",
            env={"AWS_ACCESS_KEY_ID": "worker"})

        def left(queue):
            has = there.get_queue_attributes(
                QueueUrl=there.get_queue_url(QueueName=queue)["QueueUrl"], AttributeNames=["All"])["Attributes"]
            return int(has["ApproximateNumberOfMessages"]) + int(has["ApproximateNumberOfMessagesNotVisible"])

        wait_until(lambda: [left(f"{name}-{of}.fifo") for of in ("0000", "0001", "dlq")] == [0, 0, 1], 40,
                   "one message delivered and one given up")
        worker.stop()
        router.stop()
        administer("delete", pool, "--yes")
        for role in ROLES:
            needed, given = recorder.needed[role], promised(role)
            assert needed == given, (role, "needs", sorted(needed - given), "has for nothing", sorted(given - needed))
