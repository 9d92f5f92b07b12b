# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Commands as delivery targets: as many at once as asked for, gone when their worker is, and what their ends mean."""

import functools
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import BIN, clean_environment, wait_until

POOL = "emails.fifo"


@pytest.fixture
def own(servers):
    """A server with an empty pool."""
    return servers(pools=(POOL + "=4",))


@pytest.fixture
def work(own, workers):
    return functools.partial(workers, endpoint=own.url)


def send(server, messages):
    """(group, body) pairs, in one stream."""
    lines = "".join(json.dumps({"group": group, "body": body}) + "\n" for group, body in messages)
    answer = server.post(f"/v1/pools/{POOL}/messages", data=lines, headers={"Content-Type": "application/x-ndjson"})
    assert answer.status_code == 200 and '"error"' not in answer.text, answer.text


def left(server):
    pool = server.pool(POOL)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"]


def dead(server):
    return server.pool("emails-dlq.fifo")["backlog"]


def processes(mark):
    """Commands that have `mark` in their arguments or environment, zombies left out."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            text = (entry / "cmdline").read_bytes() + b"\0" + (entry / "environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in text:
            found.append(int(entry.name))
    return found


def script(path, text):
    path.write_text(text)
    return f"exec:sh {path}"


def test_as_many_commands_run_at_once_as_are_asked_for(own, work, tmp_path):
    (tmp_path / "begun").mkdir()
    (tmp_path / "met").mkdir()
    send(own, [(f"g{i}", "x") for i in range(64)])
    command = script(tmp_path / "meet.sh", f"""
        : > {tmp_path}/begun/$QUEUEPOOL_MESSAGE_ID
        for turn in $(seq 100); do
            set -- {tmp_path}/begun/*
            if [ $# -ge 64 ]; then : > {tmp_path}/met/$QUEUEPOOL_MESSAGE_ID; exit 0; fi
            sleep 0.2
        done
        exit 65
    """)
    worker = work("--deliver", command, "--concurrency", "64")
    wait_until(lambda: left(own) == 0, 60, "an empty pool")
    worker.stop()
    assert len(list((tmp_path / "met").iterdir())) == 64, "each command saw all the others"
    assert dead(own) == 0


def test_commands_of_a_killed_worker_end_with_what_they_started(own, work, tmp_path, name):
    send(own, [(f"g{i}", "x") for i in range(3)])
    command = script(tmp_path / f"{name}.sh", f"sleep 30 & : > {tmp_path}/begun-$QUEUEPOOL_MESSAGE_ID; sleep 30; wait")
    worker = work("--deliver", command)
    wait_until(lambda: len(list(tmp_path.glob("begun-*"))) == 3, 30, "three commands")
    identifier = f"QUEUEPOOL_SHARD={POOL.removesuffix('.fifo')}"
    handlers = {process for process in processes(identifier) if process_group_of_test(process, name)}
    assert len(handlers) >= 9, "a shell and two sleeps each"
    worker.kill9()
    wait_until(lambda: not [process for process in handlers if runs(process)], 10, "the end of all of them")


def test_two_commands_of_one_message_never_overlap_when_a_worker_is_killed(own, work, tmp_path):
    """Each holds a lock as long as it and its children live; one that finds it taken says so."""
    send(own, [("g", "x")])
    command = script(tmp_path / "hold.sh", f"""
        exec 9>> {tmp_path}/lock
        if ! flock -n 9; then : > {tmp_path}/overlapped; exit 1; fi
        echo begun >> {tmp_path}/log
        [ $(wc -l < {tmp_path}/log) -ge 4 ] && exit 0
        sleep 40 & sleep 40; wait
    """)
    # With shards that are given to it the next worker waits for no lease of the one that was killed.
    options = ["--visibility-seconds", "2", "--shards", "0-3"]
    for kill in range(3):
        worker = work("--deliver", command, *options)
        wait_until(lambda: (tmp_path / "log").exists() and len((tmp_path / "log").read_text().split()) > kill, 30,
                   "a command")
        worker.kill9()
    worker = work("--deliver", command, *options)
    wait_until(lambda: left(own) == 0, 30, "an empty pool")
    worker.stop()
    assert not (tmp_path / "overlapped").exists()


def test_a_worker_whose_guardian_was_killed_goes_on_and_still_leaves_nobody_behind(own, work, tmp_path):
    send(own, [("g", "x")])
    command = script(tmp_path / "hold.sh", f"sleep 30 & echo $! $$ > {tmp_path}/part; "
                                           f"mv {tmp_path}/part {tmp_path}/begun; sleep 30; wait")
    worker = work("--deliver", command)
    wait_until((tmp_path / "begun").exists, 30, "a command")
    handlers = list(map(int, (tmp_path / "begun").read_text().split()))
    guardian = guardian_of(worker)
    os.kill(guardian, signal.SIGKILL)
    wait_until(lambda: guardian_of(worker) not in (None, guardian), 10, "another guardian")
    worker.kill9()
    wait_until(lambda: not [process for process in handlers if runs(process)], 10, "the end of both")


def guardian_of(worker):
    """The process that ends the commands of a worker, a child of it."""
    for child in Path(f"/proc/{worker.pid}/task").glob("*/children"):
        for process in map(int, child.read_text().split()):
            if b"queuepool-guardian" in Path(f"/proc/{process}/cmdline").read_bytes():
                return process
    return None


def test_the_guardian_ends_with_its_worker(own, work, tmp_path):
    send(own, [("g", "x")])
    worker = work("--deliver", "exec:cat")
    wait_until(lambda: left(own) == 0, 30, "an empty pool")
    guardian = guardian_of(worker)
    assert guardian
    worker.stop()
    wait_until(lambda: not runs(guardian), 10, "the guardian's end")


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def process_group_of_test(process, name):
    """Whether the leader of the process's group is this test's script."""
    try:
        leader = os.getpgid(process)
        return name in Path(f"/proc/{leader}/cmdline").read_text()
    except OSError:
        return False


def test_a_failing_command_fails_also_where_the_worker_inherited_that_children_are_ignored(own, tmp_path):
    """With SIGCHLD ignored the kernel throws statuses away, and a command that failed would look like a good one."""
    send(own, [("g", "x")])
    with open(tmp_path / "log", "wb") as log:
        worker = subprocess.Popen(
            [BIN, "work", "--endpoint", own.url, "--pool", POOL, "--deliver", "exec:exit 65"], stdout=log, stderr=log,
            env=clean_environment(), preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    wait_until(lambda: left(own) == 0, 30, "an empty pool")
    worker.terminate()
    assert worker.wait(40) == 0
    assert dead(own) == 1


def test_a_command_that_this_machine_lacks_says_nothing_about_the_message(own, work, tmp_path):
    """It is tried until it is there, far beyond the attempts that a message has."""
    send(own, [("g", "x")])
    tool = tmp_path / "tool"
    worker = work("--deliver", f"exec:{tool} {tmp_path}/out", "--max-attempts", "1")
    wait_until(lambda: "exit-127" in worker.text(), 30, "a first try")
    assert dead(own) == 0
    tool.write_text('#!/bin/sh\ncat > "$1"\n')
    tool.chmod(0o700)
    wait_until(lambda: left(own) == 0, 60, "an empty pool")
    worker.stop()
    assert dead(own) == 0 and (tmp_path / "out").read_text() == "x"


def test_a_worker_whose_output_is_closed_ends_and_leaves_the_messages_where_they_are(own, tmp_path):
    send(own, [(f"g{i % 5}", f"g{i % 5}/{i // 5}") for i in range(50)])
    with open(tmp_path / "log", "wb") as log:
        worker = subprocess.Popen([BIN, "work", "--endpoint", own.url, "--pool", POOL, "--deliver", "stdout:"],
                                  stdout=subprocess.PIPE, stderr=log, env=clean_environment())
    lines = []
    # One byte at a time, so that no reader's buffer takes more than the line.
    while not lines or lines[-1] != b"\n":
        lines.append(os.read(worker.stdout.fileno(), 1))
    worker.stdout.close()
    try:
        code = worker.wait(30)
    finally:
        worker.kill()
    assert code > 0, "it ends by itself, and not as if all were well"
    assert "stdout-closed" in (tmp_path / "log").read_text()
    assert dead(own) == 0
    delivered = 50 - left(own)
    # Lines that the pipe took before it was closed were delivered as far as anybody can know.
    assert delivered < 50
    bodies = [message["Body"] for message in own.drain(POOL)]
    wait_until(lambda: left(own) == 0, 40, "what the worker held")
    assert len(bodies) == 50 - delivered, "given back, not held"
