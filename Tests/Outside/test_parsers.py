# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Input that is made to be expensive or ambiguous: it costs little, and is refused with its size or its place only."""

import json
import socket

import pytest

POOL = "emails.fifo"
PATH = f"/v1/pools/{POOL}/messages"
NDJSON = {"Content-Type": "application/x-ndjson"}
LINE_BYTES_MAX = 2 << 20
BODY_BYTES_MAX = 2 << 20
# Builds without optimization run the same number of steps, each some thirty times slower.
CPU_SECONDS_MAX = 3


def results(answer):
    assert answer.status_code == 200, answer.text[:300]
    return [json.loads(line) for line in answer.text.splitlines()]


def cpu_of(server, work):
    before = server.cpu_seconds()
    outcome = work()
    return outcome, server.cpu_seconds() - before


def spread(piece, count):
    """A body in chunks, so that nobody knows its length in advance."""
    for _ in range(count):
        yield piece


# MARK: lines

@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_without_end_is_one_error_and_no_memory(servers, name, end):
    server = servers(pools=(f"{POOL}=1",))
    before = server.status_bytes("VmHWM")

    def body():
        yield json.dumps({"group": name, "body": "first"}).encode() + b"\n\n"
        yield from spread(b"x" * (1 << 20), 16)
        yield end

    rows = results(server.post(PATH, data=body(), headers=NDJSON))
    assert [row["line"] for row in rows] == [1, 3]
    assert rows[1]["error"]["status"] == 413 and str(LINE_BYTES_MAX) in rows[1]["error"]["detail"]
    assert server.status_bytes("VmHWM") - before < 128 << 20
    server.stop()


def test_the_line_after_one_that_is_too_long_is_sent(server, name):
    good = json.dumps({"group": name, "body": "x"}).encode()
    rows = results(server.post(PATH, data=b"\n".join([good, b"y" * (LINE_BYTES_MAX + 2), good]), headers=NDJSON))
    assert [(row["line"], "error" in row) for row in rows] == [(1, False), (2, True), (3, False)]


def test_a_line_in_chunks_of_one_byte_costs_as_many_steps_as_it_has_bytes(server, name):
    def cost(count):
        line = json.dumps({"group": name, "body": "x" * count}).encode()
        chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in line) + b"0\r\n\r\n"
        head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/x-ndjson\r\n" \
               "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"

        def work():
            with socket.create_connection(("127.0.0.1", server.port), timeout=120) as client:
                client.sendall(head.encode() + chunks)
                answer = b""
                while piece := client.recv(65536):
                    answer += piece
            return answer

        answer, seconds = cpu_of(server, work)
        assert b" 200 " in answer.split(b"\r\n", 1)[0]
        return seconds

    cost(1_000)
    small, large = cost(10_000), cost(80_000)
    # Eight times the bytes; a rescan from the start would be sixty-four times the work.
    assert large < 24 * max(small, 0.05), (small, large)


def test_numbers_of_lines_count_blank_ones(server, name):
    good = json.dumps({"group": name, "body": "x"})
    rows = results(server.post(PATH, data=f"\n{good}\n\r\n  \n{{\n{good}", headers=NDJSON))
    assert [(row["line"], "error" in row) for row in rows] == [(2, False), (5, True), (6, False)]


# MARK: JSON

@pytest.mark.parametrize("literal", ["tru", "truE", "true1", "fals", "nul", "nulll", "True"])
@pytest.mark.parametrize("member", ["zz", "body", "delaySeconds", "attributes"])
def test_a_literal_is_whole_or_refused(server, name, literal, member):
    body = f'{{"group":"{name}","body":"x","{member}":{literal}}}'
    answer = server.post(PATH, data=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400 and answer.json()["type"].endswith(":malformed-json"), answer.text
    if member != "body":
        emails = f"/v1/pools/{POOL}/emails"
        body = f'{{"from":"a@b.example","to":"c@d.example","text":"x","{member}":{literal}}}'
        answer = server.post(emails, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400 and answer.json()["type"].endswith(":malformed-json"), answer.text


@pytest.mark.parametrize("member", [
    '"body":"secret-two"', '"group":"secret-two"', '"b\\u006fdy":"secret-two"', '"deduplicationId":"b"',
    '"attributes":{"secret":"1","\\u0073ecret":"2"}', '"attributes":{"s":{"type":"String","value":"a","value":"b"}}'])
def test_a_member_that_is_there_twice_is_refused_with_its_place(server, name, member):
    body = f'{{"group":"{name}","body":"x","deduplicationId":"{name}",{member}}}'
    json_type = {"Content-Type": "application/json"}
    answer = server.post(PATH, data=body, headers=json_type)
    assert answer.status_code == 400 and answer.json()["type"].endswith(":malformed-json"), answer.text
    assert "duplicateKey at byte " in answer.json()["detail"] and "secret" not in answer.text
    place = int(answer.json()["detail"].rsplit(" ", 1)[1])
    assert body[place] == '"'
    rows = results(server.post(PATH, data=body, headers=NDJSON))
    assert "duplicateKey" in rows[0]["error"]["detail"]
    answer = server.action(
        "SendMessage", f'{{"QueueUrl":"{POOL}","MessageBody":"a","MessageGroupId":"{name}","MessageBody":"secret"}}')
    assert answer.status_code == 400 and "duplicateKey" in answer.text and "secret" not in answer.text


# MARK: work

def email(**members):
    return json.dumps({"from": "a@b.example", "to": "c@d.example", "text": "x", **members}, ensure_ascii=False)


def names_of(bytes_each, count):
    return {f"{i:06}" + "N" * bytes_each: "v" for i in range(count)}


EXPENSIVE = {
    "headers of long names": email(headers={**names_of(30_000, 51), **names_of(10, 4_000)}),
    "headers of short names": email(headers=names_of(2, 100_000)),
    "names that combine": email(headers={"e" + "\u0301\u0316" * 400_000: "v", "f": "v"}),
    "unknown members": email(**names_of(4, 80_000)),
    "recipients": email(cc=["a@b.example"] * 90_000),
    "attachments": email(attachments=[{"filename": "f", "content": ""}] * 40_000),
    "one attachment": email(attachments=[{"filename": "f", "content": "QUJD" * 500_000}]),
    "nested objects": email(x=[{"a": {"b": {"c": 1}}}] * 60_000),
}


@pytest.mark.parametrize("kind", EXPENSIVE)
def test_an_email_costs_as_much_as_it_has_bytes(server, kind):
    body = EXPENSIVE[kind].encode()
    assert len(body) <= BODY_BYTES_MAX
    answer, seconds = cpu_of(server, lambda: server.post(
        f"/v1/pools/{POOL}/emails", data=body, headers={"Content-Type": "application/json"}))
    # The attachment makes it large, not wrong.
    assert answer.status_code == (202 if kind == "one attachment" else 400), answer.text[:300]
    assert "NNNN" not in answer.text
    assert seconds < CPU_SECONDS_MAX


def test_a_message_of_a_hundred_thousand_members_costs_as_much_as_it_has_bytes(server, name):
    body = json.dumps({"group": name, "body": "x", "attributes": names_of(2, 100_000)})
    answer, seconds = cpu_of(server, lambda: server.post(
        PATH, data=body, headers={"Content-Type": "application/json"}))
    assert answer.status_code == 400
    assert seconds < CPU_SECONDS_MAX


def test_a_body_in_small_pieces_does_not_have_its_head_read_again_for_each(server, name):
    """A head of 15 KB before a body that comes in thousands of packets."""
    body = json.dumps({"group": name, "body": "x" * 4_000}).encode()
    filler = "".join(f"X-{i:03}: {'h' * 10}\r\n" for i in range(800))
    head = f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: application/json\r\n{filler}" \
           f"Content-Length: {len(body)}\r\n\r\n"

    def work():
        with socket.create_connection(("127.0.0.1", server.port), timeout=60) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.sendall(head.encode())
            for byte in body:
                client.send(bytes([byte]))
            return client.recv(65536)

    answer, seconds = cpu_of(server, work)
    assert b" 202 " in answer.split(b"\r\n", 1)[0]
    assert seconds < CPU_SECONDS_MAX
