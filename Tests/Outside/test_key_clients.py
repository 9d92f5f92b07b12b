# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The program's own clients towards a server that asks for a key: what they show, to whom, and what they say without."""

import http.server
import json
import os
import re
import threading
from pathlib import Path

import pytest
from access_server import KeyServer
from conftest import run, wait_until

CONFIGURATION, NO_PERMISSION, USAGE = 78, 77, 64
LINE = '{"group":"g","body":"canary"}\n'
COMMANDS = [
    pytest.param(("send", "--pool", "emails.fifo"), id="send"), pytest.param(("pool", "list"), id="pool"),
    pytest.param(("dead-letters", "list", "emails.fifo"), id="dead-letters"),
    pytest.param(("work", "--pool", "emails.fifo", "--deliver", "stdout:"), id="work"),
]


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    server = KeyServer(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


def private(path, text):
    """A file that its owner alone may read."""
    path.touch(mode=0o600)
    path.write_text(text)
    return path


def command(server, words, *arguments, **options):
    """Runs a client against a server."""
    return run(*words, "--endpoint", server.url, *arguments, input=LINE, **options)


def test_send_shows_the_token_of_a_file_and_of_the_environment(door, tmp_path, name):
    pool = name + ".fifo"
    key = door.key(name, f"{pool}:send")
    door.post("/v1/pools", json={"name": pool, "shards": 1})
    send = ("send", "--pool", pool)
    # A token as it is, with a line's end, and what 'queuepool key' printed.
    for text in (key["token"], key["token"] + "\n", json.dumps(key, indent=2)):
        file = private(tmp_path / "token", text)
        assert "sent 1 " in command(door, send, "--token-file", file, check=0).stdout
    command(door, send, env={"QUEUEPOOL_TOKEN_FILE": str(file)}, check=0)
    command(door, send, env={"QUEUEPOOL_TOKEN": key["token"]}, check=0)
    assert door.pool(pool)["backlog"] == 5


def test_pools_and_dead_letters_are_asked_for_with_a_token(door, tmp_path):
    flags = ("--token-file", private(tmp_path / "token", door.root["token"]))
    shown = json.loads(command(door, ("pool", "list", "--json"), *flags, check=0).stdout)
    assert "emails.fifo" in [pool["name"] for pool in shown["pools"]]
    command(door, ("pool", "create", "new.fifo", "--shards", "1"), *flags, check=0)
    command(door, ("pool", "purge", "new.fifo", "--yes"), *flags, check=0)
    command(door, ("dead-letters", "list", "emails.fifo"), *flags, check=0)


@pytest.mark.parametrize("words", COMMANDS)
def test_without_a_token_the_setting_is_named(door, words):
    done = command(door, words)
    assert done.returncode == CONFIGURATION, done.stderr
    assert "--token-file" in done.stderr and "QUEUEPOOL_TOKEN" in done.stderr and "connecting again" not in done.stderr


@pytest.mark.parametrize("words", COMMANDS)
def test_a_token_that_nobody_has_ends_it_at_once(door, words, tmp_path):
    token = "qp_" + "x" * 43
    done = command(door, words, "--token-file", private(tmp_path / "token", token))
    assert done.returncode == CONFIGURATION, done.stderr
    assert "token-file" in done.stderr and token not in done.stderr + done.stdout


@pytest.mark.parametrize("words, rule, right", [
    (("send", "--pool", "emails.fifo"), "emails.fifo:receive", "send"),
    (("dead-letters", "list", "emails.fifo"), "emails.fifo:send", "admin"),
    (("pool", "create", "other.fifo", "--shards", "1"), "emails.fifo:admin", "admin"),
    (("work", "--pool", "emails.fifo", "--deliver", "stdout:"), "emails.fifo:send", "receive"),
    (("work", "--pool", "emails.fifo", "--shards", "0-3", "--deliver", "stdout:"), "emails.fifo:send", "receive"),
])
def test_a_right_that_is_missing_is_named(door, words, rule, right, name):
    """Of a key that the server has not looked at yet, too."""
    key = door.key(name, rule)
    done = command(door, words, env={"QUEUEPOOL_TOKEN": key["token"]})
    assert done.returncode == NO_PERMISSION, done.stderr
    assert f"'{right}'" in done.stderr and key["id"] in done.stderr and "QUEUEPOOL_TOKEN" in done.stderr
    assert key["token"] not in done.stderr + done.stdout


def test_a_file_that_is_refused_leaves_no_state(door, tmp_path, name):
    key = door.key(name, "emails.fifo:receive")
    lines = tmp_path / "lines.ndjson"
    lines.write_text(LINE)
    for env, code in (({}, CONFIGURATION), ({"QUEUEPOOL_TOKEN": key["token"]}, NO_PERMISSION)):
        run("send", "--pool", "emails.fifo", lines, "--endpoint", door.url, env=env, check=code)
    door.revoke(name)
    assert door.pool("emails.fifo")["backlog"] == 0


@pytest.mark.parametrize("text, said", [
    ("", "is empty"), ("\n \n", "is empty"), ("qp_secret\x07word", "no token"), ("qp_secret word", "no token"),
    ("qp_secret\nqp_another", "no token"), ('{"secret": "qp_secret"}', "no token"), ("qp_secret" * 1_000, "no token")])
def test_a_file_without_a_token_is_named_and_not_shown(door, tmp_path, text, said):
    file = private(tmp_path / "token", text)
    done = command(door, ("pool", "list"), "--token-file", file)
    assert done.returncode == CONFIGURATION, done.stderr
    assert said in done.stderr and "'token-file'" in done.stderr and str(file) in done.stderr
    assert "qp_secret" not in done.stderr + done.stdout


def test_a_file_that_others_may_read_is_refused(door, tmp_path):
    file = private(tmp_path / "token", door.root["token"])
    for mode in (0o640, 0o604, 0o620):
        file.chmod(mode)
        done = command(door, ("pool", "list"), "--token-file", file)
        assert done.returncode == CONFIGURATION and "chmod 600" in done.stderr, done.stderr
    for wrong in (tmp_path, tmp_path / "nowhere"):
        done = command(door, ("pool", "list"), "--token-file", wrong)
        assert done.returncode == CONFIGURATION and str(wrong) in done.stderr, done.stderr


def test_a_token_is_taken_neither_from_the_command_line_nor_from_the_file_of_settings(door, tmp_path):
    token = door.root["token"]
    config = private(tmp_path / "settings.yaml", f"token: {token}\n")
    for flags, code in ((("--token", token), USAGE), (("--config", config), CONFIGURATION)):
        done = command(door, ("pool", "list"), *flags)
        assert done.returncode == code, done.stderr
        assert "'token'" in done.stderr and "others may read" in done.stderr and token not in done.stderr
    done = command(door, ("pool", "list"), env={"QUEUEPOOL_TOKEN": "qp_secret word"})
    assert done.returncode == CONFIGURATION and "'token'" in done.stderr and "qp_secret" not in done.stderr
    both = command(door, ("pool", "list"), env={"QUEUEPOOL_TOKEN": token, "QUEUEPOOL_TOKEN_FILE": "file"})
    assert both.returncode == CONFIGURATION and "both" in both.stderr


@pytest.mark.parametrize("endpoint", [
    "http://192.0.2.1:9324", "http://queue.example", "http://127.0.0.1.example:9324", "http://127.0.0.1:1@queue.example"])
@pytest.mark.parametrize("words", COMMANDS)
def test_a_token_does_not_leave_the_machine_as_plain_text(words, endpoint):
    done = run(*words, "--endpoint", endpoint, env={"QUEUEPOOL_TOKEN": "qp_secret"}, input=LINE)
    assert done.returncode == CONFIGURATION, done.stderr
    assert "plain text" in done.stderr and "https" in done.stderr and "qp_secret" not in done.stderr


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers every request with a redirect, or takes it; remembers what it showed."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        self.send_response(307 if self.server.elsewhere else 200)
        if self.server.elsewhere:
            self.send_header("Location", self.server.elsewhere + self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = do_CONNECT = do_PUT = answer

    def log_message(self, *_):
        pass


@pytest.fixture
def recorders():
    started = []

    def start(elsewhere=None):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder)
        server.seen, server.elsewhere, server.url = [], elsewhere, f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def test_neither_a_redirect_nor_a_proxy_gets_the_token(recorders):
    other = recorders()
    first = recorders(other.url)
    done = command(first, ("pool", "list"), env={"QUEUEPOOL_TOKEN": "qp_secret", "http_proxy": other.url, "ALL_PROXY": other.url})
    assert done.returncode == 1, done.stderr
    assert first.seen == [("/v1/pools", "Bearer qp_secret")] and other.seen == []
    assert "qp_secret" not in done.stderr + done.stdout


def start_worker(workers, server, *arguments, **options):
    return workers(*arguments, endpoint=server.url, **options)


def test_work_receives_deletes_and_tells_with_a_token_and_shows_it_to_nobody_else(door, workers, recorders, tmp_path, name):
    target = recorders()
    pool = name + ".fifo"
    door.post("/v1/pools", json={"name": pool, "shards": 2})
    key = door.key(name, f"{pool}:receive")
    sent = door.send(pool, "g", "canary")
    worker = start_worker(
        workers, door, "--deliver", target.url + "/hook", "--token-file", private(tmp_path / "token", key["token"]),
        "--log-level", "trace", pool=pool)
    wait_until(lambda: target.seen, 30, "the delivery")
    wait_until(lambda: door.pool(pool)["backlog"] + door.pool(pool)["inFlight"] == 0, 30, "the delete")
    wait_until(lambda: door.get(f"/v1/pools/{pool}/messages/{sent['id']}").json()["state"] == "sent", 30, "what became of it")
    assert all(shard["owner"] for shard in door.pool(pool)["shards"])
    assert key["token"] not in Path(f"/proc/{worker.pid}/cmdline").read_text()
    worker.stop()
    assert {shown for _, shown in target.seen} == {None}
    assert key["token"] not in worker.text() and key["token"] not in door.text()


def test_work_reads_the_file_again_when_its_token_is_over(door, workers, tmp_path, name):
    pool = name + ".fifo"
    door.post("/v1/pools", json={"name": pool, "shards": 1})
    old = door.key(name, f"{pool}:receive")
    file = private(tmp_path / "token", old["token"])
    worker = start_worker(workers, door, "--deliver", "stdout:", "--token-file", file, pool=pool)
    door.send(pool, "g", "before")
    wait_until(lambda: len(worker.lines()) == 1, 30, "the first delivery")
    new = json.loads(run("key", "rotate", name, "--grace", "0s", *door.place, check=0).stdout)
    fresh = private(tmp_path / "fresh", new["token"])
    os.replace(fresh, file)
    door.send(pool, "g", "after")
    wait_until(lambda: len(worker.lines()) == 2, 60, "the second delivery")
    wait_until(lambda: door.pool(pool)["backlog"] + door.pool(pool)["inFlight"] == 0, 30, "the deletes")
    worker.stop()
    for token in (old["token"], new["token"]):
        assert token not in worker.text()


def test_work_that_worked_goes_on_when_it_is_let_in_again(door, workers, tmp_path, name):
    pool = name + ".fifo"
    door.post("/v1/pools", json={"name": pool, "shards": 1})
    key = door.key(name, f"{pool}:receive")
    file = private(tmp_path / "token", key["token"])
    worker = start_worker(workers, door, "--deliver", "stdout:", "--token-file", file, pool=pool)
    door.send(pool, "g", "before")
    wait_until(lambda: len(worker.lines()) == 1, 30, "the first delivery")
    door.revoke(name)
    wait_until(lambda: "InvalidClientTokenId" in worker.text() or "HTTP 401" in worker.text(), 30, "the line in the log")
    assert worker.is_running
    door.send(pool, "h", "after")
    other = door.key(name + "-2", f"{pool}:receive")
    os.replace(private(tmp_path / "fresh", other["token"]), file)
    wait_until(lambda: len(worker.lines()) == 2, 60, "the second delivery")
    worker.stop()


def test_work_says_once_which_right_its_key_has_not_any_more_and_goes_on_when_it_has_it(door, workers, tmp_path, name):
    """Of leases and of receives; the key of its file becomes one that may only send, and then another."""
    pool = name + ".fifo"
    door.post("/v1/pools", json={"name": pool, "shards": 1})
    key, poor, other = (door.key(f"{name}-{number}", f"{pool}:{right}")
                        for number, right in enumerate(("receive", "send", "send")))
    started = []
    for number, flags in enumerate(((), ("--shards", "0"))):
        file = private(tmp_path / f"token{number}", key["token"])
        started.append((file, start_worker(
            workers, door, "--deliver", "stdout:", "--token-file", file, *flags, pool=pool)))
    for _, worker in started:
        wait_until(lambda: "Working" in worker.text(), 30, "a worker at work")
    door.send(pool, "g", "before")
    wait_until(lambda: any(worker.lines() for _, worker in started), 30, "the first delivery")

    def show(token, fresh):
        for file, _ in started:
            os.replace(private(tmp_path / fresh, token), file)

    def lines(worker, of):
        return [line for line in worker.text().splitlines()
                if re.search(f"The key {of['id']} has no right 'receive' on the pool of {name}(-0000)?.fifo", line)]

    show(poor["token"], "poor")
    door.revoke(f"{name}-0")
    for _, worker in started:
        wait_until(lambda: lines(worker, poor), 60, "the right that is missing")
    sharing = started[0][1]
    wait_until(lambda: any("Leases" in line for line in lines(sharing, poor)), 60, "the same of leases")
    show(other["token"], "other")
    door.revoke(f"{name}-1")
    for _, worker in started:
        wait_until(lambda: lines(worker, other), 60, "the right that the next key has not")
        assert worker.is_running and len(lines(worker, poor)) <= 2, worker.text()
    wait_until(lambda: any("Leases" in line for line in lines(sharing, other)), 60, "the next of leases")
    good = door.key(f"{name}-3", f"{pool}:receive")
    show(good["token"], "good")
    door.send(pool, "h", "after")
    wait_until(lambda: sum(len(worker.lines()) for _, worker in started) >= 2, 60, "the second delivery")
    for _, worker in started:
        worker.stop()
        for shown in (key, poor, other, good):
            assert shown["token"] not in worker.text()


BENCH = ("--mode", "both", "--messages", "200", "--connections", "4", "--groups", "20", "--warm-up-seconds", "0")


@pytest.mark.parametrize("api", ["rest", "ndjson", "sqs"])
def test_bench_measures_with_a_token(door, name, tmp_path, api):
    key = door.key(name, f"{name}.fifo:send,receive,admin")
    file = private(tmp_path / "token", json.dumps(key))
    done = run("bench", "--endpoint", door.url, "--pool", name + ".fifo", "--shards", "2", "--api", api, *BENCH, "--json", "-",
               "--token-file", file, timeout=120, check=0)
    assert json.loads(done.stdout) and key["token"] not in done.stdout + done.stderr


def test_bench_without_a_token_or_a_right_says_so(door, name):
    flags = ("bench", "--endpoint", door.url, "--pool", name + ".fifo", *BENCH)
    done = run(*flags)
    assert done.returncode == CONFIGURATION and "--token-file" in done.stderr, done.stderr
    done = run("bench", "scale", "--endpoint", door.url, "--pool", "emails.fifo")
    assert done.returncode == CONFIGURATION and "--token-file" in done.stderr, done.stderr
    key = door.key(name, "emails.fifo:send")
    done = run(*flags, env={"QUEUEPOOL_TOKEN": key["token"]})
    assert done.returncode == NO_PERMISSION and "'admin'" in done.stderr and key["token"] not in done.stderr, done.stderr
    done = run("bench", "--endpoint", "http://192.0.2.1:9324", env={"QUEUEPOOL_TOKEN": "qp_secret"})
    assert done.returncode == CONFIGURATION and "plain text" in done.stderr, done.stderr
