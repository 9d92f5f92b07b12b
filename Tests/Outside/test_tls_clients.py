# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The program's own clients towards a server with TLS: whom they trust, and what they say of one that they do not."""

import json
import signal

import pytest
from certificates import Authority
from conftest import run, wait_until
from cryptography import x509
from test_tls import authority, clients, tls  # noqa: F401 (fixtures)

CONFIGURATION = 78
UNAVAILABLE = 69
LINE = '{"group":"g","body":"canary"}\n'


@pytest.fixture(params=["unknown", "name", "expired"])
def untrusted(request, tls, authority, tmp_path):  # noqa: F811
    """A server with a certificate that does not hold, the client's flags, and what the message must say."""
    trusts = ("--tls-ca", authority.path)
    if request.param == "unknown":
        return tls(), (), "authority"
    if request.param == "name":
        return tls(files=authority.issue("other", names=[x509.DNSName("other.example")])), trusts, "name"
    return tls(files=authority.issue("old", days=-1)), trusts, "expired"


def send(server, *arguments, **options):
    return run("send", "--endpoint", server.url, "--pool", "emails.fifo", *arguments, timeout=60, **options)


def test_send_trusts_the_authority_of_a_flag(tls, authority):  # noqa: F811
    server = tls()
    done = send(server, "--tls-ca", authority.path, input=LINE, check=0)
    assert "sent 1 " in done.stdout
    assert server.pool("emails.fifo")["backlog"] == 1


def test_send_trusts_the_authority_of_the_environment(tls, authority):  # noqa: F811
    server = tls()
    send(server, input=LINE, env={"SSL_CERT_FILE": str(authority.path)}, check=0)
    send(server, input=LINE, env={"QUEUEPOOL_CLIENT_TLS_CA": str(authority.path)}, check=0)
    # The flag is the stronger one.
    stranger = Authority(authority.directory, "stranger")
    done = send(server, "--tls-ca", stranger.path, input=LINE, env={"SSL_CERT_FILE": str(authority.path)})
    assert done.returncode == CONFIGURATION, done.stderr


@pytest.mark.parametrize("from_file", [False, True])
def test_send_ends_at_a_certificate_that_does_not_hold(untrusted, tmp_path, from_file):
    server, flags, word = untrusted
    file = tmp_path / "lines.ndjson"
    file.write_text(LINE)
    done = send(server, *flags, file) if from_file else send(server, *flags, input=LINE)
    assert done.returncode == CONFIGURATION, done.stderr
    assert "certificate" in done.stderr and word in done.stderr and "canary" not in done.stderr
    assert "connecting again" not in done.stderr
    # Nothing is remembered of a send that never reached its server.
    assert not (tmp_path / "lines.ndjson.queuepool-sent").exists()


@pytest.mark.parametrize("command", [
    ("pool", "list"), ("pool", "show", "emails.fifo"), ("dead-letters", "list", "emails.fifo")])
def test_commands_that_ask_a_server_say_why_they_do_not_trust_it(untrusted, command):
    server, flags, word = untrusted
    done = run(*command, "--endpoint", server.url, *flags)
    assert done.returncode == CONFIGURATION, done.stderr
    assert "certificate" in done.stderr and word in done.stderr


def test_commands_that_ask_a_server_trust_the_authority_of_a_flag(tls, authority):  # noqa: F811
    server = tls()
    done = run("pool", "list", "--json", "--endpoint", server.url, "--tls-ca", authority.path, check=0)
    assert "emails.fifo" in json.dumps(json.loads(done.stdout))
    run("dead-letters", "list", "emails.fifo", "--endpoint", server.url, "--tls-ca", authority.path, check=0)


def test_a_file_of_authorities_that_cannot_be_read_is_named(tls, authority, tmp_path):  # noqa: F811
    server = tls()
    for wrong in (tmp_path / "nowhere.pem", tmp_path):
        done = send(server, "--tls-ca", wrong, input=LINE)
        assert done.returncode == CONFIGURATION, done.stderr
        assert "client.tls-ca" in done.stderr and str(wrong) in done.stderr


def test_a_client_certificate_is_shown(tls, clients, authority):  # noqa: F811
    server = tls("--tls-client-ca", clients.path, "--tls-client", "required", pools=())
    certificate, key, _ = clients.issue("client", "sender")
    flags = ("--endpoint", server.url, "--tls-ca", authority.path)
    run("pool", "list", *flags, "--tls-certificate", certificate, "--tls-key", key, check=0)
    # Without one the server ends the connection, in words that only its side of TLS knows.
    assert run("pool", "list", *flags).returncode == UNAVAILABLE
    done = run("pool", "list", *flags, "--tls-certificate", certificate)
    assert done.returncode in (64, CONFIGURATION) and "'client.tls-certificate' needs 'client.tls-key'" in done.stderr


def test_work_receives_and_deletes_over_tls(tls, authority, workers):  # noqa: F811
    server = tls()
    send(server, "--tls-ca", authority.path, input=LINE, check=0)
    worker = workers("--tls-ca", authority.path, "--deliver", "stdout:", endpoint=server.url)
    wait_until(lambda: worker.lines(), 30, "the delivery")
    wait_until(lambda: server.pool("emails.fifo")["backlog"] == 0, 30, "the delete")
    worker.stop()


def test_work_says_once_that_it_does_not_trust_its_server_and_goes_on_when_it_can(
        tls, authority, workers, tmp_path):  # noqa: F811
    files = authority.issue("changing", days=-1)
    server = tls(files=files)
    worker = workers("--tls-ca", authority.path, "--deliver", "stdout:", "--log-format", "json", endpoint=server.url)
    wait_until(lambda: "expired" in worker.text(), 30, "the error")
    [line] = [json.loads(line) for line in worker.text().splitlines() if "expired" in line]
    assert line["level"] == "error" and worker.is_running
    good = authority.issue("good")
    for old, new in zip(files[:2], good[:2]):
        old.write_bytes(new.read_bytes())
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: "New connections get the TLS files" in server.text(), what="the new certificate")
    send(server, "--tls-ca", authority.path, input=LINE, check=0)
    wait_until(lambda: worker.lines(), 30, "the delivery")
    worker.stop()


def test_bench_says_that_it_speaks_plain_http_only():
    done = run("bench", "--endpoint", "https://127.0.0.1:9324", "--seconds", "1")
    assert done.returncode == 64, done.stderr
    assert "plain HTTP only" in done.stderr
