# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What an operator's hand and a broken disk do to the files of a server."""

import os
import shutil
import subprocess

import pytest
from conftest import wait_until
from errors import assert_problem

POOL = "emails.fifo"


def stores(server):
    return sorted((server.data / "shards").glob("store-*.sqlite"))


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_store_that_is_missing_stops_the_start_with_its_name(servers, end):
    server = servers(pools=(POOL + "=4",))
    sent = sorted(server.send(POOL, f"g{i}", str(i))["id"] for i in range(40))
    getattr(server, end)()
    files = stores(server)
    assert files
    for file in files:
        away = file.with_name("away")
        file.rename(away)
        # The only one, without its log and journal, is not missed by others like it; its messages are, at every start.
        is_alone = len(files) == 1 and not list(file.parent.glob(file.name + "-*"))
        for _ in range(2):
            with pytest.raises(AssertionError, match="the server ended with [1-9]") as ended:
                servers(pools=(POOL + "=4",), port=server.port)
            assert (f"in {server.data} are gone" if is_alone else f"{file} is missing") in str(ended.value)
        assert is_alone or not file.exists(), "another one was made in its place"
        if is_alone:
            for made in file.parent.glob(file.name + "*"):
                made.unlink()
        away.rename(file)
    # Small machines keep one store; where there are two, they know their places.
    for first, second in zip(files[:1], files[1:]):
        both = first.with_name("away")
        os.rename(first, both), os.rename(second, first), os.rename(both, second)
        with pytest.raises(AssertionError, match="the server ended with [1-9]") as ended:
            servers(pools=(POOL + "=4",), port=server.port)
        assert str(first) in str(ended.value) and str(second) in str(ended.value)
        os.rename(first, both), os.rename(second, first), os.rename(both, second)
    again = servers(pools=(POOL + "=4",), port=server.port)
    assert sorted(m["MessageId"] for m in again.drain(POOL)) == sent
    again.stop()


def test_after_a_failed_flush_nothing_is_acknowledged_until_a_restart(servers, tmp_path):
    """The system reports a failed flush once, and takes the pages for written after that."""
    server = servers(pools=(POOL + "=2",))
    acknowledged = [server.send(POOL, f"g{i % 5}", str(i))["id"] for i in range(20)]
    trace = tmp_path / "trace"
    try:
        tracer = subprocess.Popen(
            ["strace", "-f", "-o", trace, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=2",
             "-p", str(server.pid)], stderr=subprocess.PIPE, text=True)
    except FileNotFoundError:
        pytest.skip("strace is not installed")
    if "attached" not in tracer.stderr.readline():
        pytest.skip("strace may not attach to a process here")
    group = "one"
    failed = 0
    for i in range(20, 60):
        answer = server.post(f"/v1/pools/{POOL}/messages", json={"group": group, "body": str(i)})
        if answer.status_code == 202:
            assert failed == 0, "a send was acknowledged behind a flush that failed"
            acknowledged.append(answer.json()["id"])
        else:
            assert answer.status_code >= 500
            failed += 1
    tracer.terminate()
    tracer.wait(20)
    assert "(INJECTED)" in trace.read_text()
    assert failed, "no flush failed: the test tests nothing"
    wait_until(lambda: server.get("/readyz").status_code == 503, what="that the server says it is not ready")
    assert "Sends are refused" in server.text()
    server.kill9()
    again = servers(pools=(POOL + "=2",), port=server.port)
    assert set(acknowledged) <= {m["MessageId"] for m in again.drain(POOL)}
    again.send(POOL, group, "taken")
    again.stop()


@pytest.mark.parametrize("mishap", ["moved", "removed"])
def test_a_data_directory_that_is_gone_ends_sends(servers, mishap):
    """What would be acknowledged now is lost when the server ends."""
    server = servers(pools=(POOL + "=2",))
    acknowledged = [server.send(POOL, f"g{i % 5}", str(i))["id"] for i in range(20)]
    away = server.data.with_name("away")
    if mishap == "moved":
        server.data.rename(away)
    else:
        shutil.rmtree(server.data)

    def refusals():
        answers = []
        for i in range(8):
            answers.append(server.post(f"/v1/pools/{POOL}/messages", json={"group": f"g{i}", "body": "late"}))
            if answers[-1].status_code == 202:
                acknowledged.append(answers[-1].json()["id"])
        return answers if all(answer.status_code == 503 for answer in answers) else None

    for refusal in wait_until(refusals, seconds=5, what="that sends are refused"):
        problem = assert_problem(refusal, 503)
        assert "moved or removed" in problem["title"], problem
    sqs = server.action("SendMessage", {
        "QueueUrl": POOL, "MessageBody": "x", "MessageGroupId": "g0", "MessageDeduplicationId": "s"})
    assert sqs.status_code == 503 and "moved or removed" in sqs.text, sqs.text
    ready = assert_problem(server.get("/readyz"), 503)
    assert "moved or removed" in ready["detail"], ready
    assert server.get("/healthz").status_code == 200
    lines = [line for line in server.text().splitlines() if "Sends are refused" in line]
    assert len(lines) == 1 and "moved or removed" in lines[0], lines
    server.kill9()
    if mishap == "moved":
        away.rename(server.data)
        again = servers(pools=(POOL + "=2",), port=server.port)
        assert set(acknowledged) == {m["MessageId"] for m in again.drain(POOL)}
        again.stop()
