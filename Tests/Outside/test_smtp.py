# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Emails from REST to a real mail server: what arrives, parsed by Python's email package, is what was sent. The samples
are the messages of CPython's own test suite, if this Python has it, and messages of our own."""

import base64
import email
import email.policy
import importlib.util
import re
from pathlib import Path

import pytest
from conftest import Process, wait_until
from receivers import mail_server

POOL = "emails.fifo"
ADDRESS = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
OWN = [
    {"from": "Größe & Söhne <shop@example.com>", "to": ["Ada Lovelace <ada@example.com>", "bob@example.com"],
     "cc": "carol@example.com", "bcc": "dave@example.com", "replyTo": "help@example.com",
     "subject": "Grüße aus München: ✓ 日本語 " + "sehr lang " * 30, "text": "Hallo,\n\n.\n..\n.dots\nGrüße ✓\n",
     "html": "<p>Grüße ✓ &amp; mehr</p>\n<p>.</p>", "headers": {"X-Campaign": "7", "X-Name": "Zoë " * 30},
     "attachments": [{"filename": "Übersicht 2026.pdf", "contentType": "application/pdf",
                      "content": base64.b64encode(bytes(range(256)) * 50).decode()},
                     {"filename": "logo.png", "contentType": "image/png", "contentId": "logo@example",
                      "content": base64.b64encode(b"\x89PNG").decode()}]},
    {"from": "a@example.com", "to": "b@example.com", "subject": "", "text": "x" * 5_000 + "\n" + "ü" * 3_000},
    {"from": "a@example.com", "to": "b@example.com", "subject": "html only", "html": "<b>From here</b>\nFrom there"},
    {"from": "a@example.com", "to": "b@example.com", "subject": "no end of line", "text": ".\r\n.\r\n\r\n."},
    {"from": '"Quoted, \\"Name\\"" <a@example.com>', "to": "b@example.com", "subject": "=?utf-8?q?no?= word",
     "text": "trailing blanks  \n\ttab \n"},
]


def cpython_samples():
    try:
        spec = importlib.util.find_spec("test.test_email")
    except ModuleNotFoundError:
        spec = None
    folder = Path(spec.submodule_search_locations[0]) / "data" if spec else Path("/nonexistent")
    return sorted(folder.glob("msg_*.txt"))


def as_email(path):
    """The parts of a sample that an email over REST has, or None if it is no email of a valid sender and recipient."""
    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    try:
        addresses = [a.addr_spec for name in ("from", "to") for header in message.get_all(name, [])[:1]
                     for a in header.addresses[:1]]
        if len(addresses) != 2 or not all(ADDRESS.fullmatch(a) for a in addresses):
            return None
        sample = {"from": addresses[0], "to": [addresses[1]], "attachments": [],
                  "subject": re.sub(r"[\x00-\x1f\x7f\ufffd\udc00-\udfff]", "", str(message.get("subject", "")))}
        for part in message.walk():
            kind = part.get_content_type()
            if kind.startswith("multipart/"):
                kind = "application/octet-stream"  # CPython's broken samples; an attachment is never one
            if part.is_multipart():
                continue
            content = part.get_payload(decode=True) or b""
            text = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
            if kind == "text/plain" and "text" not in sample:
                sample["text"] = text
            elif kind == "text/html" and "html" not in sample:
                sample["html"] = text
            elif re.fullmatch(r"(?!multipart)[a-z]+/[a-z0-9.+-]+", kind):
                sample["attachments"].append({"filename": f"part{len(sample['attachments'])}", "contentType": kind,
                                              "content": base64.b64encode(content).decode()})
    except (LookupError, ValueError, AttributeError, KeyError, IndexError, TypeError):
        return None
    sample.setdefault("text", "")
    return sample


def lines(text):
    """Text as mail keeps it: lines, however they ended."""
    return (text or "").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")


def names(value):
    return [ADDRESS.search(v).group() for v in ([value] if isinstance(value, str) else value or [])]


def check(sent, id, mail):
    sender, recipients, raw = mail
    assert sender == names(sent["from"])[0]
    assert recipients == names(sent["to"]) + names(sent.get("cc")) + names(sent.get("bcc"))
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)", raw), "lines end with CR LF"
    assert max(map(len, raw.split(b"\r\n"))) <= 998, "no line is longer than RFC 5322 allows"
    head = raw.split(b"\r\n\r\n")[0]
    assert head.isascii() and max(map(len, head.split(b"\r\n"))) <= 78 + 920
    message = email.message_from_bytes(raw, policy=email.policy.default)
    defects = [d for part in message.walk() for d in part.defects]
    assert not defects, f"{defects} in {sent}"
    assert id in message["message-id"], "the Message-ID is derived from the message's id"
    assert message["date"] and message["mime-version"] == "1.0"
    assert message["bcc"] is None and b"dave@" not in raw
    assert (message["subject"] or "").strip() == sent["subject"].strip()
    assert [a.addr_spec for a in message["to"].addresses] == names(sent["to"])
    if "replyTo" in sent:
        assert [a.addr_spec for a in message["reply-to"].addresses] == names(sent["replyTo"])
    for name, value in sent.get("headers", {}).items():
        assert message[name].strip() == value.strip()
    for kind, member in (("plain", "text"), ("html", "html")):
        if sent.get(member):
            part = message.get_body((kind,))
            assert lines(part.get_content()) == lines(sent[member])
    attached = {p.get_filename(): p for p in message.walk() if p.get_filename()}
    for attachment in sent.get("attachments", []):
        part = attached[attachment["filename"]]
        assert part.get_payload(decode=True) == base64.b64decode(attachment["content"])
        if attachment["contentType"].split("/")[0] not in ("message", "multipart"):
            assert part.get_content_type() == attachment["contentType"]
        if "contentId" in attachment:
            assert part["content-id"].strip("<>") == attachment["contentId"]


@pytest.fixture(scope="module")
def delivered(server, tmp_path_factory):
    """Sends every sample and has a worker deliver them: (email, id, mail) for each."""
    samples = OWN + [s for s in map(as_email, cpython_samples()) if s]
    with mail_server() as mailbox:
        sent = {}
        for sample in samples:
            answer = server.post(f"/v1/pools/{POOL}/emails", json=sample)
            assert answer.status_code == 202, f"{answer.text} for {sample}"
            sent[answer.json()["id"]] = sample
        worker = Process(["work", "--endpoint", server.url, "--pool", POOL, "--deliver",
                          f"smtp://127.0.0.1:{mailbox.port}?tls=off"], tmp_path_factory.mktemp("smtp") / "log")
        wait_until(lambda: len(mailbox.mails) >= len(samples), 60, f"{len(samples)} mails")
        worker.stop()
    assert len(mailbox.mails) == len(samples), "each mail once"
    by_id = {id: mail for mail in mailbox.mails for id in sent if id.encode() in mail[2]}
    return [(sent[id], id, by_id[id]) for id in sent]


def test_our_own_emails_arrive_as_they_were_sent(delivered):
    for sent, id, mail in delivered[:len(OWN)]:
        check(sent, id, mail)


def test_cpythons_samples_arrive_as_they_were_sent(delivered):
    if not cpython_samples():
        assert len(delivered) == len(OWN)  # Debian's Python comes without its tests
        return
    assert len(delivered) >= len(OWN) + 15
    for sent, id, mail in delivered[len(OWN):]:
        check(sent, id, mail)


@pytest.fixture
def work(server, tmp_path):
    started = []

    def start(target, *arguments):
        arguments = ["work", "--endpoint", server.url, "--pool", POOL, "--deliver", target, *arguments]
        started.append(Process(arguments, tmp_path / "log"))
        return started[-1]

    yield start
    for worker in started:
        if worker.is_running:
            worker.kill9()


def post(server, **more):
    base = {"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": "t"}
    return server.post(f"/v1/pools/{POOL}/emails", json={**base, **more}).json()["id"]


def dead_letter(server, reason):
    message = wait_until(lambda: server.drain("emails-dlq.fifo"), 30, "a dead letter")[0]
    assert message["MessageAttributes"]["queuepool.error-class"]["StringValue"] == reason
    return message


def test_a_mail_refused_for_good_becomes_a_dead_letter_and_one_refused_for_now_is_tried_again(server, work):
    tries = []

    def refuse(envelope):
        if "never@example.com" in envelope.rcpt_tos:
            return "550 no such mailbox"
        tries.append(1)
        return "451 try again" if len(tries) == 1 else None

    with mail_server(refuse) as mailbox:
        post(server, to="never@example.com")
        later = post(server, to="later@example.com")
        worker = work(f"smtp://127.0.0.1:{mailbox.port}?tls=off")
        wait_until(lambda: mailbox.mails, 30, "the second try")
        dead_letter(server, "smtp-550")
        worker.stop()
    assert later.encode() in mailbox.mails[0][2] and len(tries) == 2
    assert "example.com" not in worker.text()


def test_starttls_is_required_unless_turned_off(server, work):
    with mail_server() as mailbox:
        post(server)
        worker = work(f"smtp://127.0.0.1:{mailbox.port}", "--max-attempts", "1")
        wait_until(lambda: "error_class=tls" in worker.text(), 30, "the log to say that TLS is missing")
        worker.stop()
    assert mailbox.mails == [], "nothing was sent in the clear"
    assert server.drain("emails-dlq.fifo") == [], "a server that we do not trust says nothing of the mail"


def test_a_message_that_is_no_email_becomes_a_dead_letter(server, work):
    with mail_server() as mailbox:
        server.send(POOL, "g", "no email")
        worker = work(f"smtp://127.0.0.1:{mailbox.port}?tls=off")
        dead_letter(server, "not-an-email")
        worker.stop()
