# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Encryption at rest: what is in messages is nowhere in the data directory, and comes back with the key only."""

import base64
import os
import re
import signal
import sqlite3
import stat

import pytest
from conftest import run, wait_until

POOL = "emails.fifo"
BODY, VALUE, GROUP, KEY = "canarybody", "canaryvalue", "canarygroup", "canarykey"
CANARIES = (BODY, VALUE, GROUP, KEY)
ENDED = 20


@pytest.fixture
def keyfile(tmp_path):
    """Makes files with a master key."""
    def make(name="master.key", mode=0o600, text=None):
        path = tmp_path / name
        path.write_text(text or base64.b64encode(os.urandom(32)).decode() + "\n")
        path.chmod(mode)
        return path

    return make


def fill(server, first=0, count=20):
    for number in range(first, first + count):
        server.send(POOL, f"{GROUP}{number % 5}", f"{BODY}{number}", deduplicationId=f"{KEY}{number}",
                    attributes={"name": f"{VALUE}{number}"})


def bodies(server):
    return sorted(message["Body"] for message in server.drain(POOL))


def sent(count):
    return sorted(f"{BODY}{number}" for number in range(count))


def found(directory):
    """Where in a data directory a canary is, as it is or in another writing."""
    hits = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        content = path.read_bytes().lower()
        for canary in CANARIES:
            forms = (canary.encode(), base64.b64encode(canary.encode())[:12].lower(), canary.encode().hex().encode(),
                     canary.encode("utf-16-le"))
            hits += [(path.name, canary) for form in forms if form in content]
    return hits


def snapshot(directory):
    return {path.relative_to(directory): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def refused(server, status=78):
    assert server.popen.wait(ENDED) == status, server.text()
    return server.text()


def test_the_search_finds_what_is_not_sealed(servers):
    server = servers()
    fill(server)
    hits = {canary for _, canary in found(server.data)}
    assert {BODY, VALUE, GROUP, KEY} == hits


def test_nothing_of_a_message_is_in_the_files_and_all_comes_back(servers, keyfile):
    key = keyfile()
    server = servers("--master-key-file", key)
    fill(server)
    assert found(server.data) == []
    server.kill9()
    assert found(server.data) == []
    server = servers("--master-key-file", key)
    fill(server, first=20)
    assert found(server.data) == []
    # The same deduplication ids again: the window is in the files too.
    answer = server.send(POOL, f"{GROUP}0", f"{BODY}0", deduplicationId=f"{KEY}0", attributes={"name": f"{VALUE}0"})
    assert answer["duplicate"]
    server.stop()
    assert found(server.data) == []
    server = servers("--master-key-file", key)
    assert bodies(server) == sent(40)
    server.stop()
    keys = server.data / "keys.json"
    assert stat.S_IMODE(keys.stat().st_mode) == 0o600
    assert key.read_text().strip() not in keys.read_text()


@pytest.mark.parametrize("form", ["base64", "hex"])
def test_the_key_may_be_a_variable(servers, form):
    key = os.urandom(32)
    text = base64.b64encode(key).decode() if form == "base64" else key.hex()
    server = servers(env={"QUEUEPOOL_MASTER_KEY": text})
    fill(server)
    assert found(server.data) == []
    server.stop()
    server = servers(env={"QUEUEPOOL_MASTER_KEY": text})
    assert bodies(server) == sent(20)
    assert text not in server.text()


def test_another_key_is_refused_by_name_and_nothing_is_changed(servers, keyfile):
    server = servers("--master-key-file", keyfile())
    fill(server)
    server.stop()
    before = snapshot(server.data)
    name = re.search(r'"masterKey" : "([0-9a-f]{16})"', (server.data / "keys.json").read_text()).group(1)
    other = keyfile("other.key")
    said = refused(servers("--master-key-file", other, ready=False))
    assert f"the master key {other} does not open the data keys of {server.data}: it was {name} that sealed them" in said
    said = refused(servers(ready=False))
    assert "--master-key-file must give the master key " + name in said
    assert snapshot(server.data) == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_read_or_change_is_refused(servers, keyfile, mode):
    said = refused(servers("--master-key-file", keyfile(mode=mode), ready=False))
    assert "master-key-file" in said and "chmod 600" in said


@pytest.mark.parametrize("text", ["nokey", "A" * 43 + "!", "zz" * 32, base64.b64encode(bytes(31)).decode()])
def test_what_is_no_key_is_refused_and_not_shown(servers, keyfile, text):
    said = refused(servers("--master-key-file", keyfile(text=text), ready=False))
    assert "has no key" in said and text not in said
    said = refused(servers(env={"QUEUEPOOL_MASTER_KEY": text}, name="variable", ready=False))
    assert "QUEUEPOOL_MASTER_KEY" in said and text not in said


def test_a_key_on_the_command_line_is_refused_and_not_shown():
    text = bytes(range(32)).hex()
    done = run("serve", "--master-key", text, check=64)
    assert "master-key" in done.stderr and text not in done.stderr


def test_messages_of_before_the_key_are_delivered_and_new_ones_are_sealed(servers, keyfile):
    server = servers()
    fill(server, count=10)
    server.stop()
    key = keyfile()
    server = servers("--master-key-file", key)
    server.send(POOL, "later", "canarylater")
    assert not any(b"canarylater" in content for content in snapshot(server.data).values())
    server.kill9()
    server = servers("--master-key-file", key)
    assert bodies(server) == sorted(sent(10) + ["canarylater"])


def test_another_master_key_takes_the_place_at_a_start_and_at_sighup(servers, keyfile):
    old, new = keyfile("old.key"), keyfile("new.key")
    server = servers("--master-key-file", old)
    fill(server)
    server.stop()
    rows = {path: content for path, content in snapshot(server.data).items() if "store-" in str(path)}
    server = servers("--master-key-file", new, "--old-master-key-file", old)
    server.stop()
    after = {path: content for path, content in snapshot(server.data).items() if "store-" in str(path)}
    assert rows.keys() == after.keys()
    refused(servers("--master-key-file", old, ready=False))
    server = servers("--master-key-file", new)
    before = (server.data / "keys.json").read_text()
    new.write_text(base64.b64encode(os.urandom(32)).decode())
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: (server.data / "keys.json").read_text() != before, what="keys wrapped anew")
    fill(server, first=20)
    server.kill9()
    server = servers("--master-key-file", new)
    assert bodies(server) == sent(40)


def flip(directory, column):
    """Flips a bit of the newest block of a store that has one, through SQLite, so that no page's structure breaks."""
    for path in sorted(directory.glob("shards/store-*.sqlite")):
        with sqlite3.connect(path) as database:
            row = database.execute(f"SELECT id, {column} FROM log WHERE kind IN (1, 17) ORDER BY id DESC").fetchone()
            if row is None:
                continue
            changed = bytearray(row[1])
            changed[len(changed) // 2] ^= 1
            database.execute(f"UPDATE log SET {column} = ? WHERE id = ?", (bytes(changed), row[0]))
        database.close()
        return
    raise AssertionError("no block in any store")


def test_a_flipped_bit_of_a_body_is_an_error_and_never_delivered(servers, keyfile):
    key = keyfile()
    server = servers("--master-key-file", key, pools=(f"{POOL}=1",))
    server.send(POOL, GROUP, BODY)
    server.stop()
    flip(server.data, "body")
    server = servers("--master-key-file", key, pools=(f"{POOL}=1",))
    answer = server.action("ReceiveMessage", {"QueueUrl": POOL})
    assert answer.status_code >= 500 and BODY not in answer.text
    assert server.pool(POOL)["shards"][0]["backlog"] + server.pool(POOL)["shards"][0]["inFlight"] == 1


def test_a_flipped_bit_of_a_head_is_told_at_the_start(servers, keyfile):
    key = keyfile()
    server = servers("--master-key-file", key, pools=(f"{POOL}=1",))
    server.send(POOL, GROUP, BODY)
    server.stop()
    flip(server.data, "head")
    server = servers("--master-key-file", key, pools=(f"{POOL}=1",), ready=False)
    wait_until(lambda: "is damaged" in server.text(), what="the word of the damage")
