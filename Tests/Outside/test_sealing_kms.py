# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Encryption at rest with a master key in AWS KMS: what the key opens, and what is nothing without it."""

import base64
import shutil

from kms_door import data_keys, file_of, kms  # noqa: F401
from test_sealing import bodies, fill, found, refused, sent, snapshot


def test_data_keys_are_wrapped_by_kms_and_are_nowhere_else(servers, kms):
    arn = kms.key()
    server = servers(*kms.flags(arn))
    fill(server)
    assert found(server.data) == [] and file_of(server)["masterKey"] == arn
    server.kill9()
    keys = data_keys(kms, server)
    assert len(keys) >= 3 and len(set(keys.values())) == len(keys) and {len(key) for key in keys.values()} == {32}
    forms = [form for key in keys.values() for form in (
        key, base64.b64encode(key).rstrip(b"="), key.hex().encode(), key.hex().upper().encode())]
    for path, content in {**snapshot(server.data), "log": server.output.read_bytes()}.items():
        assert not any(form in content for form in forms), path
    asked = kms.door.asked
    assert {action for action, _, _ in asked} == {"Encrypt", "Decrypt"}
    # One question for each new file, and the trial of the start.
    assert len(asked) == len(keys) + 2
    asked.clear()
    server = servers(*kms.flags(arn))
    assert [action for action, _, _ in asked] == ["Encrypt", "Decrypt"] + ["Decrypt"] * len(keys)
    assert bodies(server) == sent(20)
    assert found(server.data) == []
    server.stop()


def test_id_and_alias_name_the_same_key(servers, kms, name):
    arn = kms.key()
    kms.owner.create_alias(AliasName=f"alias/{name}", TargetKeyId=arn)
    server = servers(*kms.flags(f"alias/{name}"))
    fill(server)
    server.stop()
    # In a variable, and without a region: the ARN says it.
    for key in (arn.rsplit("/", 1)[1], arn):
        server = servers(*kms.access, env={"QUEUEPOOL_MASTER_KEY_KMS": key})
        server.stop()
    assert file_of(server)["masterKey"] == arn
    server = servers(*kms.access[:2], env={"QUEUEPOOL_MASTER_KEY_KMS": arn, "AWS_DEFAULT_REGION": ""})
    assert bodies(server) == sent(20)


def test_a_copy_of_the_directory_is_nothing_without_the_key(servers, kms, tmp_path):
    arn = kms.key()
    server = servers(*kms.flags(arn))
    fill(server)
    server.stop()
    shutil.copytree(server.data, tmp_path / "thief" / "data")
    kms.door.refusals = {"Decrypt": "AccessDeniedException"}
    said = refused(servers(*kms.flags(arn), name="thief", ready=False))
    assert "AccessDeniedException" in said
