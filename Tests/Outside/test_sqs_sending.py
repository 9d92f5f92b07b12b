# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Sends through boto3: what is accepted, what is refused and how. boto3 itself compares the MD5 of each answer."""

import hashlib
import itertools
import struct

import pytest
from errors import fails, invalid_value, missing

_ids = itertools.count()


def send(sqs, url, body="hello", **more):
    options = {"MessageGroupId": "g", "MessageDeduplicationId": f"d{next(_ids)}", **more}
    return sqs.send_message(QueueUrl=url, MessageBody=body, **{k: v for k, v in options.items() if v is not None})


def entry(id, body="hello", **more):
    options = {"MessageGroupId": "g", "MessageDeduplicationId": f"e{next(_ids)}", **more}
    return {"Id": id, "MessageBody": body, **{k: v for k, v in options.items() if v is not None}}


def text(value, type="String"):
    return {"DataType": type, "StringValue": value}


def attributes_md5(attributes):
    """The published rule: sorted names, each part with its length, one byte for the kind of value."""
    digest = hashlib.md5()
    for name in sorted(attributes):
        value = attributes[name]
        binary = value["DataType"].startswith("Binary")
        raw = value["BinaryValue"] if binary else value["StringValue"].encode()
        for part, mark in ((name.encode(), b""), (value["DataType"].encode(), b"\2" if binary else b"\1"), (raw, b"")):
            digest.update(struct.pack(">I", len(part)) + part + mark)
    return digest.hexdigest()


def test_an_answer_names_the_message(sqs, queue):
    answer = send(sqs, queue, "grüße")
    assert len(answer["MessageId"]) == 36
    assert answer["MD5OfMessageBody"] == hashlib.md5("grüße".encode()).hexdigest()
    assert len(answer["SequenceNumber"]) == 20 and answer["SequenceNumber"].isdigit()
    assert "MD5OfMessageAttributes" not in answer


@pytest.mark.parametrize("escaped", [0b0000000000, 0b1111111111, 0b0101010101, 0b1110001000])
def test_a_batch_with_and_without_escapes_has_the_md5s_of_its_bodies(sqs, queue, escaped):
    """Bodies that end about the borders of an MD5's blocks; what is not ASCII is escaped by boto3."""
    lengths = [1, 55, 56, 57, 63, 64, 119, 120, 300, 5000]
    bodies = ["0123456789abcdef" * (n // 16) + "x" * (n % 16) for n in lengths]
    bodies = [("漢" + body[3:] if len(body) > 3 else "\t") if escaped >> place & 1 else body
              for place, body in enumerate(bodies)]
    entries = [entry(str(place), body, MessageGroupId=f"g{place}") for place, body in enumerate(bodies)]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert "Failed" not in answer
    md5s = [hashlib.md5(body.encode()).hexdigest() for body in bodies]
    assert {e["Id"]: e["MD5OfMessageBody"] for e in answer["Successful"]} == {
        str(place): md5 for place, md5 in enumerate(md5s)}
    found = []
    while len(found) < len(bodies):
        got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5).get("Messages", [])
        assert got, f"only {len(found)} came back"
        found += [(message["MD5OfBody"], message["Body"]) for message in got]
    assert sorted(found) == sorted(zip(md5s, bodies))


def test_sequence_numbers_grow(sqs, queue):
    numbers = [send(sqs, queue)["SequenceNumber"] for _ in range(20)]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("attributes, md5", [
    ({"k": text("x")}, "a45daa70926828a2f0a1db3418e6feb4"),
    ({"General": text("Kenobi"), "Hello": text("There"), "Help.Me": text("Me")}, "4c360f3fdafd970e05fae2f149d997f5"),
    ({"attr1": {"DataType": "Binary",
                "BinaryValue": b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01"}},
     "8cbe4db156db8a94db8b801b7addb984")])
def test_md5_of_attributes_equals_the_published_vectors(sqs, queue, attributes, md5):
    assert attributes_md5(attributes) == md5
    assert send(sqs, queue, MessageAttributes=attributes)["MD5OfMessageAttributes"] == md5


def test_md5_of_the_trace_header_equals_the_published_vector(sqs, queue):
    trace = text("Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1")
    answer = send(sqs, queue, MessageSystemAttributes={"AWSTraceHeader": trace})
    assert answer["MD5OfMessageSystemAttributes"] == "5ae4d5d7636402d80f4eb6d213245a88"


def test_only_the_trace_header_is_a_system_attribute_of_a_send(sqs, queue):
    with invalid_value():
        send(sqs, queue, MessageSystemAttributes={"Other": text("x")})


def test_what_a_send_lacks_is_named(sqs, queue):
    with missing("MessageBody"):
        send(sqs, queue, "")
    with missing("MessageGroupId"):
        send(sqs, queue, MessageGroupId=None)
    with invalid_value("ContentBasedDeduplication"):
        send(sqs, queue, MessageDeduplicationId=None)


@pytest.mark.parametrize("id", ["", "x" * 129, "with blank", "ümlaut", "tab\t"])
@pytest.mark.parametrize("parameter", ["MessageGroupId", "MessageDeduplicationId"])
def test_ids_are_1_to_128_printable_ascii_characters(sqs, queue, parameter, id):
    with invalid_value(parameter):
        send(sqs, queue, **{parameter: id})


def test_ids_may_have_any_punctuation_and_128_characters(sqs, queue):
    for id in ("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "x" * 128):
        send(sqs, queue, MessageGroupId=id, MessageDeduplicationId=id)


def test_a_fifo_message_has_no_delay_of_its_own(sqs, queue):
    with invalid_value("DelaySeconds"):
        send(sqs, queue, DelaySeconds=2)
    send(sqs, queue, DelaySeconds=0)


@pytest.mark.parametrize("character", ["\x00", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_characters_outside_xml_are_refused(sqs, queue, character):
    with fails("InvalidMessageContents"):
        send(sqs, queue, "a" + character)
    with invalid_value():
        send(sqs, queue, MessageAttributes={"a": text(character)})


def test_all_other_characters_come_back_as_they_were(sqs, queue):
    body = "\t\n\r \u00e4\ud7ff\ue000\ufffd\U00010000\U0010ffff <&>\"'\\/ \u2028"
    send(sqs, queue, body)
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == body


def test_the_largest_message_is_the_limit_of_its_queue_with_its_attributes(sqs, queue):
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MaximumMessageSize": "1048575"})
    with invalid_value("shorter than 1048575 bytes"):
        send(sqs, queue, "x" * 1_048_576)
    with invalid_value("shorter than"):
        send(sqs, queue, "x" * (1_048_575 - 7), MessageAttributes={"a": text("b")})
    body = "y" * (1_048_575 - 8)
    send(sqs, queue, body, MessageAttributes={"a": text("b")})
    assert sqs.receive_message(QueueUrl=queue)["Messages"][0]["Body"] == body


def test_a_queue_may_set_a_smaller_limit(sqs, queue):
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"MaximumMessageSize": "1024"})
    with invalid_value("shorter than 1024 bytes"):
        send(sqs, queue, "x" * 1_025)
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=[
        entry("big", "x" * 1_025, MessageGroupId="other"), entry("ok", "x" * 1_024)])
    assert [e["Id"] for e in answer["Successful"]] == ["ok"]
    failed = answer["Failed"][0]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("big", "InvalidParameterValue", True)


@pytest.mark.parametrize("bad", ["AWS.x", "amazon.x", ".x", "x.", "a" * 257, 'q"', "b!"])
def test_bad_names_of_attributes_are_refused(sqs, queue, bad):
    with invalid_value():
        send(sqs, queue, MessageAttributes={bad: text("v")})


@pytest.mark.parametrize("value", [text(""), text("x", "Text"), text("x", ""), text("one", "Number")])
def test_bad_values_of_attributes_are_refused(sqs, queue, value):
    with invalid_value():
        send(sqs, queue, MessageAttributes={"a": value})


def test_ten_attributes_are_allowed(sqs, queue):
    send(sqs, queue, MessageAttributes={f"a{i}": text("1", "Number.int") for i in range(10)})
    with invalid_value("11"):
        send(sqs, queue, MessageAttributes={f"a{i}": text("v") for i in range(11)})


# Batches


def test_a_batch_is_answered_by_entry_and_stored_in_order(sqs, queue):
    entries = [entry(f"id_{i}", f"b{i}") for i in range(10)]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [e["Id"] for e in answer["Successful"]] == [f"id_{i}" for i in range(10)]
    assert "Failed" not in answer
    got = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    assert [m["Body"] for m in got] == [f"b{i}" for i in range(10)]
    assert [m["MessageId"] for m in got] == [e["MessageId"] for e in answer["Successful"]]


def test_a_spoilt_entry_fails_with_its_group_alone(sqs, queue):
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=[
        entry("a", "1"), entry("bad", "\x00", MessageGroupId="other"), entry("c", "3"),
        entry("number", MessageAttributes={"n": text("one", "Number")})])
    assert [e["Id"] for e in answer["Successful"]] == ["a", "c"]
    codes = {e["Id"]: (e["Code"], e["SenderFault"]) for e in answer["Failed"]}
    assert codes == {"bad": ("InvalidMessageContents", True), "number": ("InvalidParameterValue", True)}
    assert [m["Body"] for m in sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]] == ["1", "3"]


def batch_error(code):
    return fails("AWS.SimpleQueueService." + code, code)


def test_what_spoils_a_whole_batch(sqs, queue):
    def batch(*entries):
        return sqs.send_message_batch(QueueUrl=queue, Entries=list(entries))

    with batch_error("EmptyBatchRequest"):
        batch()
    with batch_error("TooManyEntriesInBatchRequest"):
        batch(*[entry(str(i)) for i in range(11)])
    with batch_error("BatchEntryIdsNotDistinct"):
        batch(entry("one"), entry("two"), entry("two"))
    for id in ("", "with blank", "ü", "x" * 81):
        with batch_error("InvalidBatchEntryId"):
            batch(entry(id))
    with batch_error("BatchRequestTooLong"):
        batch(*[entry(str(i), "x" * 104_858) for i in range(10)])
    with invalid_value("MessageGroupId"):
        batch(entry("a"), entry("b", MessageGroupId=None))
    with invalid_value("ContentBasedDeduplication"):
        batch(entry("a"), entry("b", MessageDeduplicationId=None))
    assert "Messages" not in sqs.receive_message(QueueUrl=queue), "a refused batch stores nothing"
