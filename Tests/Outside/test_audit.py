# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Who did what: admin actions are on disk before and after they are taken, refusals soon after, and no text of a caller."""

import json
import os
import re
import signal
import stat

import pytest
from access_server import KeyServer
from botocore.exceptions import ClientError
from conftest import Server, run, wait_until

CANARY = "canarytext"
CONFIGURATION_ERROR = 78
ACCOUNT = "000000000000"


@pytest.fixture
def keyed(tmp_path):
    """Starts servers that ask for keys."""
    started = []

    def start(*arguments, **options):
        directory = tmp_path / f"server{len(started)}"
        directory.mkdir()
        server = KeyServer(directory, *arguments, **options)
        started.append(server)
        return server

    yield start
    for server in started:
        if server.is_running:
            server.kill9()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = KeyServer(tmp_path_factory.mktemp("audit"), pools=("emails.fifo=2", "others.fifo=2"))
    yield server
    server.stop()


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Tail:
    """What comes to an audit log from here on."""

    def __init__(self, path):
        self.path, self.seen = path, len(lines(path))

    def new(self):
        found = lines(self.path)[self.seen:]
        self.seen += len(found)
        return found


def settled(server):
    """A tail behind everything that was refused before, which goes out with the next admin action."""
    assert server.action("UntagQueue", {"QueueUrl": "emails.fifo", "TagKeys": ["none"]}).ok
    return Tail(log(server))


def log(server):
    return server.data / "audit.log"


def url(server, queue):
    return f"{server.url}/{ACCOUNT}/{queue}"


def arn(queue):
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}"


def check(found, request, outcome="done", **members):
    """Two lines of one request: begun, and what came of it."""
    assert [line["outcome"] for line in found] == ["begun", outcome], found
    for line in found:
        assert line["request"] == request and line["address"] == "127.0.0.1" and line["action"] == "admin", line
        assert {name: line.get(name) for name in members} == members, line


# Admin actions


def test_admin_actions_over_sqs_are_on_disk_before_their_answers(server):
    client, tail = server.boto(), Tail(log(server))
    at = url(server, "mine.fifo")
    server.send("emails.fifo", "g", "b")
    handle = None
    for operation, pool, call in [
        ("CreateQueue", "mine.fifo", lambda: client.create_queue(
            QueueName="mine.fifo", Attributes={"FifoQueue": "true"}, tags={"tag": CANARY})),
        ("SetQueueAttributes", "mine.fifo", lambda: client.set_queue_attributes(
            QueueUrl=at, Attributes={"VisibilityTimeout": "31"})),
        ("TagQueue", "mine.fifo", lambda: client.tag_queue(QueueUrl=at, Tags={CANARY: "value"})),
        ("UntagQueue", "mine.fifo", lambda: client.untag_queue(QueueUrl=at, TagKeys=[CANARY])),
        ("PurgeQueue", "mine.fifo", lambda: client.purge_queue(QueueUrl=at)),
        ("StartMessageMoveTask", "emails-dlq.fifo", lambda: client.start_message_move_task(
            SourceArn=arn("emails-dlq.fifo"))),
        ("DeleteQueue", "mine.fifo", lambda: client.delete_queue(QueueUrl=at)),
    ]:
        answer = call()
        handle = answer.get("TaskHandle", handle)
        check(tail.new(), answer["ResponseMetadata"]["RequestId"], operation=operation, pool=pool, protocol="sqs",
              caller=server.root["id"])
    assert handle
    # It has nothing to move, so that it may be over before it is cancelled.
    cancelled = server.action("CancelMessageMoveTask", {"TaskHandle": handle})
    check(tail.new(), cancelled.headers["x-amzn-RequestId"], "done" if cancelled.ok else "failed",
          operation="CancelMessageMoveTask", pool="emails-dlq.fifo", protocol="sqs")


def test_admin_actions_of_forms_and_of_chunked_requests_are_written_down(server):
    tail = Tail(log(server))
    form = server.session.post(server.url + "/", data={
        "Action": "TagQueue", "QueueUrl": url(server, "emails.fifo"), "Tag.1.Key": "a", "Tag.1.Value": CANARY})
    assert form.status_code == 200 and form.headers["x-amzn-RequestId"] in form.text
    check(tail.new(), form.headers["x-amzn-RequestId"], operation="TagQueue", pool="emails.fifo", protocol="query")
    chunked = server.post("/", data=iter([b'{"QueueUrl": "', b'emails.fifo"}']), headers={
        "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.PurgeQueue"})
    assert chunked.status_code == 200
    check(tail.new(), chunked.headers["x-amzn-RequestId"], operation="PurgeQueue", pool="emails.fifo",
          protocol="sqs", caller=server.root["id"])


def test_admin_actions_over_rest_are_on_disk_before_their_answers(server):
    tail = Tail(log(server))

    def ask(method, path, **options):
        return server.session.request(method, server.url + path, timeout=30, **options)

    for operation, pool, answer in [
        ("createPool", "rest.fifo", lambda: ask("POST", "/v1/pools", json={"name": "rest.fifo", "shards": 2})),
        ("startRedrive", "rest.fifo", lambda: ask("POST", "/v1/pools/rest.fifo/dead-letters/redrive", json={})),
        ("purgePool", "rest.fifo", lambda: ask("POST", "/v1/pools/rest.fifo/purge")),
        ("deletePool", "rest.fifo", lambda: ask("DELETE", "/v1/pools/rest.fifo")),
    ]:
        got = answer()
        assert got.ok, (operation, got.text)
        check(tail.new(), got.headers["X-Request-Id"], operation=operation, pool=pool, protocol="rest",
              caller=server.root["id"])
    for operation, path in [("deleteDeadLetter", "/v1/pools/emails.fifo/dead-letters/none"),
                            ("deletePool", "/v1/pools/none.fifo")]:
        got = ask("DELETE", path)
        found = tail.new()
        check(found, got.headers["X-Request-Id"], "failed", operation=operation)
        assert found[1]["status"] == got.status_code >= 400


def test_what_fails_is_written_down_with_its_status(server):
    tail = Tail(log(server))
    with pytest.raises(ClientError) as failure:
        server.boto().delete_queue(QueueUrl=url(server, "never.fifo"))
    found = tail.new()
    check(found, failure.value.response["ResponseMetadata"]["RequestId"], "failed", operation="DeleteQueue",
          pool="never.fifo")
    assert found[1]["status"] == failure.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_messages_are_not_written_down(server):
    tail = Tail(log(server))
    server.send("emails.fifo", "g", CANARY, attributes={"name": CANARY})
    server.drain("emails.fifo")
    assert server.get("/v1/pools").ok and server.get("/v1/pools/emails.fifo").ok and server.get("/metrics").ok
    # Nor is what an admin only reads.
    assert server.get("/v1/pools/emails.fifo/dead-letters").ok
    assert server.get("/v1/pools/emails.fifo/dead-letters/redrive").status_code in (200, 404)
    assert server.action("ListQueueTags", {"QueueUrl": "emails.fifo"}).ok
    # What is written at all is written by the time that a later admin action is answered.
    assert server.action("TagQueue", {"QueueUrl": "emails.fifo", "Tags": {"a": "b"}}).ok
    assert [line["operation"] for line in tail.new()] == ["TagQueue", "TagQueue"]


# Bodies that somebody reads


def admin_port(server):
    opened = re.compile(r"The admin port is open.*\bport=(\d+)")
    return int(wait_until(lambda: opened.search(server.text()), 30, "the admin port's line")[1])


def test_a_body_that_an_admin_reads_is_written_down_before_it_is_shown(keyed):
    server = keyed("--admin-listen", "127.0.0.1:0", pools=("emails.fifo=1", "emails-dlq.fifo=1"))
    sent = server.send("emails-dlq.fifo", "g", CANARY, attributes={"name": CANARY})
    admin = server.key("reader", "emails.fifo:admin", "emails-dlq.fifo:admin")
    sender = server.key("sender", "*:send,receive")
    for key in (admin, sender):
        wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key")
    tail = settled(server)
    other = "5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11"
    for url in (server.url, f"http://127.0.0.1:{admin_port(server)}"):
        ask = lambda key, path: server.rest(key).get(f"{url}/v1/pools/{path}", timeout=30)
        for pool in ("emails.fifo", "emails-dlq.fifo"):
            letters = f"{pool}/dead-letters"
            (listed,) = ask(admin, letters).json()["deadLetters"]
            place = f"{letters}/{listed['id']}"
            assert listed["id"] == sent["id"]
            # What shows no body leaves no line: all that is found is of the requests below.
            assert ask(admin, place).ok and ask(admin, place + "?body=false").ok and ask(admin, letters).ok
            for key, path, status, message, outcome in [
                (admin, place, 200, listed["id"], {"outcome": "done"}),
                (admin, f"{letters}/{other}", 404, other, {"outcome": "failed", "status": 404}),
                (admin, f"{letters}/{CANARY}", 400, None, {"outcome": "failed", "status": 400}),
                (sender, place, 403, listed["id"], {"outcome": "refused", "reason": "access-denied"}),
            ]:
                answer = ask(key, path + "?body=true")
                assert answer.status_code == status and (CANARY in answer.text) == (status == 200), answer.text
                # An answer that is no refusal comes after its line.
                (line,) = refusals(tail, 1) if status == 403 else tail.new()
                assert line == {"time": line["time"], "caller": key["id"], "address": "127.0.0.1", "protocol": "rest",
                                "action": "admin", "operation": "showDeadLetter", "pool": pool,
                                **({"message": message} if message else {}), **outcome,
                                "request": answer.headers["X-Request-Id"]}
    shown = run("dead-letters", "show", "emails.fifo", "--id", sent["id"], "--body", "--endpoint", server.url,
                env={"QUEUEPOOL_TOKEN": admin["token"]}, check=0)
    assert CANARY in shown.stdout
    (line,) = tail.new()
    assert (line["caller"], line["message"], line["outcome"]) == (admin["id"], sent["id"], "done")
    assert CANARY not in log(server).read_text()
    server.stop()


# Refusals


def refusals(tail, count):
    found = []

    def all_there():
        found.extend(tail.new())
        return len(found) >= count

    wait_until(all_there, 20, f"{count} refusals; there are {found}")
    return found


def test_every_refusal_is_written_down_once(server):
    key = server.key("sender", "emails.fifo:send")
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key")
    tail = settled(server)
    nobody, sender = server.rest(), server.rest(key)
    wrong = server.rest({"token": "qp_" + "A" * 43})
    message = {"group": CANARY, "body": CANARY}
    post = lambda session, path, **options: session.post(server.url + path, timeout=30, **options)
    sqs = {"Content-Type": "application/x-amz-json-1.0"}
    asked = [
        (post(nobody, "/v1/pools/emails.fifo/messages", json=message), "rest", "sendMessages", "unauthenticated"),
        (post(wrong, "/v1/pools/emails.fifo/messages", json=message), "rest", "sendMessages", "unknown-token"),
        (post(sender, "/v1/pools/others.fifo/messages", json=message), "rest", "sendMessages", "access-denied"),
        (post(wrong, "/v1/pools/emails.fifo/purge"), "rest", "purgePool", "unknown-token"),
        (post(sender, "/v1/pools/emails.fifo/purge"), "rest", "purgePool", "access-denied"),
        (post(sender, "/v1/pools", json={"name": "new.fifo", "shards": 1}), "rest", "createPool", "access-denied"),
        (sender.get(server.url + "/metrics", timeout=30), "rest", "metrics", "access-denied"),
        (post(sender, "/", json={"QueueUrl": "emails.fifo"}, headers={**sqs, "X-Amz-Target": "AmazonSQS.PurgeQueue"}),
         "sqs", "PurgeQueue", "access-denied"),
        (post(wrong, "/", json={"QueueUrl": "emails.fifo"}, headers={**sqs, "X-Amz-Target": "AmazonSQS.PurgeQueue"}),
         "sqs", "PurgeQueue", "unknown-token"),
        (post(sender, "/", json={"QueueUrl": "emails.fifo"},
              headers={**sqs, "X-Amz-Target": "AmazonSQS.ReceiveMessage"}), "sqs", "ReceiveMessage", "access-denied"),
        (post(sender, "/", data={"Action": "DeleteQueue", "QueueUrl": url(server, "emails.fifo")}),
         "query", "DeleteQueue", "access-denied"),
        (post(nobody, "/", data={"Action": "DeleteQueue", "QueueUrl": url(server, "emails.fifo")}),
         "query", "unknown", "unauthenticated"),
    ]
    found = {line["request"]: line for line in refusals(tail, len(asked))}
    assert len(found) == len(asked)
    for answer, protocol, operation, reason in asked:
        assert answer.status_code in (401, 403), answer.text
        request = answer.headers.get("x-amzn-RequestId") or answer.headers["X-Request-Id"]
        line = found[request]
        assert (line["protocol"], line["operation"], line["reason"]) == (protocol, operation, reason), line
        assert line["outcome"] == "refused" and line["address"] == "127.0.0.1"
        assert line.get("caller") == (key["id"] if reason == "access-denied" else None), line


def test_requests_over_a_limit_of_their_key_are_counted_in_few_lines(server):
    key = server.key("hasty", "emails.fifo:send")
    run("key", "limit", "hasty", "--rate", "1", *server.place, check=0)
    session = server.rest(key)
    wait_until(lambda: session.get(server.url + "/v1/pools").status_code == 429, 20, "the limit")
    tail = settled(server)
    refused = sum(session.get(server.url + "/v1/pools").status_code == 429 for _ in range(40))
    assert refused >= 20
    found = []

    def counted():
        found.extend(tail.new())
        return sum(line["count"] for line in found) >= refused

    wait_until(counted, 20, f"{refused} requests; there are {found}")
    assert sum(line["count"] for line in found) == refused and len(found) < refused
    assert {(line["caller"], line["outcome"], line["reason"]) for line in found} == {
        (key["id"], "refused", "over-limit-requests")}


def test_a_control_store_in_a_data_directory_has_its_log(tmp_path):
    data = tmp_path / "data"
    run("key", "create", "api", "--allow", "*:send", "--data-dir", data, check=0)
    before = len(lines(data / "audit.log"))
    for command in (("rotate",), ("limit", "--rate", "5"), ("revoke",)):
        run("key", command[0], "api", *command[1:], "--control", f"sqlite:{data}/control.sqlite", check=0)
    found = [(line["operation"], line["outcome"]) for line in lines(data / "audit.log")[before:]]
    assert found == [(operation, outcome) for operation in ("rotateKey", "limitKey", "revokeKey")
                     for outcome in ("begun", "done")]
    # Nothing says that this one is a server's.
    run("key", "create", "api", "--allow", "*:send", "--control", f"sqlite:{tmp_path}/keys.sqlite", check=0)
    assert not (tmp_path / "audit.log").exists()


def test_a_signature_that_is_not_accepted_is_a_refusal(server):
    tail = settled(server)
    forged = {**server.root, "secret": "A" * 40}
    with pytest.raises(ClientError):
        server.boto(forged).purge_queue(QueueUrl=url(server, "emails.fifo"))
    (line,) = refusals(tail, 1)
    assert line["reason"] == "signature-does-not-match" and line["operation"] == "PurgeQueue" and "caller" not in line


def test_a_place_that_an_admin_may_not_use_ends_what_began(server):
    key = server.key("half", "others.fifo:admin")
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key")
    tail = settled(server)
    with pytest.raises(ClientError) as failure:
        server.boto(key).start_message_move_task(
            SourceArn=arn("others-dlq.fifo"), DestinationArn=arn("emails.fifo"))
    assert failure.value.response["Error"]["Code"] == "AccessDenied"
    check(refusals(tail, 2), failure.value.response["ResponseMetadata"]["RequestId"], "refused",
          operation="StartMessageMoveTask", pool="others-dlq.fifo", caller=key["id"])


# The file


def test_what_was_answered_survives_kill_9(keyed):
    server = keyed()
    answer = server.boto().purge_queue(QueueUrl=url(server, "emails.fifo"))
    server.kill9()
    request = answer["ResponseMetadata"]["RequestId"]
    check([line for line in lines(log(server)) if line.get("request") == request], request, operation="PurgeQueue")


def test_sighup_opens_the_file_again(keyed):
    server = keyed()
    assert server.action("UntagQueue", {"QueueUrl": "emails.fifo", "TagKeys": ["none"]}).ok
    old = server.data / "audit.log.1"
    log(server).rename(old)
    before = len(lines(old))
    server.popen.send_signal(signal.SIGHUP)
    wait_until(log(server).exists, 20, "another file")
    purged = server.post("/v1/pools/emails.fifo/purge")
    assert purged.ok
    check(lines(log(server)), purged.headers["X-Request-Id"], operation="purgePool")
    assert len(lines(old)) == before
    server.stop()


def test_the_file_is_private_and_no_text_of_a_caller_is_in_it(server):
    assert stat.S_IMODE(os.stat(log(server)).st_mode) == 0o600
    text = log(server).read_text()
    assert server.root["id"] in text and "mine.fifo" in text, "what is looked for would be found"
    for hidden in (CANARY, server.root["secret"], server.root["token"], server.root["token"][3:]):
        assert hidden not in text


def test_a_file_that_cannot_be_written_refuses_the_start(tmp_path):
    for path in (tmp_path / "none" / "audit.log", tmp_path, "/dev/full"):
        server = Server(tmp_path / "server", "--audit-log", path, ready=False)
        assert server.popen.wait(30) == CONFIGURATION_ERROR, server.text()
        assert "audit.log" in server.text() and str(path) in server.text()
        server.kill9()


def test_without_keys_and_without_the_setting_there_is_no_file(servers):
    server = servers()
    assert server.post("/v1/pools/emails.fifo/purge").ok
    server.stop()
    assert not log(server).exists()


def test_without_keys_the_setting_is_enough(servers, tmp_path):
    server = servers(env={"QUEUEPOOL_AUDIT_LOG": str(tmp_path / "who.log")})
    purged = server.post("/v1/pools/emails.fifo/purge")
    check(lines(tmp_path / "who.log"), purged.headers["X-Request-Id"], operation="purgePool", caller=None)
    server.stop()


def test_what_cannot_be_written_down_is_not_done(servers, tmp_path):
    """A limit on the size of files stands in for a full disk, and emptying the file for more room."""
    path = tmp_path / "audit.log"
    limit = 64 << 20
    with open(path, "wb") as file:
        file.truncate(limit - 1)
        file.seek(limit - 1)
        file.write(b"\n")
    server = servers("--audit-log", path, file_bytes_max=limit)
    server.send("emails.fifo", "g", "stays")
    tags = {"QueueUrl": "emails.fifo", "Tags": {"a": "b"}}
    for answer in (server.post("/v1/pools/emails.fifo/purge"), server.action("TagQueue", tags)):
        assert answer.status_code == 503 and "audit log" in answer.text and answer.headers["Retry-After"], answer.text
    metrics = server.get("/metrics").text
    assert "queuepool_audit_lost_total 2\n" in metrics and "queuepool_audit_failures_total 2\n" in metrics
    assert server.text().count("The audit log cannot be written") == 1
    os.truncate(path, 0)
    assert server.answer("ListQueueTags", {"QueueUrl": "emails.fifo"}).get("Tags", {}) == {}
    assert server.action("UntagQueue", {"QueueUrl": "emails.fifo", "TagKeys": ["a"]}).ok
    assert [message["Body"] for message in server.drain("emails.fifo")] == ["stays"]
    assert [line["outcome"] for line in lines(path)] == ["begun", "done"]
    assert "The audit log is written again" in server.text()
    server.stop()


def test_a_body_is_not_shown_if_that_cannot_be_written_down(servers, tmp_path):
    path = tmp_path / "audit.log"
    limit = 64 << 20
    with open(path, "wb") as file:
        file.seek(limit - 1)
        file.write(b"\n")
    server = servers("--audit-log", path, file_bytes_max=limit, pools=("emails.fifo=1", "emails-dlq.fifo=1"))
    sent = server.send("emails-dlq.fifo", "g", CANARY)
    letter = f"/v1/pools/emails.fifo/dead-letters/{sent['id']}"
    assert server.get(letter).status_code == 200
    refused = server.get(letter + "?body=true")
    assert refused.status_code == 503 and "audit log" in refused.text and CANARY not in refused.text
    assert refused.headers["Retry-After"]
    os.truncate(path, 0)
    assert server.get(letter + "?body=true").json()["body"] == CANARY
    (line,) = lines(path)
    assert (line["operation"], line["message"], line["outcome"]) == ("showDeadLetter", sent["id"], "done")
    server.stop()


# Commands


def test_commands_that_change_keys_write_it_down_beside_the_server(server):
    tail = Tail(log(server))
    made = server.key("commanded", "emails.fifo:send")
    run("key", "rotate", "commanded", *server.place, check=0)
    run("key", "list", *server.place, check=0)
    run("key", "limit", "commanded", "--rate", "5", *server.place, check=0)
    run("key", "revoke", "commanded", *server.place, check=0)
    run("key", "revoke", "nobody", *server.place, check=1)
    found = [(line["operation"], line["outcome"], line.get("key")) for line in tail.new()
             if line["protocol"] == "command"]
    assert found == [
        ("createKey", "begun", None), ("createKey", "done", made["id"]),
        ("rotateKey", "begun", None), ("rotateKey", "done", made["id"]),
        ("limitKey", "begun", None), ("limitKey", "done", made["id"]),
        ("revokeKey", "begun", None), ("revokeKey", "done", made["id"]),
        ("revokeKey", "begun", None), ("revokeKey", "failed", None)]
    text = log(server).read_text()
    assert made["secret"] not in text and made["token"][3:] not in text


def test_a_command_that_cannot_write_it_down_does_nothing(tmp_path):
    place = ("--data-dir", tmp_path / "data", "--audit-log", tmp_path / "none" / "audit.log")
    refused = run("key", "create", "api", "--allow", "*:send", *place)
    assert refused.returncode != 0 and "audit.log" in refused.stderr and refused.stdout == ""
    assert json.loads(run("key", "list", "--json", "--data-dir", tmp_path / "data", check=0).stdout)["keys"] == []
