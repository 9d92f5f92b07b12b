# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Encryption at rest with a master key in AWS KMS: moto's, and before it a proxy that refuses what moto lets pass."""

import base64
import json
import shutil
import signal
from http.server import ThreadingHTTPServer
from threading import Thread

import boto3
import pytest
from conftest import free_port, wait_until
from proxy import PassingProxy
from test_sealing import POOL, bodies, fill, found, keyfile, refused, sent, snapshot  # noqa: F401

REGION = "us-east-1"


class KMSDoor(PassingProxy):
    """Refuses disabled keys, of which moto knows and makes nothing, and actions of which a test says so."""

    def do_POST(self):
        body = self.body()
        if self.server.is_down:
            # On a connection from before.
            self.close_connection = True
            return
        action = self.headers["X-Amz-Target"].removeprefix("TrentService.")
        said = json.loads(body)
        self.server.asked.append((action, said["KeyId"], said["EncryptionContext"]))
        code = self.server.refusals.get(action)
        if not code and any(word in said["KeyId"] for word in self.server.disabled):
            code = "DisabledException"
        if code:
            self.answer(400, json.dumps({"__type": code, "message": "no"}).encode(), {
                "Content-Type": "application/x-amz-json-1.1"})
        else:
            self.answer(*self.pass_on(body))


class KMS:
    """The service as a server reaches it, and as its owner does."""

    def __init__(self, moto):
        self.owner = boto3.client("kms", endpoint_url=moto, region_name=REGION)
        self.handler = type("Door", (KMSDoor,), {"target": moto})
        self.port = free_port()
        self.up()

    def up(self):
        self.door = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.door.asked, self.door.refusals, self.door.disabled, self.door.is_down = [], {}, [], False
        self.door.daemon_threads = True
        Thread(target=self.door.serve_forever, daemon=True).start()

    def down(self):
        self.door.is_down = True
        self.door.shutdown()
        self.door.server_close()

    def key(self):
        """The ARN of a new key."""
        return self.owner.create_key()["KeyMetadata"]["Arn"]

    def flags(self, key):
        return ["--master-key-kms", key, *self.access]

    @property
    def access(self):
        return ["--endpoint-url", f"http://127.0.0.1:{self.port}", "--region", REGION]


@pytest.fixture
def kms(moto):
    service = KMS(moto)
    yield service
    if not service.door.is_down:
        service.down()


def file_of(server):
    return json.loads((server.data / "keys.json").read_text())


def write(server, content):
    (server.data / "keys.json").write_text(json.dumps(content))


def data_keys(kms, server):
    """What is wrapped, opened by somebody else's client in the context that the documentation names."""
    file = file_of(server)
    return {name: kms.owner.decrypt(
        KeyId=file["masterKey"], CiphertextBlob=base64.b64decode(store["wrapped"]), EncryptionContext={
            "application": "queuepool", "purpose": "data key", "file": name,
            "rows": "older than its key" if store["mayHavePlainRows"] else "made sealed"})["Plaintext"]
        for name, store in file["stores"].items()}


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


def test_a_running_server_needs_the_service_no_more(servers, kms):
    arn = kms.key()
    server = servers(*kms.flags(arn))
    fill(server, count=10)
    kms.down()
    fill(server, first=10, count=10)
    before = (server.data / "keys.json").read_bytes()
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: "The data keys stay wrapped as before" in server.text(), what="the word of the refusal")
    assert (server.data / "keys.json").read_bytes() == before
    assert bodies(server) == sent(20)
    assert found(server.data) == []
    server.stop()
    kms.up()
    servers(*kms.flags(arn)).stop()


def test_file_kms_another_key_of_kms_and_file_again(servers, kms, keyfile):
    key, last = keyfile(), keyfile("last.key")
    one, two = kms.key(), kms.key()
    steps = [
        ["--master-key-file", key],
        [*kms.flags(one), "--old-master-key-file", key],
        [*kms.flags(two), "--old-master-key-kms", one],
        ["--master-key-file", last, "--old-master-key-kms", two, *kms.access],
    ]
    server = servers(*steps[0])
    keys = None
    for number, step in enumerate(steps):
        if number:
            server = servers(*step)
        fill(server, first=10 * number, count=10)
        server.stop()
        stored = file_of(server)
        if number in (1, 2):
            assert stored["masterKey"] == (one, two)[number - 1]
            opened = data_keys(kms, server)
            # Data keys stay: no row is written again.
            assert keys is None or keys == opened
            keys = opened
        # What was the key before is it no more.
        if number:
            refused(servers(*steps[number - 1][:2], *kms.access, ready=False))
    kms.down()
    assert bodies(servers("--master-key-file", last)) == sent(40)


def test_another_key_than_the_old_one_is_refused_as_a_wrong_one(servers, kms):
    one, two, three = (kms.key() for _ in range(3))
    server = servers(*kms.flags(one))
    server.stop()
    before = snapshot(server.data)
    said = refused(servers(*kms.flags(two), "--old-master-key-kms", three, ready=False))
    # That is what moto says; AWS has another word for it.
    assert "setting 'old-master-key-kms'" in said and three in said and "AccessDeniedException" in said
    kms.handler.pass_on = wrong_key_as_aws_says_it(kms.handler.pass_on)
    said = refused(servers(*kms.flags(two), "--old-master-key-kms", three, ready=False))
    assert f"it was {one} that sealed them" in said
    assert snapshot(server.data) == before


def wrong_key_as_aws_says_it(pass_on):
    def passed(self, body):
        status, answer, headers = pass_on(self, body)
        return status, answer.replace(b"AccessDeniedException", b"IncorrectKeyException"), headers

    return passed


def test_an_alias_that_names_another_key_takes_effect_at_sighup(servers, kms, name):
    one, two = kms.key(), kms.key()
    kms.owner.create_alias(AliasName=f"alias/{name}", TargetKeyId=one)
    server = servers(*kms.flags(f"alias/{name}"))
    fill(server, count=10)
    kms.owner.update_alias(AliasName=f"alias/{name}", TargetKeyId=two)
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: file_of(server)["masterKey"] == two, what="keys wrapped anew")
    fill(server, first=10, count=10)
    server.kill9()
    data_keys(kms, server)
    refused(servers(*kms.flags(one), ready=False))
    assert bodies(servers(*kms.flags(f"alias/{name}"))) == sent(20)


def test_a_copy_of_the_directory_is_nothing_without_the_key(servers, kms, tmp_path):
    arn = kms.key()
    server = servers(*kms.flags(arn))
    fill(server)
    server.stop()
    shutil.copytree(server.data, tmp_path / "thief" / "data")
    kms.door.refusals = {"Decrypt": "AccessDeniedException"}
    said = refused(servers(*kms.flags(arn), name="thief", ready=False))
    assert "AccessDeniedException" in said


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
