# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The AWS CLI, as a program of its own, and what `queuepool pool` prints."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import AWS, clean_environment, run

CLI = shutil.which("aws", path=str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"])


@pytest.fixture(scope="module")
def aws(server, tmp_path_factory):
    home = tmp_path_factory.mktemp("home")

    def call(action, *arguments, check=0):
        done = subprocess.run(
            [CLI, "--endpoint-url", server.url, "--output", "json", "sqs", action, *arguments], capture_output=True,
            text=True, timeout=60, env=clean_environment({**AWS, "HOME": str(home), "AWS_PAGER": ""}))
        assert (done.returncode == 0) == (check == 0), done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else done.stderr

    return call


def test_a_message_from_send_to_delete(aws, server):
    url = aws("get-queue-url", "--queue-name", "emails.fifo")["QueueUrl"]
    sent = aws("send-message", "--queue-url", url, "--message-body", "from the CLI", "--message-group-id", "cli",
               "--message-deduplication-id", "1", "--message-attributes",
               '{"kind":{"DataType":"String","StringValue":"test"}}')
    got = aws("receive-message", "--queue-url", url, "--attribute-names", "All", "--message-attribute-names", "All",
              "--max-number-of-messages", "10", "--wait-time-seconds", "5")["Messages"][0]
    assert (got["Body"], got["MessageId"]) == ("from the CLI", sent["MessageId"])
    assert got["MessageAttributes"]["kind"]["StringValue"] == "test"
    aws("delete-message", "--queue-url", url, "--receipt-handle", got["ReceiptHandle"])
    assert server.pool("emails.fifo")["backlog"] == 0


def test_a_queue_from_create_to_delete(aws, name):
    url = aws("create-queue", "--queue-name", name + ".fifo", "--attributes", "FifoQueue=true,VisibilityTimeout=5",
              "--tags", "team=mail")["QueueUrl"]
    assert aws("list-queues", "--queue-name-prefix", name)["QueueUrls"] == [url]
    attributes = aws("get-queue-attributes", "--queue-url", url, "--attribute-names", "All")["Attributes"]
    assert attributes["VisibilityTimeout"] == "5"
    assert aws("list-queue-tags", "--queue-url", url)["Tags"] == {"team": "mail"}
    aws("purge-queue", "--queue-url", url)
    aws("delete-queue", "--queue-url", url)
    assert "NonExistentQueue" in aws("get-queue-attributes", "--queue-url", url, check=1)


def test_queuepool_pool_lists_shows_creates_and_purges(server, name):
    pool = name + ".fifo"
    made = run("pool", "create", pool, "--shards", 2, "--endpoint", server.url, check=0)
    assert f"{name}-0001.fifo" in made.stdout
    run("pool", "create", pool, "--shards", 2, "--endpoint", server.url, check=0)
    assert "different" in run("pool", "create", pool, "--shards", 3, "--endpoint", server.url, check=1).stderr
    server.send(pool, "g", "x")
    assert re.search(rf"{pool}\s+1\s+2\s+1\s+0\s+0\s", run("pool", "list", "--endpoint", server.url, check=0).stdout)
    shown = json.loads(run("pool", "show", pool, "--json", "--endpoint", server.url, check=0).stdout)
    assert shown["backlog"] == 1 and len(shown["shards"]) == 2
    assert run("pool", "purge", pool, "--endpoint", server.url).returncode == 64, "purging needs --yes"
    assert run("pool", "purge", pool, "--yes", "--endpoint", server.url, check=0).stdout == "purged 1\n"
    assert run("pool", "show", "absent.fifo", "--endpoint", server.url).returncode == 1


def test_a_command_whose_server_is_away_says_so(name):
    done = run("pool", "list", "--endpoint", "http://127.0.0.1:9")
    assert done.returncode == 69
    assert "does not answer" in done.stderr


@pytest.mark.parametrize("command", [
    [], ["serve"], ["work"], ["send"], ["pool"], ["pool", "list"], ["pool", "show"], ["pool", "create"],
    ["pool", "purge"], ["bench"], ["bench", "run"], ["bench", "scale"]])
def test_help_shows_an_example(command):
    text = run(*command, "--help", check=0).stdout
    assert "queuepool " + (command[0] if command else "serve") in text
    assert command == [] or "Example" in text


def test_bench_measures_a_running_server_and_checks_it(server, tmp_path):
    report = tmp_path / "bench.json"
    done = run("bench", "--endpoint", server.url, "--mode", "both", "--connections", 4, "--messages", 2000,
               "--seconds", 2, "--warm-up-seconds", 0, "--json", report, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(report.read_text())
    assert "seed" in done.stdout.lower()
