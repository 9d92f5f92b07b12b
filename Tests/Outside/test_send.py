# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""`queuepool send`: what the server acknowledged of a file is never sent twice, however the send ended."""

import collections
import json
import os
import signal

import pytest
from conftest import Process, run, wait_until


@pytest.fixture
def pool(server, name):
    server.post("/v1/pools", json={"name": name + ".fifo", "shards": 4})
    return name + ".fifo"


def write(path, count, groups=10):
    path.write_text("".join(json.dumps({"group": f"g{i % groups}", "body": str(i)}) + "\n" for i in range(count)))
    return path


def check(server, pool, count, groups=10):
    """Each line arrived once, and each group in the order of the file."""
    got = collections.defaultdict(list)
    for message in server.drain(pool):
        got[message["Attributes"]["MessageGroupId"]].append(int(message["Body"]))
    assert {group: numbers for group, numbers in got.items()} == {
        f"g{g}": list(range(g, count, groups)) for g in range(groups)}


def send(server, pool, *arguments, **options):
    return run("send", "--endpoint", server.url, "--pool", pool, *arguments, **options)


def test_a_file_is_sent_in_order_and_a_second_run_sends_nothing(server, pool, tmp_path):
    file = write(tmp_path / "messages.ndjson", 3_000)
    first = send(server, pool, file, check=0)
    assert "sent 3,000 " in first.stdout
    second = send(server, pool, file, check=0)
    assert server.pool(pool)["backlog"] == 3_000, second.stdout
    check(server, pool, 3_000)


def test_standard_input(server, pool):
    done = send(server, pool, input='{"group":"g0","body":"0"}\n\n{"group":"g0","body":"10"}', check=0)
    assert "sent 2 " in done.stdout
    assert [m["Body"] for m in server.drain(pool)] == ["0", "10"]


def test_a_repeated_run_of_standard_input_sends_nothing_twice(server, pool):
    text = '{"group":"g","body":"a"}\n{"group":"g","body":"a"}\n'
    for _ in range(2):
        send(server, pool, "--run-id", "import-7", input=text, check=0)
    assert [m["Body"] for m in server.drain(pool)] == ["a", "a"], "equal lines are two messages, each sent once"


def test_refused_lines_are_named_and_the_others_are_sent(server, pool, tmp_path):
    file = tmp_path / "messages.ndjson"
    file.write_text('{"group":"g","body":"1"}\n{"group":"","body":"secret-text"}\nnonsense\n{"group":"g","body":"4"}\n')
    done = send(server, pool, file)
    assert done.returncode == 1
    assert "2" in done.stderr and "3" in done.stderr and "group" in done.stderr
    assert "secret-text" not in done.stderr + done.stdout
    assert [m["Body"] for m in server.drain(pool)] == ["1", "4"]


@pytest.mark.parametrize("with_signal", [signal.SIGINT, signal.SIGKILL])
def test_a_send_that_was_cut_off_goes_on_where_it_ended(server, pool, tmp_path, with_signal):
    count = 25_000
    file = write(tmp_path / "messages.ndjson", count)
    first = Process(["send", "--endpoint", server.url, "--pool", pool, file], tmp_path / "first.log")
    wait_until(lambda: server.pool(pool)["backlog"] > 500, what="some messages")
    os.kill(first.pid, with_signal)
    code = first.popen.wait(20)
    assert code == (130 if with_signal == signal.SIGINT else -signal.SIGKILL), first.text()
    assert server.pool(pool)["backlog"] < count, "it was cut off"
    send(server, pool, file, check=0, timeout=120)
    check(server, pool, count)


def test_a_send_outlives_a_restart_of_the_server(servers, tmp_path):
    server = servers(pools=("emails.fifo=2",), name="own")
    count = 25_000
    file = write(tmp_path / "messages.ndjson", count)
    sending = Process(["send", "--endpoint", server.url, "--pool", "emails.fifo", file], tmp_path / "send.log")
    wait_until(lambda: server.pool("emails.fifo")["backlog"] > 200, what="some messages")
    server.kill9()
    again = servers(pools=("emails.fifo=2",), name="own", port=server.port)
    try:
        code = sending.popen.wait(60)
    finally:
        sending.kill9()
    if code != 0:
        send(again, "emails.fifo", file, check=0, timeout=120)
    check(again, "emails.fifo", count)
    again.stop()
    if code == 0 and "does not answer" in sending.text():
        assert sending.text().count("connected again") == 1, sending.text()


def test_a_changed_file_is_not_mixed_up_with_the_old_one(server, pool, tmp_path):
    file = write(tmp_path / "messages.ndjson", 50)
    send(server, pool, file, check=0)
    file.write_text('{"group":"g9","body":"9"}\n' * 60)
    done = send(server, pool, file)
    assert done.returncode == 1 and "--restart" in done.stderr, "neither a guess nor a silent duplicate"
    assert server.pool(pool)["backlog"] == 50
    send(server, pool, "--restart", file, check=0)
    assert server.pool(pool)["backlog"] == 110


def test_two_sends_of_one_file_at_once_are_refused(server, pool, tmp_path):
    file = write(tmp_path / "messages.ndjson", 25_000)
    first = Process(["send", "--endpoint", server.url, "--pool", pool, file], tmp_path / "first.log")
    wait_until(lambda: server.pool(pool)["backlog"] > 0, what="a first message")
    done = send(server, pool, file)
    assert done.returncode == 1 and "another send" in done.stderr
    assert first.popen.wait(60) == 0
    first.file.close()
    check(server, pool, 25_000)


def test_what_cannot_be_sent_is_told(server, pool, tmp_path):
    assert send(server, pool, tmp_path / "absent").returncode == 66
    file = write(tmp_path / "messages.ndjson", 3)
    assert send(server, "absent.fifo", file).returncode != 0
    assert not (tmp_path / "messages.ndjson.queuepool-sent").exists(), "a mistyped pool leaves nothing behind"
    assert send(server, "no-pool-name", file).returncode == 64


def test_emails_are_sent_once_and_in_order(server, pool, tmp_path):
    file = tmp_path / "emails.ndjson"
    lines = [{"from": "shop@example.com", "to": f"a{i % 5}@example.com", "subject": str(i), "text": "x"}
             for i in range(2_500)]
    lines[7]["to"] = "secret"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = send(server, pool, "--emails", "--progress", file)
    assert done.returncode == 1 and "line 8: " in done.stderr and "secret" not in done.stderr
    assert "100%" in done.stderr and "2,499 sent" in done.stderr
    again = send(server, pool, "--emails", file)
    assert "sent 0 " in again.stdout and "earlier run 2,499" in again.stdout
    assert "%" not in again.stderr, "no progress unless asked for"
    assert "--emails" in send(server, pool, file).stderr, "the state is of emails"
    got = collections.defaultdict(list)
    for message in server.drain(pool):
        email = json.loads(message["Body"])
        got[email["to"][0]].append(int(email["subject"]))
    assert got == {f"a{r}@example.com": [i for i in range(r, 2_500, 5) if i != 7] for r in range(5)}
