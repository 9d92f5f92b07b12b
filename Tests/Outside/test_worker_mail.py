# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Mail over SMTP as a mail server sees it: many at a time, slow servers waited for, recipients by their own answers."""

import asyncio
import contextlib
import email
import email.policy
import json
import socket
import threading
import uuid

import pytest
from aiosmtpd.controller import Controller
from conftest import free_port, wait_until

POOL = "emails.fifo"


class Provider:
    """A mail server that counts. `answer(address, tries)` is what a recipient is told, `data(number)` the seconds
    before the answer to the final dot and that answer."""

    def __init__(self, answer=None, data=None):
        self.answer = answer or (lambda address, tries: "250 OK")
        self.data = data or (lambda number: (0, "250 OK"))
        self.lock, self.mails, self.tries = threading.Lock(), [], {}
        self.dots = self.now = self.most = self.sessions = 0

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        self.sessions += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(self, server, session, envelope, address, options):
        self.tries[address] = self.tries.get(address, 0) + 1
        said = self.answer(address, self.tries[address])
        if said.startswith("2"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server, session, envelope):
        self.dots += 1
        self.now += 1
        self.most = max(self.most, self.now)
        seconds, said = self.data(self.dots)
        await asyncio.sleep(seconds)
        self.now -= 1
        if said.startswith("2"):
            with self.lock:
                self.mails.append((list(envelope.rcpt_tos), envelope.original_content))
        return said

    @property
    def received(self):
        """Everybody who got a mail, once for each."""
        with self.lock:
            return sorted(address for recipients, _ in self.mails for address in recipients)


@contextlib.contextmanager
def provider(answer=None, data=None, **options):
    handler = Provider(answer, data)
    controller = Controller(handler, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    handler.url = f"smtp://127.0.0.1:{controller.port}?tls=off"
    try:
        yield handler
    finally:
        controller.stop()


@pytest.fixture
def work(server, workers):
    """Starts a worker for some targets. The pool is emptied first."""
    server.post(f"/v1/pools/{POOL}/purge")
    server.post("/v1/pools/emails-dlq.fifo/purge")

    def start(*targets, options=()):
        deliver = [word for target in targets for word in ("--deliver", target)]
        return workers(*deliver, *options, endpoint=server.url)

    return start


def post(server, **more):
    base = {"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": "t"}
    answer = server.post(f"/v1/pools/{POOL}/emails", json={**base, **more})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def is_empty(server):
    pool = server.pool(POOL)
    return pool["backlog"] + pool["inFlight"] + pool["delayed"] == 0


def test_mails_of_many_groups_are_handed_over_side_by_side(server, work):
    ids = [post(server, group=f"g{i}") for i in range(60)]
    with provider(data=lambda number: (0.15, "250 OK")) as mail:
        worker = work(mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert len(mail.mails) == 60
    assert sorted(sum(id.encode() in raw for _, raw in mail.mails) for id in ids) == [1] * 60, "each mail once"
    assert mail.most > 20, f"{mail.most} at a time"
    assert mail.sessions <= 60


def test_connections_are_used_again(server, work):
    for i in range(30):
        post(server, group="g")
    with provider() as mail:
        worker = work(mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert len(mail.mails) == 30 and mail.sessions == 1


def test_a_server_that_takes_its_time_gets_each_mail_once(server, work):
    """Longer than any visibility timeout that is not extended, and longer than a minute, which servers may take to
    answer the final dot (RFC 5321, 4.5.3.2.6)."""
    count = 6
    with provider(data=lambda number: (63 if number == 1 else 13, "250 OK")) as mail:
        for i in range(count):
            post(server, group=f"g{i}")
        worker = work(mail.url, options=("--visibility-seconds", "10"))
        wait_until(lambda: is_empty(server), 110, "an empty pool")
        worker.stop()
    assert mail.dots == count, "nothing was handed over twice"
    assert len(mail.mails) == count


def given_up(server):
    """The dead letters' reasons, error classes and recipients."""
    return [{name.removeprefix("queuepool."): value.get("StringValue") for name, value in
             message.get("MessageAttributes", {}).items() if name.startswith("queuepool.")}
            for message in server.drain("emails-dlq.fifo")]


def test_one_bad_recipient_does_not_keep_the_mail_from_the_others(server, work):
    def answer(address, tries):
        if address.startswith("never"):
            return "550 no such mailbox"
        return "451 not now" if address.startswith("later") and tries == 1 else "250 OK"

    with provider(answer) as mail:
        post(server, to=["never@example.com", "one@example.com"], cc="later@example.com", bcc="two@example.com")
        worker = work(mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert mail.received == ["later@example.com", "one@example.com", "two@example.com"]
    assert mail.tries == {"never@example.com": 1, "one@example.com": 1, "two@example.com": 1, "later@example.com": 2}
    [reason] = given_up(server)
    assert reason["reason"] == "recipients-refused" and reason["error-class"] == "smtp-550"
    assert reason["recipients"] == "0"
    assert "example.com" not in worker.text()


def test_a_mail_that_is_larger_than_a_server_takes_is_given_up_before_its_bytes_are_sent(server, work):
    """MAIL says how large it is (RFC 1870). Another server is not asked, since the refusal is for good; what follows in
    the group goes out."""
    with provider(data_size_limit=1_000) as mail, provider() as second:
        post(server, group="g", to="first@example.com")
        post(server, group="g", to="large@example.com", text="line\n" * 1_000)
        post(server, group="g", to="last@example.com")
        worker = work(mail.url, second.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert mail.received == ["first@example.com", "last@example.com"] and second.sessions == 0
    assert mail.sessions <= 2, "libcurl leaves a connection only when a mail was refused"
    assert "large@example.com" not in mail.tries, "no recipient was named, so that no mail followed"
    [reason] = given_up(server)
    assert (reason["reason"], reason["error-class"]) == ("permanent-failure", "smtp-552")
    assert reason["attempts"] == "1"


@pytest.mark.parametrize("answers, reason", [
    (["550 no", "551 no"], ("permanent-failure", "smtp-550")),
    (["550 no", "451 not now"], ("attempts-exhausted", "smtp-451")),
])
def test_a_mail_that_no_recipient_gets_is_given_up_by_what_they_were_told(server, work, answers, reason):
    with provider(lambda address, tries: answers[int(address[1])]) as mail:
        post(server, to=["n0@example.com", "n1@example.com"])
        worker = work(mail.url, options=("--max-attempts", "2"))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert mail.mails == []
    [found] = given_up(server)
    assert (found["reason"], found["error-class"]) == reason


@pytest.mark.parametrize("value, received", [
    ("0,2", "ac"), ("1", "b"), ("7", "abc"), ("x", "abc"), ("-1", "abc"), ("", "abc"), ("1,1", "abc"), ("1, 2", "abc"),
])
def test_a_message_may_name_those_of_its_recipients_who_are_still_to_get_it(server, work, sqs, value, received):
    body = {"from": "s@example.com", "to": [f"{letter}@example.com" for letter in "abc"], "subject": "s", "text": "t"}
    attributes = {"Content-Type": "application/vnd.queuepool.email+json"}
    if value:
        attributes["queuepool.recipients"] = value
    sqs.send_message(
        QueueUrl=sqs.get_queue_url(QueueName=POOL)["QueueUrl"], MessageBody=json.dumps(body), MessageGroupId="g",
        MessageDeduplicationId=uuid.uuid4().hex,
        MessageAttributes={name: {"DataType": "String", "StringValue": text} for name, text in attributes.items()})
    with provider() as mail:
        worker = work(mail.url)
        wait_until(lambda: mail.mails and is_empty(server), 60, "an empty pool")
        worker.stop()
    assert mail.received == [f"{letter}@example.com" for letter in received]


def test_the_second_provider_takes_what_the_first_is_away_for(server, work):
    ids = [post(server, group=f"g{i % 4}") for i in range(12)]
    with provider() as mail:
        worker = work(f"smtp://127.0.0.1:{free_port()}?tls=off", mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert sorted(sum(id.encode() in raw for _, raw in mail.mails) for id in ids) == [1] * 12
    assert given_up(server) == []


@contextlib.contextmanager
def raw_provider(replies):
    """A mail server that says what it is told to by the first word of a command, `GREETING` and `DOT` among them; at an
    empty text it hangs up. Counts the mails that it was given wholly."""
    usual = {"GREETING": "220 here", "DATA": "354 go", "QUIT": "221 bye"}
    given, listener = [], socket.create_server(("127.0.0.1", 0))

    def serve(connection):
        with connection, connection.makefile("rwb") as stream:
            word = "GREETING"
            while word:
                if word == "DOT":
                    given.append(1)
                said = replies(word, len(given)) if replies(word, len(given)) is not None else usual.get(word, "250 OK")
                if not said:
                    return
                stream.write(said.encode() + b"\r\n")
                stream.flush()
                if word == "DATA" and said.startswith("354"):
                    while (line := stream.readline()) not in (b".\r\n", b""):
                        pass
                    word = "DOT" if line else ""
                else:
                    word = stream.readline().decode().split(" ")[0].strip().upper()

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"smtp://127.0.0.1:{listener.getsockname()[1]}?tls=off", given
    finally:
        listener.close()


@pytest.mark.parametrize("word, said", [
    ("GREETING", ""), ("GREETING", "421 busy"), ("GREETING", "554 not you"), ("EHLO", ""), ("MAIL", ""), ("DATA", ""),
    ("MAIL", "530 who are you"),
])
def test_a_provider_that_does_not_talk_with_us_is_passed_over(server, work, word, said):
    """Nothing was handed over, so that another may be asked, and the message is not to blame."""
    with provider() as mail, raw_provider(lambda found, given: said if found == word else None) as (first, given):
        post(server)
        worker = work(first, mail.url, options=("--max-attempts", "1"))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert given == [] and mail.received == ["b@example.com"]
    assert given_up(server) == []


def test_credentials_that_a_provider_refuses_are_not_the_mails_fault(server, work, tmp_path):
    (tmp_path / "password").write_text("secret")

    def replies(word, given):
        return {"EHLO": "250-here\r\n250 AUTH PLAIN", "AUTH": "535 5.7.8 no"}.get(word)

    with provider() as mail, raw_provider(replies) as (first, given):
        post(server)
        worker = work(first.replace("smtp://", "smtp://user@") + f"&password-file={tmp_path}/password", mail.url,
                      options=("--max-attempts", "1"))
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert given == [] and mail.received == ["b@example.com"] and given_up(server) == []
    assert "smtp-535" in worker.text() and "secret" not in worker.text()


def test_a_provider_whose_host_swallows_connections_is_passed_over(server, work):
    with provider() as mail, socket.create_server(("127.0.0.1", 0), backlog=0) as full, contextlib.ExitStack() as stack:
        # Connections that nobody accepts fill the line: what comes after gets no answer at all.
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        post(server)
        worker = work(f"smtp://127.0.0.1:{full.getsockname()[1]}?tls=off", mail.url)
        wait_until(lambda: mail.received, 100, "a mail at the second provider")
        wait_until(lambda: is_empty(server), 30, "an empty pool")
        worker.stop()
    assert mail.received == ["b@example.com"]


def test_a_mail_that_may_have_arrived_goes_to_no_other_provider(server, work):
    """The first time, the connection is lost where the answer to the whole mail was due."""
    with provider() as mail, raw_provider(
            lambda word, given: "" if word == "DOT" and given == 1 else None) as (first, given):
        post(server)
        worker = work(first, mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert len(given) == 2 and mail.mails == []


def test_a_worker_that_is_stopped_does_not_wait_for_a_silent_provider(server, work):
    with provider(data=lambda number: (40, "250 OK")) as mail:
        post(server)
        worker = work(mail.url, options=("--grace-seconds", "1"))
        wait_until(lambda: mail.now, 30, "a mail under way")
        worker.stop(20)


LONG = "https://example.com/unsubscribe?token=" + "0123456789abcdef" * 20
IDS = " ".join(f"<{'m' * 70}{i}@mail.example.com>" for i in range(20))


def test_headers_that_programs_read_arrive_as_they_were_sent(server, work):
    headers = {
        "List-Unsubscribe": f"<{LONG}>, <mailto:unsubscribe@example.com?subject={'s' * 80}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click", "References": IDS, "In-Reply-To": IDS.split()[0],
        "X-Token": "t" * 900, "X-Link": f"see {LONG} for more", "X-Looks-Encoded": "=?utf-8?q?no?=",
        "X-Name": "Zoë " * 30,
        "List-Id": "Grüße, Alle <news.example.com>", "List-Archive": "<https://example.com/ü>",
    }
    with provider() as mail:
        post(server, headers=headers)
        worker = work(mail.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    [(_, raw)] = mail.mails
    head = raw.split(b"\r\n\r\n")[0]
    assert head.isascii() and all(len(line) <= 998 for line in head.split(b"\r\n"))
    unfolded = head.decode().replace("\r\n ", " ").split("\r\n")
    for name in ("List-Unsubscribe", "List-Unsubscribe-Post", "References", "In-Reply-To", "X-Token", "X-Link"):
        assert f"{name}: {headers[name]}" in unfolded
    assert "List-Archive: <https://example.com/%C3%BC>" in unfolded
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert not message.defects
    for name, value in headers.items():
        if name not in ("List-Archive", "List-Id"):
            assert message[name].strip() == value.strip()
    assert message["List-Id"] == "Grüße , Alle <news.example.com>"


def test_what_one_provider_puts_off_another_takes_and_nobody_gets_it_twice(server, work):
    with provider(lambda address, tries: "451 not now" if "later" in address else "250 OK",
                  lambda number: (1, "250 OK")) as first, provider() as second:
        for i in range(4):
            post(server, group=f"g{i}", to=[f"one{i}@example.com", f"later{i}@example.com"])
        worker = work(first.url, second.url)
        wait_until(lambda: is_empty(server), 60, "an empty pool")
        worker.stop()
    assert first.received == [f"one{i}@example.com" for i in range(4)]
    assert second.received == [f"later{i}@example.com" for i in range(4)]
    assert given_up(server) == []
