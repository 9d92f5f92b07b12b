# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""An error tells places and sizes, never what it was sent: names, ids and values of a request may be anybody's data, and
errors end in logs. A marker goes to every place of every request that can be wrong."""

import json
from urllib.parse import urlencode

import pytest
from conftest import Server
from test_hostile import POOL, REST, doors, paths, replaced

MARKER = "zqmarker"
ODD = [MARKER, MARKER + "\0", MARKER + " ü", MARKER * 40, [MARKER], {MARKER: MARKER}, {MARKER: {MARKER: MARKER}},
       MARKER + ".fifo", f"arn:aws:sqs:us-east-1:000000000000:{MARKER}.fifo",
       json.dumps({"deadLetterTargetArn": MARKER, "maxReceiveCount": MARKER})]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("echo"))
    yield server
    server.stop()


def quiet(answer, sent):
    """Whether an answer's errors keep what was sent to themselves."""
    said = answer.text + str(dict(answer.headers)) if answer.status_code >= 400 else ""
    if answer.status_code == 200 and answer.headers["Content-Type"].startswith("application/x-amz-json"):
        # The Id of an entry is how its sender knows it.
        said = json.dumps([{**entry, "Id": ""} for entry in answer.json().get("Failed", [])])
    assert MARKER not in said.lower(), f"{sent!r} is answered by {said}"


def objects(value):
    """Paths of the objects in a value."""
    for path in paths(value):
        part = value
        for key in path:
            part = part[key]
        if isinstance(part, dict):
            yield path, part


def changed(body):
    """A request with the marker for each value, as a further member, and as the name of each member."""
    for path in paths(body):
        for odd in ODD:
            yield replaced(body, path, odd)
    for path, part in objects(body):
        for odd in ODD:
            yield replaced(body, path, {**part, MARKER: odd})
        for key in part:
            yield replaced(body, path, {MARKER if name == key else name: value for name, value in part.items()})


def test_no_error_repeats_a_part_of_its_request(server):
    for post, body in doors():
        for sent in changed(body):
            quiet(post(server, json.dumps(sent)), sent)
            if isinstance(sent, dict):
                line = json.dumps(sent)
                quiet(post(server, line[:-1] + f',"{MARKER}": {MARKER}}}'), line)


ARN = "arn:aws:sqs:us-east-1:000000000000:emails.fifo"
MORE = {
    "CreateQueue": [{"QueueName": POOL, "Attributes": {"FifoQueue": "true", "VisibilityTimeout": MARKER}},
                    {"QueueName": f"{MARKER}.fifo", "Attributes": {"FifoQueue": MARKER}},
                    {"QueueName": f"{MARKER}.fifo", "Attributes": {"FifoQueue": "true", MARKER: "1"}},
                    {"QueueName": f"{MARKER}-0000.fifo", "Attributes": {"FifoQueue": "true"}, "tags": {"queuepool:shards": MARKER}},
                    {"QueueName": f"{MARKER}.fifo", "Attributes": {"FifoQueue": "true", "RedrivePolicy": json.dumps(
                        {"deadLetterTargetArn": f"{ARN}{MARKER}.fifo", "maxReceiveCount": 3})}},
                    {"QueueName": f"{MARKER}.fifo", "Attributes": {"FifoQueue": "true", "RedrivePolicy": json.dumps(
                        {"deadLetterTargetArn": ARN, "maxReceiveCount": MARKER})}}],
    "GetQueueAttributes": [{"QueueUrl": POOL, "AttributeNames": [MARKER]}, {"QueueUrl": MARKER}],
    "ReceiveMessage": [{"QueueUrl": POOL, "MessageSystemAttributeNames": [MARKER]},
                       {"QueueUrl": POOL, "ReceiveRequestAttemptId": MARKER + " "}],
    "SendMessage": [{"QueueUrl": POOL, "MessageBody": "b", "MessageGroupId": "g", "MessageDeduplicationId": "d", **more}
                    for more in ({"MessageGroupId": MARKER + " "}, {"MessageDeduplicationId": MARKER * 20},
                                 {"MessageAttributes": {MARKER: {"DataType": "Number", "StringValue": "x"}}},
                                 {"MessageAttributes": {"aws." + MARKER: {"DataType": "String", "StringValue": "x"}}},
                                 {"MessageAttributes": {MARKER: {"DataType": MARKER, "StringValue": "x"}}},
                                 {"MessageSystemAttributes": {MARKER: {"DataType": "String", "StringValue": "x"}}})],
    "DeleteMessage": [{"QueueUrl": POOL, "ReceiptHandle": MARKER}],
    "ChangeMessageVisibility": [{"QueueUrl": POOL, "ReceiptHandle": MARKER, "VisibilityTimeout": 1}],
    "SendMessageBatch": [{"QueueUrl": POOL, "Entries": [{"Id": MARKER, "MessageBody": "b"}] * 2},
                         {"QueueUrl": POOL, "Entries": [{"Id": MARKER + " ", "MessageBody": "b"}]}],
    "ListQueues": [{"NextToken": MARKER, "MaxResults": MARKER}],
    "StartMessageMoveTask": [{"SourceArn": ARN + MARKER}, {"SourceArn": MARKER, "DestinationArn": MARKER}],
    "CancelMessageMoveTask": [{"TaskHandle": MARKER}],
    MARKER: [{}],
}


@pytest.mark.parametrize("action", list(MORE))
def test_no_error_of_sqs_repeats_a_part_of_its_request(server, action):
    for body in MORE[action]:
        quiet(server.action(action, body), (action, body))


@pytest.mark.parametrize("form", [
    {"Action": MARKER}, {"Action": "SendMessage", "Version": MARKER}, {"Action": "SendMessage", "QueueUrl": MARKER},
    [("Action", "ListQueues"), (MARKER, "1"), (MARKER, "2")], {"Action": "ReceiveMessage", "MaxNumberOfMessages": MARKER},
    {"Action": "GetQueueAttributes", "QueueUrl": POOL, f"AttributeName.0{MARKER}": "All", "AttributeName.01": "x"},
    {"Action": "CreateQueue", "QueueName": f"{MARKER}.fifo", "Attribute.1.Name": MARKER, "Attribute.1.Value": "1"},
    {"Action": "CreateQueue", "QueueName": f"{MARKER}.fifo", "Attribute.1.Name": MARKER, "Attribute.1.Value": "1",
     "Attribute.2.Name": MARKER, "Attribute.2.Value": "1"},
])
def test_no_error_of_the_query_protocol_repeats_a_part_of_its_request(server, form):
    answer = server.post("/", data=urlencode({"Version": "2012-11-05", **form} if isinstance(form, dict) else form),
                         headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status_code >= 400
    quiet(answer, form)


@pytest.mark.parametrize("method, path, headers", [
    ("GET", f"/{MARKER}", {}), ("GET", f"/v1/pools/{MARKER}.fifo", {}), ("POST", f"/v1/pools/{MARKER}/messages", {}),
    ("DELETE", f"/v1/pools/{MARKER}.fifo", {}), (MARKER.upper(), REST, {}), ("POST", REST, {"Content-Type": MARKER}),
    ("POST", REST, {"Content-Type": "application/json", "Idempotency-Key": MARKER + " ü".encode().decode("latin-1")}),
    ("GET", "/", {"Origin": f"http://{MARKER}"}), ("GET", "/v1/pools", {"Host": MARKER}), ("GET", f"/v1/pools?{MARKER}=1", {}),
    ("POST", f"/000000000000/{MARKER}.fifo", {"Content-Type": "application/x-www-form-urlencoded"}),
    ("POST", f"/{MARKER}/x", {"Content-Type": "application/x-www-form-urlencoded"}),
])
def test_no_error_repeats_a_path_a_method_or_a_header(server, method, path, headers):
    quiet(server.session.request(method, server.url + path, headers=headers, data=b"", timeout=20), (method, path, headers))
