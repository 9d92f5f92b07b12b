# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A client's certificate as a key: whose it is, what it may, and when it is refused."""

import boto3
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography import x509

from access_server import key
from certificates import Authority
from conftest import run, wait_until
from tls_server import TLSServer

POOL = "/v1/pools/emails.fifo/messages"
MESSAGE = {"group": "g", "body": "b"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A server that takes certificates, its clients' authority, and the place of its keys."""
    directory = tmp_path_factory.mktemp("callers")
    authority, clients = Authority(directory, "authority"), Authority(directory, "clients")
    (directory / "server").mkdir()
    place = ("--data-dir", directory / "server" / "data")
    keys = {name: key(place, name, "emails.fifo:send") for name in (
        "sender", "mail@example.com", "worker.example", "spiffe://example/worker", "leaving")}
    server = TLSServer(
        directory / "server", authority, *authority.issue("server")[:2], "--require-keys", "--tls-client-ca",
        clients.path, "--tls-client-names")
    yield server, clients, place, keys
    server.stop()


def post(world, files=None, path=POOL, json=MESSAGE, **headers):
    server = world[0]
    return requests.post(server.url + path, json=json, headers=headers, timeout=30, verify=str(server.authority.path),
                         cert=tuple(map(str, files[:2])) if files else None)


def boto(world, files, **config):
    server = world[0]
    return boto3.client("sqs", endpoint_url=server.url, region_name="us-east-1", verify=str(server.authority.path),
                        config=Config(retries={"total_max_attempts": 1}, client_cert=tuple(map(str, files[:2])),
                                      **config))


@pytest.mark.parametrize("common, names", [
    ("sender", []), ("nobody", [x509.RFC822Name("mail@example.com")]), ("nobody", [x509.DNSName("worker.example")]),
    ("nobody", [x509.UniformResourceIdentifier("spiffe://example/worker")])],
    ids=["common name", "mail address", "DNS name", "URI"])
def test_a_certificate_with_a_keys_name_has_its_rights_and_no_others(world, common, names):
    files = world[1].issue("named", common, names)
    assert post(world, files).status_code == 202
    assert post(world, files, "/v1/pools/emails.fifo/purge", None).status_code == 403
    sqs = boto(world, files, signature_version=UNSIGNED)
    url = sqs.get_queue_url(QueueName="emails.fifo")["QueueUrl"]
    assert sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId="g", MessageDeduplicationId=common + str(
        names))["MessageId"]
    with pytest.raises(ClientError) as refused:
        sqs.receive_message(QueueUrl=url)
    assert "AccessDenied" in str(refused.value)


@pytest.mark.parametrize("common, names", [
    ("stranger", []), ("sender", [x509.DNSName("stranger.example")]), ("SENDER", [])])
def test_a_certificate_with_another_name_is_nobodys(world, common, names):
    files = world[1].issue("stranger", common, names)
    answer = post(world, files)
    assert answer.status_code == 403 and answer.json()["type"].endswith("unknown-certificate")
    assert common not in answer.text
    assert post(world, files, "/v1/pools", {}).status_code == 403


def test_without_a_certificate_there_is_no_caller(world):
    assert post(world).status_code == 401


def test_what_is_shown_besides_wins(world):
    files = world[1].issue("besides", "sender", [])
    place, token = world[2], world[3]["mail@example.com"]["token"]
    assert post(world, files, Authorization=f"Bearer {token}").status_code == 202
    assert post(world, files, Authorization="Bearer nonsense").status_code == 401
    run("key", "list", *place, check=0)
    # A signature of nobody is not made good by a certificate.
    with pytest.raises(ClientError) as refused:
        boto(world, files).get_queue_url(QueueName="emails.fifo")
    assert "InvalidClientTokenId" in str(refused.value)


def test_a_revoked_key_is_refused_on_a_connection_that_is_open(world):
    server, clients, place, _ = world
    files = clients.issue("leaving", "leaving", [])
    with requests.Session() as session:
        session.verify, session.cert = str(server.authority.path), tuple(map(str, files[:2]))
        session.trust_env = False
        assert session.post(server.url + POOL, json=MESSAGE, timeout=30).status_code == 202
        run("key", "revoke", "leaving", *place, check=0)
        wait_until(lambda: session.post(server.url + POOL, json=MESSAGE, timeout=30).status_code == 403,
                   what="the refusal")


def test_a_page_of_another_origin_cannot_use_a_browsers_certificate(world):
    files = world[1].issue("browser", "sender", [])
    assert post(world, files, Origin="https://evil.example").status_code == 403


def test_nobody_comes_in_by_a_certificate_unless_it_is_said(tmp_path):
    authority = Authority(tmp_path)
    (tmp_path / "server").mkdir()
    key(("--data-dir", tmp_path / "server" / "data"), "sender", "emails.fifo:send")
    server = TLSServer(tmp_path / "server", authority, *authority.issue("server")[:2], "--require-keys",
                       "--tls-client-ca", authority.path)
    assert post((server,), authority.issue("client", "sender", [])).status_code == 401
    server.stop()


@pytest.mark.parametrize("flags, needs", [
    ([], "tls.certificate"), (["--tls-certificate", "a", "--tls-key", "b"], "tls.client-ca"),
    (["--tls-certificate", "a", "--tls-key", "b", "--tls-client-ca", "c"], "access.require-keys")])
def test_names_that_nobody_would_look_at_are_refused(tmp_path, flags, needs):
    done = run("serve", "--listen", "127.0.0.1:0", "--data-dir", tmp_path, "--tls-client-names", *flags)
    assert done.returncode in (64, 78) and f"'tls.client-names' needs '{needs}'" in done.stderr, done.stderr
