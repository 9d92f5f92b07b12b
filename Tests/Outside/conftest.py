"""What every test from outside needs: the built program, a server of its own, clients that nobody here wrote."""
import contextlib
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import boto3
import botocore.config
import pytest
import requests

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = os.environ.get("TEST_BINARY", str(ROOT / ".build/release/queuepool"))


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(condition, seconds=20, what="condition"):
    """Waits until `condition()` is true and returns its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {seconds} s")


def sqs_client(url):
    return boto3.client(
        "sqs", endpoint_url=url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any",
        config=botocore.config.Config(retries={"total_max_attempts": 1}, read_timeout=60))


class Server:
    """One `queuepool serve` with a data directory of its own; keeps everything that it prints."""

    def __init__(self, directory, *arguments, pools=("emails.fifo=8",), env=None):
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.arguments = [a for pool in pools for a in ("--pool", pool)] + list(arguments)
        self.env = {**os.environ, **(env or {})}
        self.log = self.directory / "server.log"
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [BIN, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.directory / "data"),
                 *self.arguments], stdout=log, stderr=log, env=self.env)
        wait_for(self.is_ready, 60, "the server's start")
        return self

    def is_ready(self):
        assert self.process.poll() is None, f"the server ended: {self.output()}"
        try:
            return requests.get(self.url + "/readyz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def output(self):
        return self.log.read_text(errors="replace")

    def stop(self):
        """SIGTERM; the server must end by itself with exit code 0."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            assert self.process.wait(40) == 0, self.output()
        self.process = None

    def kill9(self):
        self.process.kill()
        self.process.wait()
        self.process = None

    def sqs(self):
        return sqs_client(self.url)

    def peak_memory_bytes(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind is not None and self.process and self.process.poll() is None:
            self.kill9()
        else:
            self.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
def sqs(server):
    return server.sqs()


@pytest.fixture
def seed(request):
    """A seed that is printed when a test fails; TEST_SEED repeats a run."""
    value = int(os.environ.get("TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {value}")
    return value


@pytest.fixture
def queue(sqs):
    """A fresh pool of one shard, which behaves as one SQS FIFO queue does."""
    name = f"q{random.SystemRandom().randrange(1 << 40):x}.fifo"
    url = sqs.create_queue(QueueName=name, Attributes={"FifoQueue": "true"})["QueueUrl"]
    yield url
    with contextlib.suppress(Exception):
        sqs.delete_queue(QueueUrl=url)


def send(sqs, queue, group, body, dedup=None, **more):
    return sqs.send_message(
        QueueUrl=queue, MessageGroupId=group, MessageBody=body,
        MessageDeduplicationId=dedup or f"{random.SystemRandom().randrange(1 << 60):x}", **more)


def receive(sqs, queue, count=10, **more):
    answer = sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=count, MessageSystemAttributeNames=["All"],
        MessageAttributeNames=["All"], **more)
    return answer.get("Messages", [])


def delete(sqs, queue, messages):
    if messages:
        answer = sqs.delete_message_batch(QueueUrl=queue, Entries=[
            {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(messages)])
        assert "Failed" not in answer, [f["Code"] for f in answer["Failed"]]


def bodies(messages):
    return [m["Body"] for m in messages]


def lines(text):
    return [json.loads(line) for line in text.splitlines() if line.strip()]
