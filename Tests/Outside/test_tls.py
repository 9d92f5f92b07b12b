# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The door with TLS: what is spoken, what is refused, and what a new certificate does to those who are connected."""

import itertools
import signal
import socket
import ssl
import subprocess
import threading
import time

import boto3
import pytest
import requests
from botocore.config import Config
from botocore.exceptions import ClientError

from access_server import key
from certificates import Authority
from conftest import free_port, run, wait_until
from tls_server import TLSServer


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def tls(servers, authority):
    """Starts servers of a test's own with the authority's certificate, or the files that are named."""
    numbers = itertools.count()

    def start(*arguments, files=None, **options):
        files = files or authority.issue("server")
        return servers(
            authority, *files[:2], *arguments, name=f"server{next(numbers)}", kind=TLSServer, **options)

    return start


@pytest.fixture(scope="module")
def door(tmp_path_factory, authority):
    """A server that the tests share."""
    server = TLSServer(tmp_path_factory.mktemp("tls"), authority, *authority.issue("shared")[:2])
    yield server
    server.stop()


def s_client(port, *arguments):
    return subprocess.run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *arguments], input=b"", capture_output=True,
        timeout=30)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_the_versions_of_today_are_spoken(door, version):
    flag = "-" + version.lower().replace("v", "").replace(".", "_")
    done = s_client(door.port, flag, "-CAfile", str(door.authority.path), "-alpn", "h2,http/1.1")
    text = done.stdout.decode()
    assert done.returncode == 0 and "Verify return code: 0 (ok)" in text
    assert f"New, {version}" in text and "ALPN protocol: http/1.1" in text


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(door, version):
    # At this level the client offers them at all.
    done = s_client(door.port, version, "-cipher", "ALL:@SECLEVEL=0")
    assert done.returncode != 0
    assert b"alert protocol version" in done.stderr


def test_plain_http_gets_no_answer(door):
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{door.port}/healthz", timeout=20)
    assert door.get("/healthz").status_code == 200


def test_a_client_that_does_not_know_the_authority_is_told_by_its_own_check(door):
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(door.url + "/healthz", timeout=20)


def test_boto3_sends_receives_and_deletes(door, name):
    sqs = door.boto()
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    assert url.startswith(f"https://127.0.0.1:{door.port}/")
    sqs.send_message(QueueUrl=url, MessageBody="hello", MessageGroupId="g", MessageDeduplicationId="1")
    [message] = sqs.receive_message(QueueUrl=url, WaitTimeSeconds=5)["Messages"]
    assert message["Body"] == "hello"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sqs.receive_message(QueueUrl=url).get("Messages", []) == []


def test_curl_is_answered(door):
    done = subprocess.run(["curl", "-sS", "--cacert", door.authority.path, door.url + "/readyz"], capture_output=True,
                          text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_large_message_comes_back_whole(door, name):
    sqs = door.boto()
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    bodies = [str(i) * (200 << 10) for i in range(5)]
    for i, body in enumerate(bodies):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=str(i))
    got = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    assert [message["Body"] for message in got] == bodies[:len(got)] and got


def request_bytes(path, *headers, body=b"", method="GET"):
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def everything(connection):
    """What a connection says until its end."""
    said = b""
    while piece := connection.recv(65_536):
        said += piece
    return said


def is_answered(connection):
    """Whether a connection takes one more request."""
    connection.sendall(request_bytes("/healthz"))
    said = b""
    while not said.endswith(b"ok\n"):
        piece = connection.recv(65_536)
        if not piece:
            return False
        said += piece
    return said.startswith(b"HTTP/1.1 200 ")


def test_a_client_that_ends_without_a_goodbye_is_answered(door):
    with door.connect() as connection:
        connection.sendall(request_bytes("/healthz", "Connection: close"))
        # The end of the socket below TLS, which says nothing in TLS.
        socket.socket.shutdown(connection, socket.SHUT_WR)
        assert everything(connection).startswith(b"HTTP/1.1 200 ")


def test_an_early_answer_reaches_a_client_that_still_writes(tls):
    server = tls("--request-bytes-max", "1024")
    head = request_bytes("/", "Content-Type: application/x-amz-json-1.0", "X-Amz-Target: AmazonSQS.SendMessage",
                         f"Content-Length: {4 << 20}", "Connection: close", method="POST")
    with server.connect() as connection:
        connection.sendall(head)
        for _ in range(64):
            connection.sendall(bytes(64 << 10))
        assert everything(connection).split(b" ")[1] in (b"400", b"413")


def test_a_handshake_that_never_ends_is_cut_and_counts_as_a_connection(tls):
    server = tls("--header-timeout-seconds", "1")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as silent:
        assert "queuepool_connections 2" in server.get("/metrics").text.replace(".0", "")
        # Ended by the server: nobody says anything here.
        assert silent.recv(1) == b""
    wait_until(lambda: 'reason="slow-request"} 1' in server.get("/metrics").text.replace(".0", ""), what="the count")


def test_one_connection_too_many_is_ended_without_a_handshake(tls):
    server = tls("--max-connections", "1")
    with server.connect():
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as second:
            assert second.recv(1) == b""


def test_a_stop_does_not_wait_for_the_goodbyes_of_idle_clients(tls):
    server = tls("--drain-seconds", "30")
    idle = [server.connect() for _ in range(20)]
    for connection in idle:
        assert is_answered(connection)
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 15
    for connection in idle:
        connection.close()


# MARK: - Another certificate


def replace(files, by):
    """Puts the contents of a certificate's files in the place of another's."""
    for old, new in zip(files[:2], by[:2]):
        old.write_bytes(new.read_bytes())


def test_a_new_certificate_is_shown_after_sighup_and_drops_nobody(tls, authority, name):
    files, others = authority.issue("a"), authority.issue("b")
    server = tls(files=files)
    assert server.serial() == files[2]
    sqs = server.boto()
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    got = []
    poll = threading.Thread(
        target=lambda: got.append(server.boto().receive_message(QueueUrl=url, WaitTimeSeconds=20)))
    poll.start()
    kept = server.connect()
    assert is_answered(kept)

    replace(files, others)
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: server.serial() == others[2], what="the new certificate")

    assert is_answered(kept)
    assert poll.is_alive() and not got
    sqs.send_message(QueueUrl=url, MessageBody="late", MessageGroupId="g", MessageDeduplicationId="1")
    poll.join(30)
    assert [message["Body"] for message in got[0]["Messages"]] == ["late"]
    kept.close()
    server.stop()


@pytest.mark.parametrize("spoilt", ["certificate", "key", "missing"])
def test_a_bad_file_is_named_and_the_old_certificate_stays(tls, authority, spoilt):
    files, others = authority.issue("a"), authority.issue("b")
    server = tls(files=files)
    if spoilt == "certificate":
        files[0].write_text("canary")
        bad = files[0]
    elif spoilt == "key":
        files[1].write_bytes(others[1].read_bytes())
        bad = files[1]
    else:
        files[1].unlink()
        bad = files[1]
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: "The TLS files of before stay in use" in server.text(), what="the refusal")
    assert str(bad) in server.text() and "canary" not in server.text()
    assert server.serial() == files[2]
    replace(files, others)
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: server.serial() == others[2], what="the new certificate")


def test_no_request_fails_while_certificates_change_under_load(tls, authority):
    files = authority.issue("a")
    server = tls(files=files)
    spare = [authority.issue("b"), authority.issue("c")]
    over, failures, counts = threading.Event(), [], []

    def load(keeps):
        count, session = 0, requests.Session()
        while not over.is_set():
            try:
                client = session if keeps else requests
                assert client.get(server.url + "/readyz", timeout=30,
                                  verify=str(authority.path)).status_code == 200
                count += 1
            except Exception as error:
                failures.append(repr(error))
                break
        counts.append(count)

    threads = [threading.Thread(target=load, args=(i % 2 == 0,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(6):
        replace(files, spare[turn % 2])
        server.popen.send_signal(signal.SIGHUP)
        wait_until(lambda: server.serial() == spare[turn % 2][2], what="the new certificate")
    over.set()
    for thread in threads:
        thread.join(60)
    assert failures == [] and len(counts) == 4 and min(counts) > 0


ENDED, ENDS = "The TLS certificate has ended", "The TLS certificate ends within 14 days"


@pytest.mark.parametrize("days, warning", [(-1, ENDED), (13, ENDS), (15, None)])
def test_a_certificate_that_ends_soon_is_told_of_at_the_start(tls, authority, days, warning):
    server = tls(files=authority.issue("server", days=days))
    said = [text for text in (ENDED, ENDS) if text in server.text()]
    assert said == ([warning] if warning else [])


def test_a_certificate_that_ends_soon_is_told_of_at_sighup(tls, authority):
    files, others = authority.issue("a", days=20), authority.issue("b", days=13)
    server = tls(files=files)
    assert ENDS not in server.text()
    replace(files, others)
    server.popen.send_signal(signal.SIGHUP)
    wait_until(lambda: ENDS in server.text(), what="the warning")


# MARK: - Wrong files at the start


def refused(tmp_path, *arguments):
    done = run("serve", "--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data", *arguments, timeout=20)
    assert done.returncode in (64, 78), done.stderr
    return done.stderr


def test_a_certificate_without_a_key_and_a_key_without_a_certificate_are_refused(tmp_path):
    assert "'tls.certificate' needs 'tls.key'" in refused(tmp_path, "--tls-certificate", "a.pem")
    assert "'tls.key' needs 'tls.certificate'" in refused(tmp_path, "--tls-key", "a.key")


def test_files_that_are_not_there_or_no_pem_are_named(tmp_path, authority):
    certificate, key, _ = authority.issue("server")
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    text = tmp_path / "text.pem"
    text.write_text("canary")
    for wrong in (tmp_path / "nowhere.pem", empty, text, tmp_path):
        for files in ((wrong, key), (certificate, wrong)):
            said = refused(tmp_path, "--tls-certificate", files[0], "--tls-key", files[1])
            assert str(wrong) in said and "canary" not in said
    assert not (tmp_path / "data").exists()


def test_a_key_of_another_certificate_is_refused(tmp_path, authority):
    certificate, other = authority.issue("a")[0], authority.issue("b")[1]
    said = refused(tmp_path, "--tls-certificate", certificate, "--tls-key", other)
    assert str(other) in said and str(certificate) in said and "does not fit" in said


@pytest.mark.parametrize("kind", ["pkcs8", "traditional"])
def test_a_key_with_a_passphrase_is_refused_and_nobody_is_asked(tmp_path, authority, kind):
    certificate, key, _ = authority.issue("server", password=b"secret")
    if kind == "traditional":
        plain = authority.issue("server")
        certificate, key = plain[0], tmp_path / "old.key"
        subprocess.run(["openssl", "ec", "-in", plain[1], "-out", key, "-aes128", "-passout", "pass:secret"],
                       check=True, capture_output=True)
        assert "ENCRYPTED" in key.read_text()
    said = refused(tmp_path, "--tls-certificate", certificate, "--tls-key", key)
    assert str(key) in said and "passphrase" in said and "Enter" not in said


def test_listening_off_loopback_needs_tls_and_whoever_comes_needs_a_key(tls, tmp_path):
    port = free_port()
    (tmp_path / "server0").mkdir()
    mine = key(("--data-dir", tmp_path / "server0" / "data"), "mine", "emails.fifo:send")
    server = tls("--listen", f"0.0.0.0:{port}", pools=("emails.fifo=1",))
    address = f"https://127.0.0.1:{port}"
    ask = {"verify": str(server.authority.path), "timeout": 20}
    assert requests.get(f"{address}/healthz", **ask).status_code == 200
    assert requests.get(f"{address}/v1/pools/emails.fifo", **ask).status_code == 401
    message = {"group": "g", "body": "b"}
    messages = f"{address}/v1/pools/emails.fifo/messages"
    assert requests.post(messages, json=message, **ask).status_code == 401
    bearer = {"Authorization": f"Bearer {mine['token']}"}
    assert requests.post(messages, json=message, headers=bearer, **ask).status_code == 202
    assert requests.post(f"{address}/v1/pools/emails.fifo/purge", headers=bearer, **ask).status_code == 403
    server.stop()


def test_a_signature_of_a_key_is_asked_for_over_tls_as_well(tls, tmp_path):
    (tmp_path / "server0").mkdir()
    place = ("--data-dir", tmp_path / "server0" / "data")
    mine, others = key(place, "mine", "emails.fifo:send,receive"), key(place, "others", "others.fifo:send,receive")
    server = tls("--require-keys", pools=("emails.fifo=1",))

    def client(of, secret):
        return boto3.client(
            "sqs", endpoint_url=server.url, region_name="us-east-1", verify=str(server.authority.path),
            aws_access_key_id=of["id"], aws_secret_access_key=secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=40))

    queue = f"{server.url}/000000000000/emails.fifo"
    message = {"QueueUrl": queue, "MessageBody": "b", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    sent = client(mine, mine["secret"]).send_message(**message)
    for of, secret, code in ((mine, others["secret"], "SignatureDoesNotMatch"),
                             (others, others["secret"], "AccessDenied")):
        with pytest.raises(ClientError) as refusal:
            client(of, secret).send_message(**{**message, "MessageDeduplicationId": code})
        assert code in refusal.value.response["Error"]["Code"]
    got = client(mine, mine["secret"]).receive_message(QueueUrl=queue, WaitTimeSeconds=5, MaxNumberOfMessages=10)
    assert [found["MessageId"] for found in got["Messages"]] == [sent["MessageId"]]
    server.stop()


# MARK: - Clients' certificates


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("clients"), "clients")


def status(server, *client):
    """Of a request with this client's certificate; `None`: the server ended the connection."""
    try:
        with server.connect(*client) as connection:
            connection.sendall(request_bytes("/healthz", "Connection: close"))
            said = everything(connection)
            return int(said.split(b" ")[1]) if said else None
    except (ssl.SSLError, ConnectionError):
        return None


@pytest.mark.parametrize("rule, without, known", [("optional", 200, 200), ("required", None, 200), ("none", 200, 200)])
def test_a_client_certificate_is_verified(tls, clients, authority, rule, without, known):
    server = tls("--tls-client-ca", clients.path, "--tls-client", rule)
    assert status(server) == without
    assert status(server, *clients.issue("client", "sender")[:2]) == known
    # One of another authority is worse than none.
    assert status(server, *authority.issue("stranger", "sender")[:2]) == (200 if rule == "none" else None)
    server.stop()


def test_with_an_authority_certificates_are_optional_and_without_one_they_cannot_be_asked_for(tls, clients, tmp_path,
                                                                                           authority):
    server = tls("--tls-client-ca", clients.path)
    assert status(server) == 200
    assert status(server, *authority.issue("stranger")[:2]) is None
    certificate, key, _ = authority.issue("server")
    files = ("--tls-certificate", certificate, "--tls-key", key)
    assert "tls.client-ca" in refused(tmp_path, *files, "--tls-client", "required")
    assert str(key) in refused(tmp_path, *files, "--tls-client-ca", key)


def test_boto3_with_a_client_certificate(tls, clients, name):
    server = tls("--tls-client-ca", clients.path, "--tls-client", "required")
    client = tuple(map(str, clients.issue("client", "sender")[:2]))
    sqs = server.boto(client_cert=client)
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="hello", MessageGroupId="g", MessageDeduplicationId="1")
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"
