# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A master key in AWS KMS that cannot be had: each refusal names the setting, and changes nothing."""

import json

import pytest
from kms_door import REGION, file_of, kms, write  # noqa: F401
from test_sealing import bodies, fill, keyfile, refused, sent, snapshot  # noqa: F401


def test_another_key_or_none_is_refused_by_name_and_nothing_is_changed(servers, kms, keyfile):
    arn, other = kms.key(), kms.key()
    server = servers(*kms.flags(arn))
    fill(server)
    server.stop()
    before = snapshot(server.data)
    said = refused(servers(*kms.flags(other), ready=False))
    assert f"the master key {other} does not open the data keys of {server.data}: it was {arn} that sealed them" in said
    said = refused(servers("--master-key-file", keyfile(), ready=False))
    assert f"it was {arn} that sealed them" in said
    said = refused(servers(ready=False))
    assert f"--master-key-kms must give the master key {arn}" in said
    missing = arn[:-4] + "0000"
    said = refused(servers(*kms.flags(missing), ready=False))
    assert "setting 'master-key-kms'" in said and missing in said and "NotFoundException" in said
    assert snapshot(server.data) == before


def test_a_directory_without_keys_asks_whether_it_can_open_what_it_will_make(servers, kms):
    arn = kms.key()
    for action in ("Encrypt", "Decrypt"):
        kms.door.refusals = {action: "AccessDeniedException"}
        server = servers(*kms.flags(arn), ready=False)
        said = refused(server)
        assert "setting 'master-key-kms'" in said and "AccessDeniedException" in said
        assert not (server.data / "keys.json").exists() and not list(server.data.glob("shards/store-*"))


def test_a_disabled_key_is_refused_and_opens_all_when_it_is_enabled(servers, kms):
    arn = kms.key()
    server = servers(*kms.flags(arn))
    fill(server)
    server.stop()
    before = snapshot(server.data)
    kms.door.disabled = [arn]
    said = refused(servers(*kms.flags(arn), ready=False))
    assert "setting 'master-key-kms'" in said and "DisabledException" in said and arn in said
    assert snapshot(server.data) == before
    kms.door.disabled = []
    assert bodies(servers(*kms.flags(arn))) == sent(20)


def test_a_data_key_of_another_file_or_directory_is_refused(servers, kms):
    arn = kms.key()
    server = servers(*kms.flags(arn))
    fill(server)
    server.stop()
    good = file_of(server)
    names = sorted(good["stores"])
    shard = next(name for name in names if name.startswith("store-"))
    other = next(name for name in names if not name.startswith("store-"))
    bad = json.loads(json.dumps(good))
    bad["stores"][shard]["wrapped"] = good["stores"][other]["wrapped"]
    write(server, bad)
    assert "keys.json are damaged" in refused(servers(*kms.flags(arn), ready=False))
    # Nobody but the service may say that rows may be there that are not sealed.
    bad = json.loads(json.dumps(good))
    bad["stores"][shard]["mayHavePlainRows"] = True
    write(server, bad)
    assert "keys.json are damaged" in refused(servers(*kms.flags(arn), ready=False))
    # The same file's of a directory that another key of the service seals.
    stranger = servers(*kms.flags(kms.key()), name="stranger")
    stranger.stop()
    bad = json.loads(json.dumps(good))
    bad["stores"][shard] = file_of(stranger)["stores"][shard]
    write(server, bad)
    refused(servers(*kms.flags(arn), ready=False))
    write(server, good)
    assert bodies(servers(*kms.flags(arn))) == sent(20)


def test_a_service_that_does_not_answer_is_told_from_a_key_that_is_refused(servers, kms):
    arn = kms.key()
    server = servers(*kms.flags(arn))
    fill(server)
    server.stop()
    before = snapshot(server.data)
    kms.down()
    said = refused(servers(*kms.flags(arn), ready=False), status=69)
    assert "setting 'master-key-kms'" in said and arn in said and "cannot be reached" in said
    assert snapshot(server.data) == before
    kms.up()
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_EC2_METADATA_DISABLED": "true",
              "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent", "AWS_CONFIG_FILE": "/nonexistent"}
    said = refused(servers(*kms.flags(arn), env=nobody, ready=False), status=69)
    assert "setting 'master-key-kms'" in said and "no credentials" in said
    assert bodies(servers(*kms.flags(arn))) == sent(20)


@pytest.mark.parametrize("endpoint", ["http://192.0.2.1", "http://127.0.0.1.example"])
def test_data_keys_go_over_no_plain_connection_off_loopback(servers, endpoint):
    said = refused(servers("--master-key-kms", "alias/a", "--endpoint-url", endpoint, "--region", REGION, ready=False))
    assert "setting 'master-key-kms'" in said and "https" in said and endpoint not in said


@pytest.mark.parametrize("flags, env, words", [
    (["--master-key-kms", "no key"], {}, ["master-key-kms", "alias/NAME"]),
    (["--master-key-kms", "alias/a", "--master-key-file", "f"], {}, ["master-key-kms", "'master-key-file'"]),
    (["--master-key-kms", "alias/a"], {"QUEUEPOOL_MASTER_KEY": "secretword"}, ["master-key-kms", "'master-key'"]),
    (["--old-master-key-kms", "alias/a"], {}, ["old-master-key-kms", "without a new key"]),
])
def test_what_is_no_key_and_two_sources_are_refused(servers, flags, env, words):
    server = servers(*flags, env=env, ready=False)
    assert server.popen.wait(20) in (64, 78)
    assert all(word in server.text() for word in words) and "secretword" not in server.text(), server.text()
