# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""`queuepool key`: keys are made, listed, rotated and revoked in the control store, beside a server and before one."""

import base64
import concurrent.futures
import hashlib
import json
import os
import re
import sqlite3
import stat

import pytest

from conftest import run

ID = re.compile(r"QP[A-Z2-7]{18}")
TOKEN = re.compile(r"qp_[A-Za-z0-9_-]{43}")


@pytest.fixture
def place(tmp_path):
    """Flags that name a data directory that does not exist yet."""
    return ["--data-dir", tmp_path / "data"]


def create(place, name="api", *more, allow=("emails.fifo:send,receive",)):
    rules = [word for rule in allow for word in ("--allow", rule)]
    return json.loads(run("key", "create", name, *rules, *more, *place, check=0).stdout)


def listed(place):
    return json.loads(run("key", "list", "--json", *place, check=0).stdout)["keys"]


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_new_key_is_shown_once_and_its_file_is_private(place, tmp_path):
    key = create(place, allow=("emails.fifo:send,receive", "*:metrics"))
    assert sorted(key) == ["id", "secret", "token"]
    assert ID.fullmatch(key["id"]) and TOKEN.fullmatch(key["token"])
    assert len(key["secret"]) == 40
    (shown,) = listed(place)
    assert shown["id"] == key["id"] and shown["name"] == "api" and shown["state"] == "live"
    assert shown["allow"] == ["emails.fifo:send,receive", "*:metrics"]
    for output in [run("key", "list", *place, check=0), run("key", "list", "--json", *place, check=0)]:
        assert key["id"] in output.stdout
        for secret in (key["secret"], key["token"], key["token"][3:]):
            assert secret not in output.stdout + output.stderr
    assert mode(tmp_path / "data") == 0o700
    for file in os.listdir(tmp_path / "data"):
        assert mode(tmp_path / "data" / file) == 0o600, file


def test_of_a_token_only_the_hash_is_stored(place, tmp_path):
    key = create(place)
    with sqlite3.connect(tmp_path / "data/control.sqlite") as database:
        ((stored,),) = database.execute("SELECT token_hash FROM access_secrets").fetchall()
    assert stored == hashlib.sha256(key["token"].encode()).digest()
    files = [(tmp_path / "data" / name).read_bytes() for name in os.listdir(tmp_path / "data")]
    assert not any(key["token"][3:].encode() in content for content in files)
    assert any(key["secret"].encode() in content for content in files), "what is looked for would be found"


def test_two_keys_share_nothing(place):
    one, other = create(place, "one"), create(place, "other")
    assert not set(one.values()) & set(other.values())
    assert len(base64.urlsafe_b64decode(one["token"][3:] + "=")) == 32


def test_a_name_is_given_once(place):
    create(place)
    again = run("key", "create", "api", "--allow", "*:admin", *place, check=1)
    assert "'api'" in again.stderr and again.stdout == ""
    assert [key["allow"] for key in listed(place)] == [["emails.fifo:send,receive"]]
    run("key", "revoke", "api", *place, check=0)
    run("key", "create", "api", "--allow", "*:admin", *place, check=1)


def test_of_many_at_one_time_one_gets_the_name(place):
    create(place, "first")
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: run("key", "create", "api", "--allow", "*:send", *place), range(6)))
    assert sorted(each.returncode for each in done) == [0, 1, 1, 1, 1, 1], [each.stderr for each in done]
    assert [key["name"] for key in listed(place)] == ["api", "first"]


def test_a_rotated_key_has_two_secrets_for_a_grace(place):
    key = create(place, "api", "--expires", "90d")
    new = json.loads(run("key", "rotate", "api", "--grace", "2h", *place, check=0).stdout)
    assert new["id"] == key["id"] and new["secret"] != key["secret"] and new["token"] != key["token"]
    (shown,) = listed(place)
    assert [secret["version"] for secret in shown["secrets"]] == [2, 1]
    assert all(secret["expiresAt"] for secret in shown["secrets"])
    assert shown["secrets"][1]["expiresAt"] < shown["secrets"][0]["expiresAt"]
    run("key", "rotate", key["id"], "--grace", "0s", *place, check=0)
    (shown,) = listed(place)
    assert [secret["version"] for secret in shown["secrets"]] == [3]


def test_a_revoked_key_stays_revoked(place, tmp_path):
    key = create(place)
    assert key["id"] in run("key", "revoke", "api", *place, check=0).stdout
    run("key", "revoke", key["id"], *place, check=0)
    (shown,) = listed(place)
    assert shown["state"] == "revoked" and shown["revokedAt"] and shown["secrets"] == []
    refused = run("key", "rotate", "api", *place, check=1)
    assert "'api'" in refused.stderr and "revoked" in refused.stderr and refused.stdout == ""
    with sqlite3.connect(tmp_path / "data/control.sqlite") as database:
        assert database.execute("SELECT count(*) FROM access_secrets").fetchall() == [(0,)]


@pytest.mark.parametrize("command", ["rotate", "revoke"])
def test_a_key_that_is_not_there_is_named(place, command):
    create(place)
    refused = run("key", command, "nobody", *place, check=1)
    assert "'nobody'" in refused.stderr and "key list" in refused.stderr


@pytest.mark.parametrize("command", [["list"], ["rotate", "api"], ["revoke", "api"]])
def test_only_create_makes_a_store(place, tmp_path, command):
    refused = run("key", *command, *place, check=66)
    assert "control.sqlite does not exist" in refused.stderr
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("arguments, said", [
    (["create", "api"], ["--allow", "POOL:ACTIONS"]),
    (["create", "api", "--allow", "emails.fifo:delete"], ["--allow", "'delete'", "send, receive, admin, metrics"]),
    (["create", "api", "--allow", "emails:send"], ["--allow", "'emails'", "emails.fifo or *"]),
    (["create", "a b", "--allow", "*:send"], ["'a b'", "1...128"]),
    (["create", "QPAAAAAAAAAAAAAAAAAA", "--allow", "*:send"], ["QPAAAAAAAAAAAAAAAAAA", "1...128"]),
    (["create", "api", "--allow", "*:send", "--expires", "0d"], ["expires", "'0d'", "1s...36500d"]),
    (["create", "api", "--allow", "*:send", "--expires", "90"], ["expires", "'90'", "90d"]),
    (["create", "api", "--allow", "*:send", "--expires", "99999999999999999999d"], ["expires", "1s...36500d"]),
    (["rotate", "api", "--grace=-1s"], ["grace", "'-1s'", "0s...36500d"]),
    (["create", "api", "--allow", "*:send", "--control", "sqlite:x"], ["--data-dir", "--control"]),
])
def test_what_is_wrong_is_named_with_what_is_allowed(place, tmp_path, arguments, said):
    refused = run("key", *arguments, *place, check=64)
    for part in said:
        assert part in refused.stderr, refused.stderr
    assert refused.stdout == "" and not (tmp_path / "data").exists()


def test_a_named_store_is_used(tmp_path):
    file = tmp_path / "own.sqlite"
    create(["--control", f"sqlite:{file}"])
    assert [key["name"] for key in listed(["--control", f"sqlite:{file}"])] == ["api"]
    assert mode(file) == 0o600
    refused = run("key", "list", "--control", "elsewhere:x", check=64)
    assert "elsewhere:x" in refused.stderr and "dynamodb:TABLE" in refused.stderr


def test_a_variable_names_the_place(tmp_path):
    env = {"QUEUEPOOL_STORAGE_DATA_DIR": str(tmp_path / "data")}
    run("key", "create", "api", "--allow", "*:send", env=env, check=0)
    assert [key["name"] for key in listed(["--data-dir", tmp_path / "data"])] == ["api"]


def test_keys_are_made_beside_a_server_and_before_its_start(servers, tmp_path):
    place = ["--data-dir", tmp_path / "server/data"]
    (tmp_path / "server").mkdir()
    before = create(place, "before")
    server = servers()
    assert str(server.data) == str(place[1])
    beside = create(place, "beside")
    run("key", "rotate", "before", *place, check=0)
    assert server.get("/readyz").status_code == 200
    assert [key["id"] for key in listed(place)] == [before["id"], beside["id"]]
    # A start finds what was made, and says nothing of files that others could read.
    assert "may read" not in server.text()


def test_keys_are_kept_in_a_table(moto, name):
    place = ["--control", f"dynamodb:{name}", "--endpoint-url", moto, "--region", "us-east-1"]
    refused = run("key", "list", *place, check=69)
    assert "table does not exist" in refused.stderr
    key = create(place)
    again = run("key", "create", "api", "--allow", "*:admin", *place, check=1)
    assert "'api'" in again.stderr
    run("key", "rotate", key["id"], *place, check=0)
    (shown,) = listed(place)
    assert [secret["version"] for secret in shown["secrets"]] == [2, 1]
    run("key", "revoke", "api", *place, check=0)
    assert [each["state"] for each in listed(place)] == ["revoked"]
