# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Emails over REST: what is stored, and what is refused."""

import json

import pytest
from errors import assert_problem

PATH = "/v1/pools/emails.fifo/emails"
EMAIL = {"from": "Shop <shop@example.com>", "to": "ada@example.com", "subject": "Grüße", "text": "Hello"}


def stored(server, id):
    return [m for m in server.drain("emails.fifo") if m["MessageId"] == id][0]


def test_an_email_becomes_a_message_with_its_content_type(server):
    email = {**EMAIL, "cc": ["b@example.com"], "html": "<p>Hello</p>", "headers": {"X-Campaign": "7"},
             "attachments": [{"filename": "a.txt", "contentType": "text/plain", "content": "aGk="}]}
    answer = server.post(PATH, json=email)
    assert answer.status_code == 202, answer.text
    assert set(answer.json()) == {"id", "shard", "sequenceNumber", "duplicate"}
    message = stored(server, answer.json()["id"])
    assert message["MessageAttributes"]["Content-Type"]["StringValue"] == "application/vnd.queuepool.email+json"
    body = json.loads(message["Body"])
    assert body["subject"] == "Grüße"
    assert "ada@example.com" in json.dumps(body["to"])


def test_the_group_is_a_hash_of_the_first_recipient(server):
    groups = []
    for to in ("ada@example.com", ["Ada <ada@example.com>", "bob@example.com"], "bob@example.com"):
        sent = server.post(PATH, json={**EMAIL, "to": to}).json()
        groups.append(stored(server, sent["id"])["Attributes"]["MessageGroupId"])
    assert groups[0] == groups[1] != groups[2]
    assert "ada" not in groups[0] and "@" not in groups[0]


def test_an_email_may_have_blind_recipients_only(server):
    email = {k: v for k, v in EMAIL.items() if k != "to"}
    sent = server.post(PATH, json={**email, "bcc": ["ada@example.com", "bob@example.com"]})
    assert sent.status_code == 202, sent.text
    message = stored(server, sent.json()["id"])
    seen = stored(server, server.post(PATH, json=EMAIL).json()["id"])
    assert message["Attributes"]["MessageGroupId"] == seen["Attributes"]["MessageGroupId"]
    assert json.loads(message["Body"])["bcc"] == ["ada@example.com", "bob@example.com"]


def test_a_group_may_be_given(server, name):
    sent = server.post(PATH, json={**EMAIL, "group": name}).json()
    assert stored(server, sent["id"])["Attributes"]["MessageGroupId"] == name


def test_the_idempotency_key_is_the_deduplication_id(server, name):
    first = server.post(PATH, json=EMAIL, headers={"Idempotency-Key": name})
    again = server.post(PATH, json=EMAIL, headers={"Idempotency-Key": name})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json() and first.json()["duplicate"] is False
    assert "Idempotent-Replayed" not in first.headers and again.headers["Idempotent-Replayed"] == "true"
    assert stored(server, first.json()["id"])["Attributes"]["MessageDeduplicationId"] == name
    assert server.post(PATH, json=EMAIL).json()["duplicate"] is False, "without a key each email is new"
    assert_problem(server.post(PATH, json=EMAIL, headers={"Idempotency-Key": "x" * 256}), 400, "Idempotency-Key")


@pytest.mark.parametrize("address", [
    "", "ada", "ada@", "@example.com", "a da@example.com", "ada@exa mple.com", "ada@@example.com", "ada@example..com",
    ".ada@example.com", "Ada <ada@example.com", "ada@example.com, bob@example.com", "ada@-example.com",
    "ada@example.com\r\nBcc: eve@example.com", "Ada\nX: y <ada@example.com>", "a" * 65 + "@example.com",
    "ada@" + "e" * 250 + ".com"])
def test_what_is_no_address_is_refused(server, address):
    for field, value in (("from", address), ("to", address), ("cc", ["ok@example.com", address])):
        problem = assert_problem(server.post(PATH, json={**EMAIL, field: value}), 400)
        assert problem["field"].startswith(field), problem
        assert "example" not in problem["detail"].replace("local@domain", ""), "an address must not come back"


@pytest.mark.parametrize("change, field", [
    ({"subject": "a\r\nBcc: eve@example.com"}, "subject"), ({"subject": "a\nb"}, "subject"),
    ({"subject": "a\u0000"}, "subject"), ({"headers": {"X-A": "b\r\nBcc: eve@example.com"}}, "headers"),
    ({"headers": {"X-A\r\nBcc": "eve@example.com"}}, "headers"), ({"headers": {"X A": "b"}}, "headers"),
    ({"headers": {"Bcc": "eve@example.com"}}, "headers"), ({"headers": {"from": "eve@example.com"}}, "headers"),
    ({"headers": {"Content-Type": "text/html"}}, "headers"), ({"headers": {"X-A": 1}}, "headers"),
    ({"attachments": [{"filename": "a\r\nX: y", "contentType": "text/plain", "content": "aGk="}]}, "attachments"),
    ({"attachments": [{"filename": "a", "contentType": "text/plain\r\nX: y", "content": "aGk="}]}, "attachments"),
    ({"attachments": [{"filename": "a", "contentType": "text/plain", "content": "no base64!"}]}, "attachments"),
    ({"replyTo": "x\r\n@example.com"}, "replyTo")])
def test_header_injection_is_refused(server, change, field):
    problem = assert_problem(server.post(PATH, json={**EMAIL, **change}), 400)
    assert problem["field"].startswith(field), problem
    assert "eve" not in problem["detail"]


@pytest.mark.parametrize("change, field", [
    ({"from": None}, "from"), ({"to": 7}, "to"), ({"to": [7]}, "to"), ({"subject": ["x"]}, "subject"),
    ({"text": 1}, "text"), ({"group": "a b"}, "group"), ({"attachments": {}}, "attachments"), ({"bbc": "x"}, "email")])
def test_a_field_of_the_wrong_kind_is_named(server, change, field):
    problem = assert_problem(server.post(PATH, json={**EMAIL, **change}), 400)
    assert problem["field"].startswith(field), problem


def test_an_email_needs_a_sender_a_recipient_and_something_to_say(server):
    for missing, field in (("from", "from"), ("to", "to")):
        problem = assert_problem(server.post(PATH, json={k: v for k, v in EMAIL.items() if k != missing}), 400)
        assert problem["field"] == field
    assert_problem(server.post(PATH, json={k: v for k, v in EMAIL.items() if k not in ("text", "html")}), 400)


def test_the_largest_email_is_that_of_a_message(server):
    """41,943,040 bytes unless set otherwise; this one has 44 MB as it is rendered."""
    big = {"filename": "a.bin", "contentType": "application/octet-stream", "content": "QUFB" * 11_000_000}
    assert assert_problem(server.post(PATH, json={**EMAIL, "attachments": [big]}), 400)
    assert_problem(server.post(PATH, data="<email/>", headers={"Content-Type": "text/xml"}), 415)


@pytest.mark.parametrize("path, base, name", [
    (PATH, EMAIL, "group"), (PATH, EMAIL, "deduplicationId"),
    ("/v1/pools/emails.fifo/messages", {"group": "g", "body": "b"}, "group"),
    ("/v1/pools/emails.fifo/messages", {"group": "g", "body": "b"}, "deduplicationId")])
def test_an_id_that_is_none_is_told_why(server, path, base, name):
    for value, told in (("", "0 bytes"), ("x" * 129, "129 bytes"), ("secret id", "byte 7 of 9 is a space"),
                        ("ab\u0007", "byte 3 of 3 is a control character"), ("aé", "byte 2 of 3 is not ASCII")):
        detail = assert_problem(server.post(path, json={**base, name: value}), 400, name)["detail"]
        assert told in detail and "secret" not in detail, detail
        assert ("bytes" in detail) == ("bytes" in told), f"the length is not what is wrong: {detail}"


def test_a_message_that_is_none_is_told_why(server):
    path = "/v1/pools/emails.fifo/messages"
    for change, field, told in (
            ({"body": "secrét\u0001"}, "body", "byte 8 of 8"), ({"body": "secret\uffff."}, "body", "byte 7 of 10"),
            ({"attributes": {f"a{i}": "v" for i in range(300)}}, "attributes", "300")):
        detail = assert_problem(server.post(path, json={"group": "g", "body": "b", **change}), 400, field)["detail"]
        assert told in detail and "secr" not in detail, detail
