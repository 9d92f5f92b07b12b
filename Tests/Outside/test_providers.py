# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Email services as targets: servers of ours in their places check what they are sent, and answer as those do."""

import base64
import contextlib
import email
import email.policy
import http.server
import json
import threading

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from conftest import run, wait_until

POOL = "emails.fifo"
DEAD = "emails-dlq.fifo"
KEY = "key-of-the-service"
AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}


class Service:
    """`answer(number)` is the status and the JSON of the answer to a request, by the number of the request from 1."""

    def __init__(self, answer):
        self.requests, self.lock, service = [], threading.Lock(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with service.lock:
                    service.requests.append((self.path, self.headers, body))
                    number = len(service.requests)
                status, said, *headers = answer(number)
                said = json.dumps(said).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(said)), **(headers[0] if headers else {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def bodies(self):
        with self.lock:
            return [json.loads(body) for _, _, body in self.requests]


@contextlib.contextmanager
def service(answer=lambda number: (200, {"id": "1"})):
    service = Service(answer)
    threading.Thread(target=service.server.serve_forever, daemon=True).start()
    try:
        yield service
    finally:
        service.server.shutdown()
        service.server.server_close()


@pytest.fixture
def work(server, workers, tmp_path):
    for pool in (POOL, DEAD):
        server.post(f"/v1/pools/{pool}/purge")
    key = tmp_path / "key"
    key.write_text(KEY + "\n")

    def start(*targets, options=()):
        deliver = [word for scheme, at in targets for word in (
            "--deliver", f"{scheme}{'&' if '?' in scheme else '?'}endpoint={at.url}"
            + ("" if scheme.startswith("ses:") else f"&key-file={key}"))]
        return workers(*deliver, *options, endpoint=server.url, env=AWS)

    return start


def post(server, **more):
    base = {"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": "t"}
    answer = server.post(f"/v1/pools/{POOL}/emails", json={**base, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def is_empty(server, name=POOL):
    pool = server.pool(name)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"] == 0



FULL = {"to": ["Ann <ann@example.com>"], "bcc": "bob@example.com", "html": "<b>t</b>",
        "headers": {"List-Unsubscribe": "<https://example.com/u>"},
        "attachments": [{"filename": "a.bin", "contentType": "application/x-a", "content": "AQID"}]}


@pytest.mark.parametrize("scheme, path, header", [
    ("sendgrid:", "/v3/mail/send", ("Authorization", f"Bearer {KEY}")),
    ("postmark:?stream=outbound", "/email", ("X-Postmark-Server-Token", KEY)),
    ("resend:", "/emails", ("Authorization", f"Bearer {KEY}")),
])
def test_a_service_is_asked_with_the_mail_field_by_field(server, work, scheme, path, header):
    with service() as there:
        id = post(server, **FULL)
        worker = work((scheme, there))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    [(asked, headers, _)] = there.requests
    [mail] = there.bodies
    assert asked == path and headers[header[0]] == header[1] and headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == (id if scheme == "resend:" else None)
    text = json.dumps(mail)
    for part in ("ann@example.com", "bob@example.com", "<https://example.com/u>", "AQID", "application/x-a", "a.bin"):
        assert part in text
    assert is_empty(server, DEAD) and KEY not in worker.text() and "example.com" not in worker.text()


def test_mailgun_gets_the_rendered_mail_and_its_envelope(server, work):
    with service() as there:
        id = post(server, **FULL)
        worker = work(("mailgun:mg.example.com", there))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    [(path, headers, body)] = there.requests
    assert path == "/v3/mg.example.com/messages.mime"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).decode() == f"api:{KEY}"
    form = email.message_from_bytes(
        b"Content-Type: " + headers["Content-Type"].encode() + b"\r\n\r\n" + body, policy=email.policy.HTTP)
    parts = [(part.get_param("name", header="Content-Disposition"), part) for part in form.iter_parts()]
    assert [(name, part.get_payload().strip()) for name, part in parts[:-1]] == [
        ("to", "ann@example.com"), ("to", "bob@example.com")]
    name, part = parts[-1]
    [mail] = part.get_payload()
    assert name == "message" and mail["Message-ID"] == f"<{id}@queuepool>" and "bob" not in mail.as_string()
    assert [a.get_payload(decode=True) for a in mail.walk() if a.get_filename() == "a.bin"] == [b"\1\2\3"]


def test_ses_gets_the_rendered_mail_signed_as_botocore_signs(server, work):
    with service() as there:
        id = post(server, **FULL)
        worker = work(("ses:eu-central-1", there))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    [(path, headers, body)] = there.requests
    [asked] = there.bodies
    assert path == "/v2/email/outbound-emails" and asked["FromEmailAddress"] == "a@example.com"
    assert asked["Destination"] == {"ToAddresses": ["ann@example.com"], "BccAddresses": ["bob@example.com"]}
    mail = email.message_from_bytes(base64.b64decode(asked["Content"]["Raw"]["Data"]), policy=email.policy.default)
    assert mail["Message-ID"] == f"<{id}@queuepool>" and "bob" not in mail.as_string()

    signed = headers["Authorization"].split("SignedHeaders=")[1].split(",")[0].split(";")
    request = AWSRequest(method="POST", url=there.url + path, data=body, headers={
        name: headers[name] for name in signed if name not in ("host", "x-amz-date")})
    request.context["timestamp"] = headers["X-Amz-Date"]
    judge = SigV4Auth(Credentials(AWS["AWS_ACCESS_KEY_ID"], AWS["AWS_SECRET_ACCESS_KEY"]), "ses", "eu-central-1")
    request.headers["X-Amz-Date"] = headers["X-Amz-Date"]
    signature = judge.signature(judge.string_to_sign(request, judge.canonical_request(request)), request)
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert "/eu-central-1/ses/aws4_request" in headers["Authorization"]


@pytest.mark.parametrize("status", [500, 401])
def test_the_next_service_gets_in_order_and_once_what_the_first_does_not_take(server, work, status):
    with service(lambda number: (status, {"name": "x"})) as first, service() as second:
        for number in range(30):
            post(server, group=f"g{number % 5}", subject=f"g{number % 5}/{number // 5}")
        worker = work(("resend:", first), ("sendgrid:", second))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert first.requests
    subjects = [mail["subject"] for mail in second.bodies]
    assert sorted(subjects) == sorted(f"g{n % 5}/{n // 5}" for n in range(30)), "each mail once"
    for group in range(5):
        assert [s for s in subjects if s.startswith(f"g{group}/")] == [f"g{group}/{k}" for k in range(6)]
    assert is_empty(server, DEAD)


def test_a_key_that_is_refused_costs_no_mail_an_attempt(server, work):
    """It is put right after more refusals than a mail has attempts."""
    with service(lambda number: (401, {}) if number <= 4 else (200, {})) as there:
        for number in range(3):
            post(server, group="g", subject=str(number))
        worker = work(("postmark:", there), options=("--max-attempts", "2"))
        wait_until(lambda: is_empty(server), 120, "an empty pool")
        worker.stop()
    taken = [mail["Subject"] for mail in there.bodies][4:]
    assert taken == ["0", "1", "2"] and is_empty(server, DEAD)
    assert "postmark-401" in worker.text()


def test_what_a_service_refuses_is_a_dead_letter_with_its_code_and_nothing_else_of_its_answer(server, work):
    refusal = {"ErrorCode": 406, "Message": "b@example.com is inactive"}
    with service(lambda number: (422, refusal)) as first, service() as second:
        post(server)
        worker = work(("postmark:", first), ("resend:", second))
        wait_until(lambda: not is_empty(server, DEAD), 60, "a dead letter")
        worker.stop()
    assert len(first.requests) == 1 and second.requests == []
    [letter] = server.drain(DEAD)
    said = {name: value.get("StringValue") for name, value in letter["MessageAttributes"].items()}
    assert "postmark-422-406" in said.values() and "inactive" not in json.dumps(said)
    assert "inactive" not in worker.text() and "b@example.com" not in worker.text()


def test_a_message_that_is_no_email_is_refused_without_asking(server, work):
    with service() as there:
        server.send(POOL, "g", "no email")
        worker = work(("resend:", there))
        wait_until(lambda: not is_empty(server, DEAD), 60, "a dead letter")
        worker.stop()
    assert there.requests == []
    [letter] = server.drain(DEAD)
    assert "not-an-email" in {value.get("StringValue") for value in letter["MessageAttributes"].values()}


def test_an_answer_that_is_lost_is_asked_for_again_at_the_same_service_under_the_same_key(server, work):
    hung_up = threading.Event()

    def answer(number):
        if number == 1:
            hung_up.set()
            raise ConnectionAbortedError
        return 200, {"id": "1"}

    with service(answer) as first, service() as second:
        first.server.handle_error = lambda *_: None
        id = post(server)
        worker = work(("resend:", first), ("sendgrid:", second))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert hung_up.is_set() and second.requests == []
    assert {headers["Idempotency-Key"] for _, headers, _ in first.requests} == {id} and len(first.requests) >= 2


@pytest.mark.parametrize("target", [
    "sendgrid:", "resend:?key=secret-1", "mailgun:?key-env=A", "ses:?endpoint=http://127.0.0.1:1",
    "postmark:?key-file=/nonexistent"])
def test_a_target_that_is_none_stops_the_start_and_is_not_shown(server, target):
    ended = run("work", "--endpoint", server.url, "--pool", POOL, "--deliver", target)
    assert ended.returncode == 64 and "secret-1" not in ended.stderr + ended.stdout
