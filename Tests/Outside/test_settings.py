# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Settings: a typo stops the start, with the setting's name and what is allowed."""

import pytest
from conftest import run


def refused(*flags, env=None, code=None, says=()):
    done = run("serve", "--listen", "127.0.0.1:0", *flags, env=env, timeout=20)
    assert done.returncode in ([code] if code else [64, 78]), f"{done.returncode}: {done.stderr}"
    for word in says:
        assert word in done.stderr, done.stderr
    return done.stderr


@pytest.mark.parametrize("flag, value, setting, allowed", [
    ("--quota", "many", "shard.quota", "1...1000000"), ("--quota", "0", "shard.quota", "1...1000000"),
    ("--max-connections", "-5", "server.max-connections", "1...100000"),
    ("--log-format", "xml", "log.format", "json"), ("--log-level", "loud", "log.level", "warning"),
    ("--listen", "nowhere", "server.listen", "HOST:PORT"), ("--pool", "emails.fifo", "pools", "NAME=SHARDS"),
    ("--pool", "emails=8", "pools", ".fifo"), ("--pool", "emails.fifo=0", "pools", "1...256"),
    ("--inject-error-rate", "2", "inject.error-rate", "0"), ("--deliver", "ftp://x", "server.deliver", "smtp://"),
    ("--control", "mysql:x", "storage.control", "sqlite:FILE, dynamodb:TABLE"), ("--visibility-seconds", "1", "worker.visibility", "43200")])
def test_a_wrong_flag_is_named_with_what_is_allowed(flag, value, setting, allowed):
    refused(flag + "=" + value, code=64, says=[setting, flag, allowed])


def test_an_unknown_flag_stops_the_start():
    refused("--qouta", "300", code=64, says=["--qouta"])


def test_an_unknown_variable_stops_the_start_and_the_nearest_is_named():
    refused(env={"QUEUEPOOL_SHARD_QOUTA": "300"}, code=78, says=["QUEUEPOOL_SHARD_QOUTA", "QUEUEPOOL_SHARD_QUOTA"])


def test_a_wrong_variable_is_named():
    refused(env={"QUEUEPOOL_SHARD_QUOTA": "lots"}, code=78, says=["QUEUEPOOL_SHARD_QUOTA", "'lots'", "1...1000000"])


@pytest.mark.parametrize("yaml, words", [
    ("server:\n  listne: 127.0.0.1:1\n", ["server.listne", "server.listen"]),
    ("shard:\n  quota: lots\n", ["shard.quota", "1...1000000"]), ("shard: [1]\n", ["shard"]), ("a: [", ["config"]),
    ("pools:\n  emails.fifo: many\n", ["pools"])])
def test_a_wrong_file_is_refused(tmp_path, yaml, words):
    file = tmp_path / "queuepool.yaml"
    file.write_text(yaml)
    refused("--config", str(file), code=78, says=words)


def test_all_that_is_wrong_is_told_at_once():
    refused("--quota=x", "--log-level=y", says=["shard.quota", "log.level"])


def test_flags_win_over_variables_and_these_over_the_file(servers, tmp_path):
    file = tmp_path / "queuepool.yaml"
    file.write_text("pools:\n  file.fifo: 2\nshard:\n  quota: 100\n")
    server = servers("--config", str(file), pools=())
    assert [p["name"] for p in server.get("/v1/pools").json()["pools"] if "dlq" not in p["name"]] == ["file.fifo"]
    assert server.pool("file.fifo")["quota"] == 100
    server.stop()
    variables = {"QUEUEPOOL_SHARD_QUOTA": "200"}
    server = servers("--config", str(file), pools=("b.fifo=1",), env=variables, name="b")
    assert server.pool("b.fifo")["quota"] == 200
    server.stop()
    server = servers("--config", str(file), "--quota", "300", pools=("c.fifo=1",), env=variables, name="c")
    assert server.pool("c.fifo")["quota"] == 300
    server.stop()


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:1"])
def test_listening_off_loopback_is_refused_unless_asked_for_by_name(tmp_path, address):
    done = run("serve", "--listen", address, "--data-dir", tmp_path, timeout=20)
    assert done.returncode in (64, 78)
    assert "server.listen" in done.stderr and "allow-insecure-listen" in done.stderr


def test_listening_off_loopback_is_possible_by_name(servers):
    server = servers("--allow-insecure-listen", "--listen", "0.0.0.0:0", pools=(), ready=False)
    from conftest import wait_until
    wait_until(lambda: "Listening" in server.text(), what="the line that says where the server listens")
    server.stop()


def test_a_second_server_cannot_use_the_directory(servers):
    server = servers()
    done = run("serve", "--listen", "127.0.0.1:0", "--data-dir", server.data, timeout=20)
    assert done.returncode == 69
    assert "in use" in done.stderr


def test_a_taken_port_is_told(servers, tmp_path):
    server = servers()
    done = run("serve", "--listen", f"127.0.0.1:{server.port}", "--data-dir", tmp_path / "other", timeout=20)
    assert done.returncode == 69, done.stderr
    assert str(server.port) in done.stderr and "Fatal" not in done.stderr


def test_a_directory_that_cannot_be_made_is_told():
    done = run("serve", "--listen", "127.0.0.1:0", "--data-dir", "/proc/nowhere", timeout=20)
    assert done.returncode == 74
    assert "/proc/nowhere" in done.stderr


def test_a_worker_needs_a_pool_and_a_target():
    done = run("work", timeout=20)
    assert done.returncode in (64, 78)
    assert "worker.pool" in done.stderr and "worker.deliver" in done.stderr
    assert "shards" in run("work", "--pool", "a.fifo", "--deliver", "stdout:", "--shards", "3-1", timeout=20).stderr
