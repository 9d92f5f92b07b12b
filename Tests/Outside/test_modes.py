# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Who may read what is stored: the owner of the process and nobody else, whatever the umask is."""

import json
import os
import stat

import pytest
from conftest import run, wait_until

POOL = "emails.fifo"


@pytest.fixture(autouse=True)
def open_umask():
    """The widest umask there is, which a started process inherits."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(directory):
    """Permission bits of a directory and of all that is in it."""
    found = {".": stat.S_IMODE(directory.stat().st_mode)}
    for path in directory.rglob("*"):
        found[str(path.relative_to(directory))] = stat.S_IMODE(path.stat().st_mode)
    return found


def fill(server):
    for number in range(20):
        server.send(POOL, f"g{number}", "body", attributes={"name": "value"})
    answer = server.post(f"/v1/pools/{POOL}/messages", json={"group": "g", "body": "b"},
                         headers={"Idempotency-Key": "key"})
    assert answer.status_code == 202


def test_the_data_directory_and_its_files_are_the_owners_alone(servers):
    server = servers(pools=(POOL + "=4",))
    fill(server)
    found = modes(server.data)
    assert {"lock", "control.sqlite", "shards", "shards/store-0.sqlite", "shards/store-0.sqlite-wal"} <= set(found)
    assert "shards/reserve.bin" in found and "idempotency.sqlite" in found
    for path, mode in found.items():
        assert mode == (0o700 if path in (".", "shards") else 0o600), f"{path} has {mode:o}"
    assert "Others than the owner" not in server.text()
    server.stop()


def test_a_control_file_made_by_another_command_is_the_owners_alone(tmp_path, moto):
    env = {"AWS_ENDPOINT_URL": moto}
    file = tmp_path / "control.sqlite"
    run("pool", "create", "modes.fifo", "--backend", "sqs", "--shards", "1", "--control", f"sqlite:{file}", env=env,
        check=0)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_state_file_of_a_send_is_the_owners_alone(servers, tmp_path):
    server = servers(pools=(POOL + "=1",))
    file = tmp_path / "messages.ndjson"
    file.write_text(json.dumps({"group": "g", "body": "b"}) + "\n")
    run("send", "--endpoint", server.url, "--pool", POOL, file, check=0)
    assert stat.S_IMODE((tmp_path / "messages.ndjson.queuepool-sent").stat().st_mode) == 0o600
    server.stop()


def test_what_others_may_read_is_told_at_the_start_and_left_as_it_is(servers):
    server = servers(pools=(POOL + "=4",))
    fill(server)
    server.stop()
    server.data.chmod(0o750)
    store = server.data / "shards" / "store-0.sqlite"
    store.chmod(0o644)
    again = servers(pools=(POOL + "=4",))
    told = [line for line in again.text().splitlines() if "Others than the owner" in line]
    assert len(told) == 2, again.text()
    assert f"{again.data}" in told[0] and "0750" in told[0] and f"chmod 0700 {again.data}" in told[0]
    assert f"{store}" in told[1] and "0644" in told[1] and f"chmod 0600 {store}" in told[1]
    assert (stat.S_IMODE(again.data.stat().st_mode), stat.S_IMODE(store.stat().st_mode)) == (0o750, 0o644)
    again.stop()


def test_a_directory_that_is_the_owners_alone_is_not_warned_of(servers):
    server = servers(pools=(POOL + "=4",))
    server.stop()
    again = servers(pools=(POOL + "=4",))
    wait_until(lambda: "Listening" in again.text(), what="a start")
    assert "Others than the owner" not in again.text()
    again.stop()
