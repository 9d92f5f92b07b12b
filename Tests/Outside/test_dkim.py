# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Mails that a worker signs by DKIM, as a receiver with an implementation of its own sees them."""

import base64
import re

import dkim
import pytest
from conftest import run, wait_until
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from receivers import mail_server

POOL = "emails.fifo"
PRIVATE = serialization.PrivateFormat
RSA = rsa.generate_private_key(65_537, 2_048)
ED25519 = ed25519.Ed25519PrivateKey.generate()
UNSUBSCRIBE = {"List-Unsubscribe": "<https://example.com/u?token=" + "0123456789abcdef" * 6 + ">",
               "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def pem(key, form=PRIVATE.PKCS8, encryption=None):
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())


def record(key):
    """What DNS has of a key."""
    if isinstance(key, rsa.RSAPrivateKey):
        kind, public = b"rsa", key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    else:
        kind, public = b"ed25519", key.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return b"v=DKIM1; k=" + kind + b"; p=" + base64.b64encode(public)


def verifies(mail, keys, domain="example.com"):
    """Whether each signature of a mail is good, by keys that are in DNS under these selectors."""
    records = {f"{selector}._domainkey.{domain}.".encode(): record(key) for selector, key in keys.items()}
    count = len(re.findall(rb"^DKIM-Signature:", mail, re.M))
    assert count == len(keys)

    def verify(index):
        try:
            return dkim.DKIM(mail).verify(
                index, dnsfunc=lambda name, timeout=5: records.get(name if isinstance(name, bytes) else name.encode()))
        except dkim.ValidationError:
            return False

    return [verify(index) for index in range(count)]


@pytest.fixture
def sent(server, workers, tmp_path):
    """The mails of emails that a worker delivered and signed with these keys."""
    server.post(f"/v1/pools/{POOL}/purge")

    def send(keys, *emails, domain="example.com"):
        options = f"tls=off&dkim-domain={domain}"
        for selector, text in keys.items():
            (tmp_path / selector).write_bytes(text)
            options += f"&dkim-selector={selector}&dkim-key-file={tmp_path / selector}"
        with mail_server() as mailbox:
            for email in emails:
                answer = server.post(f"/v1/pools/{POOL}/emails", json={
                    "from": "Shop <a@example.com>", "to": "b@example.com", "subject": "s", **email})
                assert answer.status_code == 202, answer.text
            worker = workers("--deliver", f"smtp://127.0.0.1:{mailbox.port}?{options}", endpoint=server.url)
            wait_until(lambda: len(mailbox.mails) == len(emails) or not worker.is_running, 60, "the mails")
            worker.stop()
        assert "PRIVATE" not in worker.text()
        return [content for _, _, content in mailbox.mails]

    return send


EMAILS = [
    {"text": "Hi  there \n.\n\n..dots\n\n\n"},
    {"text": "t", "html": "<p>Grüße</p>", "cc": "c@example.com", "replyTo": "r@example.com", "headers": UNSUBSCRIBE,
     "subject": "Grüße an alle, " * 20},
    {"text": "ü" * 20_000, "attachments": [{"filename": "a.bin", "contentType": "application/octet-stream",
                                            "content": base64.b64encode(bytes(range(256)) * 40).decode()}]},
]


@pytest.mark.parametrize("key, form", [
    (RSA, PRIVATE.PKCS8), (RSA, PRIVATE.TraditionalOpenSSL), (ED25519, PRIVATE.PKCS8),
    (rsa.generate_private_key(65_537, 1_024), PRIVATE.PKCS8), (rsa.generate_private_key(65_537, 4_096), PRIVATE.PKCS8),
], ids=["rsa", "rsa in PKCS#1", "ed25519", "rsa of 1,024 bits", "rsa of 4,096 bits"])
def test_a_signed_mail_is_verified(sent, key, form):
    mails = sent({"s1": pem(key, form)}, *EMAILS)
    assert len(mails) == len(EMAILS)
    for mail in mails:
        assert mail.startswith(b"DKIM-Signature: v=1; a=")
        assert max(len(line) for line in mail.split(b"\r\n")) <= 160
        assert verifies(mail, {"s1": key}) == [True]
        assert verifies(mail, {"s1": rsa.generate_private_key(65_537, 1_024)}) == [False], "with another key"


def test_each_key_signs(sent):
    [mail] = sent({"r1": pem(RSA), "e1": pem(ED25519)}, EMAILS[1])
    assert verifies(mail, {"r1": RSA, "e1": ED25519}) == [True, True]


@pytest.mark.parametrize("key", [RSA, ED25519], ids=["rsa", "ed25519"])
def test_a_mail_that_was_changed_is_not_verified(sent, key):
    [mail] = sent({"s1": pem(key)}, EMAILS[1])
    assert verifies(mail, {"s1": key}) == [True]
    changes = [
        (b"Gr=C3=BC=C3=9Fe</p>", b"Gr=C3=BC=C3=9Ff</p>"), (b"Shop <a@", b"Shop <b@"), (b"To: b@", b"To: x@"),
        (b"token=0", b"token=1"), (b"One-Click", b"One-Clack"), (b"Reply-To: r@", b"Reply-To: x@"),
        (b"Message-ID: <", b"Message-ID: <0"), (b" t=1", b" t=2"), (b"d=example.com", b"d=example.org"),
        (b"From: Shop", b"From: x@example.com\r\nFrom: Shop"), (b"Cc: c@example.com\r\n", b""),
        (b"List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n", b""),
    ]
    for old, new in changes:
        changed = mail.replace(old, new, 1)
        assert changed != mail, old
        assert verifies(changed, {"s1": key}) == [False], (old, new)


def test_what_servers_do_to_a_mail_on_its_way_keeps_it_verified(sent):
    [mail] = sent({"s1": pem(RSA)}, EMAILS[1])
    head, body = mail.split(b"\r\n\r\n", 1)
    changed = (b"Received: from x by y\r\n" + head.replace(b"To: b@", b"TO:\t  b@").replace(b"\r\n ", b"\r\n\t  ")
               + b"\r\nX-Spam: no\r\n\r\n" + body + b"\r\n\r\n")
    assert verifies(changed, {"s1": RSA}) == [True]


def test_a_mail_of_another_domain_is_signed_in_the_name_of_ours(sent):
    [mail] = sent({"s1": pem(ED25519)}, {"from": "a@elsewhere.example", "text": "t"}, domain="mail.example.net")
    assert b"d=mail.example.net;" in mail
    assert verifies(mail, {"s1": ED25519}, "mail.example.net") == [True]


SMALL = """-----BEGIN RSA PRIVATE KEY-----
MIIBywIBAAJhAJ5hfr2/GwCUBYVYDMOnPQjj/eHIaxorVBaKOw+91kdcN92+i6k8
kslsTWG4EIo1xwJj3lCGIA3RVsZwWrfZCF/FqmXdtX+P+jzWyPydvVobmVaHgOew
Fp/fAeHN/b3k6QIDAQABAmEAgV+mhhy7U+eV8uyP0KqlwsNqOarbQg8uqxLTV/J8
POJpiCsELoQaa4qaUz5l1GBEHM0IkQtHbxfH1G3n50FBuvOK/2/GLPrvHxYBr81S
nU30K6BxRTDpXvFbDcOgIYThAjEA0TGldftpRYtPg+PaFOkyTqKIEnTqE2oZhTMv
RDn78R+KH4jkX8ft2HNw5XjyGdQdAjEAwdFXdUnR4oy2KmkYTA1CjPJn2f2Qkksj
gyfqOLSKbuIE5bKQTN4JslZuDXLUDKI9AjEAv3JI871/LRb+UTyQE70Kvi4+i22V
3uilrGIYar8KFDSCCrQUFJf60rFra4aRQhP9AjBn1uishihU4F6YykWiOVh2e0j4
mcljF66nDjOGvfONBLrq9YgqJqu7SGMeAW9qdWECMEf8nmCn9nIj/CDgRLnWNt51
ItC9q/a+3AM3OvPDG/bpqUykJtV7Onnm8xW7iLf1vA==
-----END RSA PRIVATE KEY-----
""".encode()
PUBLIC = RSA.public_key().public_bytes(
    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("command", [
    ("work", "--pool", POOL), ("serve", "--listen", "127.0.0.1:0", "--pool", f"{POOL}=1"),
], ids=["work", "serve"])
@pytest.mark.parametrize("content, says", [
    (b"", "no private key"), (None, "cannot be read"), (PUBLIC, "no private key, but something else"),
    (SMALL, "fewer than 1,024 bits"), (pem(ec.generate_private_key(ec.SECP256R1())), "neither RSA nor Ed25519"),
    (pem(RSA, encryption=serialization.BestAvailableEncryption(b"x")), "encrypted"),
    (pem(RSA)[:400] + b"\n-----END PRIVATE KEY-----\n", "damaged"), (b"x" * 40_000, "too long"),
], ids=["empty", "missing", "public", "short", "elliptic", "encrypted", "damaged", "long"])
def test_a_key_that_cannot_sign_stops_the_start(tmp_path, command, content, says):
    key = tmp_path / "key"
    if content is not None:
        key.write_bytes(content)
    place = ("--data-dir", tmp_path / "data") if command[0] == "serve" else ()
    done = run(*command, *place, "--deliver",
               f"smtp://127.0.0.1:25?tls=off&dkim-domain=example.com&dkim-selector=s1&dkim-key-file={key}", timeout=20)
    assert done.returncode == 78, done.stderr
    assert "dkim-key-file" in done.stderr and says in done.stderr
    lines = (content or b"").decode().split("\n")
    assert not any(line in done.stderr for line in lines if line and not line.startswith("-----"))


@pytest.mark.parametrize("options, says", [
    ("dkim-domain=example.com", "needs a dkim-selector and a dkim-key-file"),
    ("dkim-selector=s1&dkim-key-file={key}", "needs a dkim-selector and a dkim-key-file"),
    ("dkim-domain=example.com&dkim-selector=s1", "needs a dkim-selector and a dkim-key-file"),
    ("dkim-domain=example.com&dkim-selector=s1&dkim-selector=s2&dkim-key-file={key}", "for each key"),
    ("dkim-domain=a.example&dkim-domain=b.example&dkim-selector=s1&dkim-key-file={key}", "dkim-domain is given once"),
    ("dkim-domain=example&dkim-selector=s1&dkim-key-file={key}", "dkim-domain is not a domain name"),
    ("dkim-domain=example.com&dkim-selector=a%20b&dkim-key-file={key}", "dkim-selector is not a selector"),
    ("dkim-domain=&dkim-selector=s1&dkim-key-file={key}", "dkim-domain needs a value"),
])
def test_options_that_do_not_fit_are_refused(tmp_path, options, says):
    (tmp_path / "key").write_bytes(pem(ED25519))
    target = f"smtp://127.0.0.1:25?tls=off&{options.format(key=tmp_path / 'key')}"
    done = run("work", "--pool", POOL, "--deliver", target, timeout=20)
    assert done.returncode == 64, done.stderr
    assert says in done.stderr
