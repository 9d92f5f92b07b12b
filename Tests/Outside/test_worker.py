# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The worker as a process: it delivers every message once and in order, retries, gives up with a reason, stops clean."""

import collections
import functools
import json
import sys

import pytest
from conftest import Process, wait_until
from receivers import webhook

POOL = "emails.fifo"


@pytest.fixture
def work(server, workers):
    """Starts workers. The pool is emptied first."""
    server.post(f"/v1/pools/{POOL}/purge")
    server.post("/v1/pools/emails-dlq.fifo/purge")
    return functools.partial(workers, endpoint=server.url)


def send(server, group, *bodies):
    return [server.send(POOL, group, body)["id"] for body in bodies]


def is_empty(server):
    pool = server.pool(POOL)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"] == 0


def in_order(bodies):
    """Whether the numbers of each group's bodies (`group/number`) rise by one from 0."""
    numbers = collections.defaultdict(list)
    for body in bodies:
        group, number = body.split("/")
        numbers[group].append(int(number))
    return all(found == list(range(len(found))) for found in numbers.values())


def test_stdout_prints_each_message_once_and_in_order(server, work):
    lines = "".join(json.dumps({"group": f"g{i % 20}", "body": f"g{i % 20}/{i // 20}"}) + "\n" for i in range(600))
    server.post(f"/v1/pools/{POOL}/messages", data=lines, headers={"Content-Type": "application/x-ndjson"})
    worker = work("--deliver", "stdout:")
    wait_until(lambda: is_empty(server), 30, "an empty pool")
    worker.stop()
    bodies = [line["body"] for line in worker.lines()]
    assert len(bodies) == 600 and in_order(bodies)
    assert set(worker.lines()[0]) == {"id", "group", "shard", "attempt", "attributes", "body"}


def test_exec_hands_the_message_over_on_standard_input(server, work, tmp_path):
    ids = send(server, "g", "one\nline", "grüße")
    command = f'{{ cat; echo "|$QUEUEPOOL_MESSAGE_ID|$QUEUEPOOL_GROUP|$QUEUEPOOL_ATTEMPT"; }} >> {tmp_path}/out'
    worker = work("--deliver", "exec:" + command)
    wait_until(lambda: is_empty(server), 30, "an empty pool")
    worker.stop()
    assert (tmp_path / "out").read_text() == f"one\nline|{ids[0]}|g|1\ngrüße|{ids[1]}|g|1\n"


LOOK = """
import json, os, stat, sys
found = {"names": sorted(os.environ), "open": [], "stdin": os.readlink("/proc/self/fd/0"),
         "arguments": open(f"/proc/{os.getppid()}/cmdline").read(), "body": sys.stdin.read()}
for number in range(3, 1024):
    try:
        os.fstat(number)
        found["open"].append(os.readlink(f"/proc/self/fd/{number}"))
    except OSError:
        pass
try:
    os.pwrite(0, b"changed", 0)
    found["written"] = True
except OSError:
    found["written"] = False
json.dump(found, open(sys.argv[1], "w"))
"""

SECRETS = {"AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "secret", "DATABASE_URL": "secret",
           "QUEUEPOOL_LOG_LEVEL": "info", "LC_ALL": "C.UTF-8", "TZ": "UTC", "SMTP_PASSWORD": "secret"}
PASSED = {"PATH", "HOME", "LANG", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "QUEUEPOOL_MESSAGE_ID", "QUEUEPOOL_GROUP",
          "QUEUEPOOL_ATTEMPT", "QUEUEPOOL_SHARD"}
OF_THE_SHELL = {"PWD", "OLDPWD", "SHLVL", "_", "LC_CTYPE"}


@pytest.mark.parametrize("place", ["work", "serve"])
def test_a_command_gets_no_secret_no_socket_and_no_file_but_its_message(servers, tmp_path, place):
    (tmp_path / "look.py").write_text(LOOK)
    target = f"exec:{sys.executable} {tmp_path}/look.py {tmp_path}/found.part && mv {tmp_path}/found.part {tmp_path}/found"
    deliver = ("--deliver", target)
    own = servers(*(deliver if place == "serve" else ()), pools=(POOL + "=2",), env=SECRETS)
    own.send(POOL, "g", "the body")
    if place == "work":
        worker = Process(["work", "--endpoint", own.url, "--pool", POOL, *deliver], tmp_path / "log", env=SECRETS)
    wait_until((tmp_path / "found").exists, 30, "a delivery")
    found = json.loads((tmp_path / "found").read_text())
    names = {name for name in found["names"] if not name.startswith("LC_")} - OF_THE_SHELL
    assert names <= PASSED and {"PATH", "TZ", "QUEUEPOOL_MESSAGE_ID"} <= names
    assert "LC_ALL" in found["names"]
    assert found["open"] == []
    assert found["body"] == "the body" and "the body" not in found["arguments"]
    assert found["stdin"].startswith("/memfd:"), "the body is on no disk"
    assert not found["written"]
    if place == "work":
        worker.stop()
    own.stop()


def test_a_command_that_does_not_read_is_not_waited_for(server, work, tmp_path):
    send(server, "g", "x" * 1_000_000, "y" * 1_000_000)
    worker = work("--deliver", f"exec:echo >> {tmp_path}/out")
    wait_until(lambda: is_empty(server), 30, "an empty pool")
    worker.stop()
    assert (tmp_path / "out").read_text() == "\n\n"


def test_exec_that_fails_is_tried_again_before_its_followers(server, work, tmp_path):
    send(server, "g", "g/0", "g/1")
    command = f'read -r line; echo "$line" >> {tmp_path}/out; [ "$line" != g/0 ] || [ "$QUEUEPOOL_ATTEMPT" -ge 3 ]'
    worker = work("--deliver", "exec:" + command)
    wait_until(lambda: is_empty(server), 30, "an empty pool")
    worker.stop()
    assert (tmp_path / "out").read_text().split() == ["g/0", "g/0", "g/0", "g/1"]


def test_a_webhook_gets_id_group_attempt_and_idempotency_key(server, work):
    with webhook() as hook:
        sent = server.send(POOL, "group-1", "hello ✓", attributes={"Content-Type": "text/x-test"})
        worker = work("--deliver", hook.url)
        wait_until(lambda: is_empty(server), 30, "an empty pool")
        worker.stop()
    request = hook.requests[0]
    headers = {name.lower(): value for name, value in request["headers"].items()}
    assert request["body"] == "hello ✓"
    assert headers["x-queuepool-message-id"] == headers["idempotency-key"] == sent["id"]
    assert (headers["x-queuepool-group"], headers["x-queuepool-attempt"]) == ("group-1", "1")
    assert headers["content-type"] == "text/x-test"


def test_a_failing_message_holds_its_group_and_no_other(server, work):
    good = {f"good{i}/{n}" for i in range(10) for n in range(2)}
    with webhook(lambda request: (503 if request["body"] == "bad/0" and good - set(hook.bodies) else 204, {})) as hook:
        send(server, "bad", "bad/0", "bad/1", "bad/2")
        for i in range(10):
            send(server, f"good{i}", f"good{i}/0", f"good{i}/1")
        worker = work("--deliver", hook.url, "--max-attempts", "1000")
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    bodies = [body for body in hook.bodies if body.startswith("bad")]
    assert sorted(set(hook.bodies)) == sorted(good | {"bad/0", "bad/1", "bad/2"})
    assert bodies == ["bad/0"] * (len(bodies) - 2) + ["bad/1", "bad/2"], "followers wait, and keep their order"
    attempts = [int(r["headers"]["X-Queuepool-Attempt"]) for r in hook.requests if r["body"].startswith("bad")]
    assert attempts == [*range(1, len(bodies) - 1), 1, 1], "followers' attempts do not climb"


@pytest.mark.parametrize("status, attempts, error_class", [(500, 2, "http-500"), (400, 1, "http-400")])
def test_a_message_that_cannot_be_delivered_goes_to_the_dead_letter_queue_with_its_reason(
        server, work, status, attempts, error_class):
    with webhook(lambda request: (status if request["body"] == "poison" else 200, {})) as hook:
        sent = server.send(POOL, "g", "poison", attributes={"kind": "test"})
        server.send(POOL, "g", "follower")
        worker = work("--deliver", hook.url, "--max-attempts", "2")
        wait_until(lambda: "follower" in hook.bodies, 30, "the follower")
        wait_until(lambda: is_empty(server), 30, "an empty pool")
        worker.stop()
        assert hook.bodies.count("poison") == attempts
    message = server.drain("emails-dlq.fifo")[0]
    assert message["Body"] == "poison"
    assert message["Attributes"]["MessageGroupId"] == "g"
    attributes = {name: value["StringValue"] for name, value in message["MessageAttributes"].items()}
    assert attributes["kind"] == "test"
    assert attributes["queuepool.error-class"] == error_class
    assert attributes["queuepool.attempts"] == str(attempts)
    assert attributes["queuepool.reason"] and attributes["queuepool.failed-at"].endswith("Z")
    assert sent["id"] in worker.text(), "the log names what was given up"
    assert "poison" not in worker.text()


def test_the_next_target_is_tried_when_one_is_away(server, work):
    with webhook() as hook:
        send(server, "g", "g/0", "g/1")
        worker = work("--deliver", "http://127.0.0.1:9/", "--deliver", hook.url)
        wait_until(lambda: is_empty(server), 30, "an empty pool")
        worker.stop()
    assert hook.bodies == ["g/0", "g/1"]


def test_two_workers_split_the_shards(server, work):
    for i in range(80):
        send(server, f"g{i}", f"g{i}/0")
    first, second = work("--deliver", "stdout:", "--shards", "0-3"), work("--deliver", "stdout:", "--shards", "4-7")
    wait_until(lambda: is_empty(server), 30, "an empty pool")
    first.stop()
    second.stop()
    assert {line["shard"] for line in first.lines()} == {f"emails-{i:04d}.fifo" for i in range(4)}
    assert {line["shard"] for line in second.lines()} == {f"emails-{i:04d}.fifo" for i in range(4, 8)}
    assert len(first.lines()) + len(second.lines()) == 80


def test_a_stop_finishes_or_releases_what_is_under_way(server, work, tmp_path):
    for i in range(4):
        send(server, f"g{i}", *[f"g{i}/{n}" for n in range(8)])
    command = f'sleep 0.2; line=$(cat); echo "$line" >> {tmp_path}/out'
    worker = work("--deliver", "exec:" + command)
    wait_until(lambda: (tmp_path / "out").exists(), 30, "a first delivery")
    worker.stop()
    pool = server.pool(POOL)
    delivered = (tmp_path / "out").read_text().split()
    assert 0 < len(delivered) < 32
    assert (pool["inFlight"], pool["backlog"]) == (0, 32 - len(delivered)), "released, and what was delivered deleted"
    worker = work("--deliver", "exec:" + command)
    wait_until(lambda: is_empty(server), 30, "an empty pool")
    worker.stop()
    delivered = (tmp_path / "out").read_text().split()
    assert len(delivered) == 32 and in_order(delivered), "each once and in order, over the stop"


def test_visibility_is_extended_while_a_delivery_takes_longer(server, work, tmp_path):
    send(server, "g", "slow")
    command = f"sleep 5; cat >> {tmp_path}/out; echo >> {tmp_path}/out"
    worker = work("--deliver", "exec:" + command, "--visibility-seconds", "2")
    wait_until(lambda: is_empty(server), 30, "an empty pool")
    worker.stop()
    assert (tmp_path / "out").read_text() == "slow\n", "delivered once although it took longer than the timeout"


def test_a_worker_waits_for_its_server_and_outlives_its_restart(servers, work, tmp_path):
    own = servers(pools=(POOL + "=2",), name="own")
    with webhook() as hook:
        worker = work("--deliver", hook.url, endpoint=own.url)
        own.send(POOL, "g", "g/0")
        wait_until(lambda: hook.bodies == ["g/0"], 30, "the first message")
        own.stop()
        again = servers(pools=(POOL + "=2",), name="own", port=own.port)
        again.send(POOL, "g", "g/1")
        wait_until(lambda: hook.bodies == ["g/0", "g/1"], 60, "the second message")
        worker.stop()
        again.stop()


def test_serve_delivers_in_process(servers):
    with webhook() as hook:
        own = servers("--deliver", hook.url, name="own")
        for i in range(20):
            own.send(POOL, "g", f"g/{i}")
        wait_until(lambda: is_empty(own), 30, "an empty pool")
        own.stop()
    assert hook.bodies == [f"g/{i}" for i in range(20)]
