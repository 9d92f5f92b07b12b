# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Another master key in the place of one in AWS KMS, at a start or while the server runs."""

import signal

from conftest import wait_until
from kms_door import data_keys, file_of, kms  # noqa: F401
from test_sealing import bodies, fill, found, keyfile, refused, sent, snapshot  # noqa: F401


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
