# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The program as its users see it: a process that is started, spoken to over loopback, and stopped.

TEST_BINARY names the executable (infra/test sets it). Each test module that only speaks to a server shares one;
names of queues and groups are fresh for each test, so that tests do not meet.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import boto3
import pytest
import requests
from botocore.config import Config
from ports import free_port  # noqa: F401, for the tests too
from schedule import pytest_collection_modifyitems  # noqa: F401, a hook

ROOT = Path(__file__).resolve().parents[2]
BIN = os.environ.get("TEST_BINARY", str(ROOT / ".build/release/queuepool"))
AWS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
os.environ.update(AWS)


def wait_until(condition, seconds=20.0, what="the condition"):
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come about in {seconds} s")
        time.sleep(0.02)


def clean_environment(extra=None):
    """The environment without settings of whoever runs the tests. pytest may take a variable away meanwhile."""
    env = {name: value for name in list(os.environ) if not name.startswith("QUEUEPOOL_")
           and (value := os.environ.get(name)) is not None}
    env.update(extra or {})
    return env


def run(*arguments, input=None, env=None, timeout=60, check=None):
    """Runs a command of the program to its end."""
    done = subprocess.run(
        [BIN, *map(str, arguments)], input=input, capture_output=True, text=True, timeout=timeout,
        env=clean_environment(env))
    if check is not None:
        assert done.returncode == check, f"exit {done.returncode}, expected {check}:\n{done.stdout}\n{done.stderr}"
    return done


class Process:
    """A started program, with its output in a file."""

    def __init__(self, arguments, output, env=None, stdout=None, cwd=None, file_bytes_max=None,
                 open_files_max=None):
        def limit():
            if open_files_max:
                resource.setrlimit(resource.RLIMIT_NOFILE, open_files_max)
            if file_bytes_max:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, resource.RLIM_INFINITY))

        self.output = Path(output)
        self.file = open(output, "ab")
        self.popen = subprocess.Popen(
            [BIN, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout or self.file, stderr=self.file,
            env=clean_environment(env), cwd=cwd, preexec_fn=limit)

    @property
    def pid(self):
        return self.popen.pid

    @property
    def is_running(self):
        return self.popen.poll() is None

    def text(self):
        return self.output.read_text(errors="replace")

    def stop(self, timeout=40):
        """SIGTERM must end it cleanly."""
        if self.is_running:
            self.popen.send_signal(signal.SIGTERM)
        try:
            code = self.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill9()
            raise AssertionError(f"SIGTERM did not end the process in {timeout} s:\n{self.text()[-2000:]}") from None
        self.file.close()
        assert code == 0, f"exit code {code}:\n{self.text()[-2000:]}"

    def kill9(self):
        if self.is_running:
            self.popen.kill()
        self.popen.wait(20)
        self.file.close()

    def status_bytes(self, field):
        """VmHWM or VmRSS of the process, in bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        raise AssertionError(field)

    def cpu_seconds(self):
        """User and system time of the process."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def speaks_query(client):
    """Whether a boto3 client is one of those from before the JSON protocol."""
    return client.meta.service_model.metadata["protocol"] == "query"


def old_names(params, **_):
    """What clients of the Query protocol call the parameter that has another name since."""
    return {{"MessageSystemAttributeNames": "AttributeNames"}.get(name, name): value for name, value in params.items()}


class Server(Process):
    """`queuepool serve` on a free loopback port."""

    def __init__(self, directory, *arguments, pools=("emails.fifo=8",), port=None, env=None, ready=True, **limits):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.data = self.directory / "data"
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.session = requests.Session()
        flags = [flag for pool in pools for flag in ("--pool", pool)]
        super().__init__(
            ["serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", self.data, *flags, *arguments],
            self.directory / "output.log", env=env, **limits)
        if ready:
            self.wait_ready()

    def wait_ready(self, seconds=30):
        def asks():
            if not self.is_running:
                raise AssertionError(f"the server ended with {self.popen.returncode}:\n{self.text()[-3000:]}")
            try:
                return requests.get(self.url + "/readyz", timeout=5).status_code == 200
            except requests.ConnectionError:
                return False

        wait_until(asks, seconds, "readiness")
        return self

    def boto(self, **config):
        client = boto3.client(
            "sqs", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id="any", aws_secret_access_key="any",
            config=Config(retries={"total_max_attempts": 1}, read_timeout=40, max_pool_connections=64, **config))
        if speaks_query(client):
            client.meta.events.register("provide-client-params.sqs.ReceiveMessage", old_names)
        return client

    def get(self, path, **options):
        return self.session.get(self.url + path, timeout=30, **options)

    def post(self, path, **options):
        return self.session.post(self.url + path, timeout=60, **options)

    def send(self, pool, group, body, **more):
        """One message over REST; the answer's JSON."""
        answer = self.post(f"/v1/pools/{pool}/messages", json={"group": group, "body": body, **more})
        assert answer.status_code == 202, answer.text
        return answer.json()

    def pool(self, name):
        answer = self.get(f"/v1/pools/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def action(self, name, body, **headers):
        """A raw action of the SQS protocol."""
        data = body if isinstance(body, (bytes, str)) else json.dumps(body)
        return self.post("/", data=data, headers={
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{name}", **headers})

    def drain(self, queue, visibility=60):
        """Receives and deletes until the queue is empty: messages in order of arrival. Without boto3, which is slow."""
        messages = []
        while True:
            got = self.answer("ReceiveMessage", {
                "QueueUrl": queue, "MaxNumberOfMessages": 10, "VisibilityTimeout": visibility,
                "MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}).get("Messages", [])
            if not got:
                return messages
            messages += got
            gone = self.answer("DeleteMessageBatch", {"QueueUrl": queue, "Entries": [
                {"Id": str(i), "ReceiptHandle": m["ReceiptHandle"]} for i, m in enumerate(got)]})
            assert "Failed" not in gone, gone["Failed"]

    def answer(self, name, body):
        answer = self.action(name, body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that the tests of a module share."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture
def servers(tmp_path):
    """Starts servers of a test's own, of one kind or another; what is left running at its end is killed."""
    started = []

    def start(*arguments, name="server", kind=Server, **options):
        directory = tmp_path / name
        directory.mkdir(exist_ok=True)
        server = kind(directory, *arguments, **options)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.is_running:
            server.kill9()


@pytest.fixture(scope="session")
def moto(tmp_path_factory):
    """moto_server's base URL: SQS and DynamoDB that nobody here wrote."""
    port = free_port()
    log = open(tmp_path_factory.mktemp("moto") / "output.log", "ab")
    server = subprocess.Popen(
        [Path(sys.executable).parent / "moto_server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return requests.get(url + "/moto-api/", timeout=5).ok
        except requests.ConnectionError:
            return False

    wait_until(answers, 60, "moto's readiness")
    yield url
    server.kill()
    server.wait(20)
    log.close()


@pytest.fixture(scope="module")
def sqs(server):
    return server.boto()


@pytest.fixture
def name():
    """A name that no other test uses."""
    return "t" + uuid.uuid4().hex[:12]


@pytest.fixture
def queue(sqs, name):
    """URL of a fresh FIFO queue of one shard, explicit deduplication ids, visibility timeout 30 s."""
    return sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]


class Queue:
    """Short words for tests that are about order: sends and receives by group and body."""

    def __init__(self, sqs, url):
        self.sqs, self.url, self.count = sqs, url, 0
        self.handles = {}

    def send(self, *messages, **more):
        """Messages as `group-body` words, such as g1-m1."""
        for word in messages:
            self.count += 1
            self.sqs.send_message(QueueUrl=self.url, MessageBody=word, MessageGroupId=word.split("-")[0],
                                  **{"MessageDeduplicationId": f"{word}/{self.count}", **more})

    def receive(self, count=10, visibility=None, wait=0, **more):
        """Bodies in the order of the answer; remembers the handles."""
        options = {} if visibility is None else {"VisibilityTimeout": visibility}
        got = self.sqs.receive_message(QueueUrl=self.url, MaxNumberOfMessages=count, WaitTimeSeconds=wait, **options,
                                       **more).get("Messages", [])
        self.handles.update({message["Body"]: message["ReceiptHandle"] for message in got})
        return [message["Body"] for message in got]

    def delete(self, *words):
        for word in words:
            self.sqs.delete_message(QueueUrl=self.url, ReceiptHandle=self.handles[word])

    def visibility(self, seconds, *words):
        for word in words:
            self.sqs.change_message_visibility(
                QueueUrl=self.url, ReceiptHandle=self.handles[word], VisibilityTimeout=seconds)

    def attributes(self, *names):
        return self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(names) or ["All"])["Attributes"]


@pytest.fixture
def fifo(sqs, queue):
    return Queue(sqs, queue)


def pytest_configure(config):
    if not Path(BIN).exists():
        pytest.exit(f"TEST_BINARY: no program at {BIN}; infra/test builds it")


@pytest.fixture
def workers(tmp_path):
    """Starts `queuepool work`; ends what a test left running. Standard output goes to a file of its own."""
    started = []

    def start(*arguments, endpoint, pool="emails.fifo", kind=Process, **options):
        output = tmp_path / f"worker{len(started)}.out"
        with open(output, "wb") as file:
            worker = kind(["work", "--endpoint", endpoint, "--pool", pool, *arguments],
                          tmp_path / f"worker{len(started)}.log", stdout=file, **options)
        worker.lines = lambda: [json.loads(line) for line in output.read_text().splitlines()]
        started.append(worker)
        return worker

    yield start
    for worker in started:
        if worker.is_running:
            worker.kill9()
