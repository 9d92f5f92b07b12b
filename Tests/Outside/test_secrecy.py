# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""I6: no body, attribute value, address, subject or group id in a log, metric or error. Canaries go in through every
door, well and badly formed; then everything that the programs said is searched for them. Receivers get content, of
course, and so does whoever asked `stdout:` for it; SQS's own errors quote ids and names of the request, as AWS does."""

import base64
import json

import pytest
import requests
from botocore.exceptions import ClientError
from conftest import Process, Server, run, wait_until
from receivers import mail_server, webhook

POOL = "emails.fifo"
BODY, VALUE, GROUP = "canarybody", "canaryvalue", "canarygroup"
LOCAL, SUBJECT, NAME, TEXT, KEY = "canarylocal", "canarysubject", "canaryname", "canarytext", "canarykey"
CONTENT = (BODY, VALUE, LOCAL, SUBJECT, NAME, TEXT)
ALL = (*CONTENT, GROUP, KEY)


class Heard:
    """What the program said, where, and to what."""

    def __init__(self):
        self.texts = []

    def add(self, where, text):
        self.texts.append((where, text))
        return text

    def answer(self, answer):
        """Of answers, the errors."""
        if answer.status_code >= 300:
            self.add(f"error {answer.status_code} of {answer.request.method} {answer.request.path_url}",
                     answer.text + str(answer.headers))
        return answer

    def search(self, canaries):
        for where, text in self.texts:
            for canary in canaries:
                variants = (canary, base64.b64encode(canary.encode()).decode()[:12], canary.encode().hex())
                assert not any(v.lower() in text.lower() for v in variants), f"{canary} in {where}: {text[:500]}"


def rest(server, heard):
    post = lambda path, **options: heard.answer(server.post(path, **options))
    messages, emails = f"/v1/pools/{POOL}/messages", f"/v1/pools/{POOL}/emails"
    good = {"group": GROUP, "body": BODY, "deduplicationId": KEY, "attributes": {"name": VALUE}}
    email = {"from": f"{NAME} <{LOCAL}@example.com>", "to": f"{LOCAL}@example.com", "subject": SUBJECT, "text": TEXT,
             "html": TEXT, "headers": {"X-Canary": VALUE},
             "attachments": [{"filename": NAME, "contentType": "text/plain",
                              "content": base64.b64encode(TEXT.encode()).decode()}]}
    assert post(messages, json=good).status_code == 202
    assert post(emails, json=email, headers={"Idempotency-Key": KEY}).status_code == 202
    bad = [{"group": GROUP + " ", "body": BODY}, {"group": GROUP, "body": BODY + "\0"}, {"group": GROUP, "body": [BODY]},
           {"group": [GROUP], "body": BODY}, {**good, "delaySeconds": BODY}, {**good, "attributes": VALUE},
           {**good, "attributes": {"name": {"type": VALUE, "value": VALUE}}}, {**good, "attributes": {"name": [VALUE]}},
           {**good, "attributes": {"name": {"type": "Number", "value": VALUE}}},
           {**good, "attributes": {"name": {"type": "Binary", "value": VALUE + "!"}}},
           {**good, "deduplicationId": KEY + " "}, [BODY], BODY]
    for message in bad:
        assert post(messages, json=message).status_code == 400, message
    raw = json.dumps(good)
    for data in (raw[:-5], raw + BODY, raw.replace('"body"', '"body'), raw.encode() + b"\xff" + BODY.encode()):
        assert post(messages, data=data, headers={"Content-Type": "application/json"}).status_code == 400
    assert post(messages, data=raw, headers={"Content-Type": "text/" + BODY}).status_code == 415
    lines = "\n".join([json.dumps(line) for line in bad] + [raw[:-5], "nonsense " + BODY, raw])
    answer = server.post(messages, data=lines, headers={"Content-Type": "application/x-ndjson"})
    heard.add("results of a stream", answer.text)
    for change in ({"from": LOCAL}, {"to": [LOCAL + "@"]}, {"subject": SUBJECT + "\n"}, {"text": [TEXT]},
                   {"headers": {"X-A": VALUE + "\r\n"}}, {"headers": {"From": VALUE}}, {"cc": {"a": LOCAL}},
                   {"attachments": [{"filename": NAME + "\n", "contentType": "text/plain", "content": ""}]},
                   {"attachments": [{"filename": NAME, "contentType": TEXT, "content": TEXT + "!"}]},
                   {"group": GROUP + " "}):
        assert post(emails, json={**email, **change}).status_code == 400, change
    assert post(emails, json=email, headers={"Idempotency-Key": KEY + " x" * 150}).status_code == 400
    assert post("/v1/pools", json={"name": "x", "shards": BODY}).status_code == 400


def sqs(server, heard):
    client = server.boto()
    good = {"QueueUrl": POOL, "MessageBody": BODY, "MessageGroupId": GROUP, "MessageDeduplicationId": KEY + "2",
            "MessageAttributes": {"name": {"DataType": "String", "StringValue": VALUE}}}
    client.send_message(**good)
    odd = {"DataType": "String", "StringValue": VALUE + "\0"}
    number = {"DataType": "Number", "StringValue": VALUE}
    bad = [{"MessageBody": BODY + "\0"}, {"MessageAttributes": {"name": odd}}, {"MessageAttributes": {"n": number}},
           {"MessageBody": BODY * (42_000_000 // len(BODY) + 1)}, {"MessageAttributes": {"n": {"DataType": VALUE, "StringValue": VALUE}}},
           {"DelaySeconds": 5}, {"MessageSystemAttributes": {"AWSTraceHeader": odd}}]
    for change in bad:
        with pytest.raises(ClientError) as caught:
            client.send_message(**{**good, **change})
        heard.add(f"error of SendMessage with {list(change)}", str(caught.value.response))
    entries = [{"Id": str(i), **{k: v for k, v in {**good, **change}.items() if k != "QueueUrl"}}
               for i, change in enumerate(bad) if "MessageBody" not in change or len(change["MessageBody"]) < 1_000]
    failed = client.send_message_batch(QueueUrl=POOL, Entries=entries)["Failed"]
    assert len(failed) == len(entries)
    heard.add("failed entries of a batch", json.dumps(failed))
    for data in (json.dumps({"QueueUrl": POOL, "MessageBody": {"a": BODY}}), f'{{"QueueUrl":"{POOL}","MessageBody":"{BODY}'):
        heard.answer(server.action("SendMessage", data))


@pytest.fixture(scope="module", params=["text", "json"])
def heard(request, tmp_path_factory):
    """Everything said by a server, workers and commands that were given the canaries."""
    heard, directory = Heard(), tmp_path_factory.mktemp("secrecy")
    server = Server(directory / "server", "--log-level", "trace", "--log-format", request.param)
    workers = []

    def work(*arguments):
        workers.append(Process(
            ["work", "--endpoint", server.url, "--pool", POOL, "--log-level", "trace", "--log-format", request.param,
             "--max-attempts", "2", *arguments], directory / f"worker{len(workers)}.log"))
        return workers[-1]

    def until_empty(worker):
        def empty():
            pool = server.pool(POOL)
            return pool["backlog"] + pool["inFlight"] == 0

        wait_until(empty, 60, "an empty pool")
        worker.stop()

    rest(server, heard)
    sqs(server, heard)
    with webhook(lambda r: (500, {})) as hook, mail_server(lambda envelope: "550 no " + LOCAL) as mailbox:
        until_empty(work("--deliver", hook.url, "--deliver", f"smtp://127.0.0.1:{mailbox.port}?tls=off"))
    dead = server.drain("emails-dlq.fifo")
    assert dead, "nothing became a dead letter"
    for letter in dead:
        reason = {k: v for k, v in letter["MessageAttributes"].items() if k.startswith("queuepool.")}
        heard.add("the reason of a dead letter", json.dumps(reason))
    server.send(POOL, GROUP, BODY)
    until_empty(work("--deliver", "exec:exit 65 # " + "nothing"))
    file = directory / "messages.ndjson"
    file.write_text(json.dumps({"group": GROUP, "body": BODY + "\0"}) + "\n" + json.dumps({"group": GROUP}) + "\n" + BODY
                    + "\n" + json.dumps({"group": GROUP, "body": BODY}))
    sent = run("send", "--endpoint", server.url, "--pool", POOL, file)
    heard.add("send", sent.stdout + sent.stderr)
    heard.add("send's state file", (directory / "messages.ndjson.queuepool-sent").read_text())
    for command in (["pool", "list"], ["pool", "show", POOL]):
        heard.add("pool", run(*command, "--endpoint", server.url, check=0).stdout)
    for path in ("/metrics", "/v1/pools", f"/v1/pools/{POOL}"):
        heard.add(path, requests.get(server.url + path, timeout=10).text)
    server.stop()
    for process in [server, *workers]:
        assert process.text(), "trace says something"
        heard.add(process.output.name, process.text())
    return heard


def test_no_content_is_in_what_the_programs_say(heard):
    heard.search(CONTENT)


def test_group_and_deduplication_ids_are_in_no_log_metric_or_error_of_ours(heard):
    heard.texts = [(where, text) for where, text in heard.texts if "SendMessage" not in where and "batch" not in where]
    heard.search(ALL)


def test_a_credential_in_a_target_is_in_no_log(tmp_path):
    done = run("work", "--pool", POOL, "--deliver", "smtp://user:canarypassword@127.0.0.1:9?unknown=1", timeout=20)
    assert done.returncode == 64
    assert "canarypassword" not in done.stdout + done.stderr
    worker = Process(["work", "--endpoint", "http://127.0.0.1:9", "--pool", POOL, "--log-level", "trace"],
                     tmp_path / "log", env={"QUEUEPOOL_WORKER_DELIVER": "smtp://user:canarypassword@127.0.0.1:9"})
    wait_until(lambda: worker.text(), what="a line of the log")
    worker.stop()
    assert "canarypassword" not in worker.text()
