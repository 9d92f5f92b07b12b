# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The Query protocol: forms in, XML out. An SDK from before the JSON protocol passes the tests that the current one
does; what no SDK sends is sent by hand."""

import base64
import random
import socket
import subprocess
import sys
import uuid
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from conftest import ROOT, clean_environment

HERE = Path(__file__).parent
NAMESPACE = "{http://queue.amazonaws.com/doc/2012-11-05/}"
VERSION = {"Version": "2012-11-05"}


@pytest.fixture(scope="session")
def old_python():
    """A Python with boto3 from before the JSON protocol."""
    home = ROOT / ".build/venv-query"
    if not (home / "bin/pip").exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    subprocess.run([home / "bin/pip", "install", "-q", "--disable-pip-version-check", "-r",
                    HERE / "requirements-query.txt"], check=True)
    return home / "bin/python"


@pytest.mark.parametrize("file", ["fifo", "queues", "receiving", "sending"])
def test_an_old_client_passes_the_tests_of_a_current_one(old_python, file):
    done = subprocess.run(
        [old_python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", HERE / f"test_sqs_{file}.py"],
        capture_output=True, text=True, timeout=300, env=clean_environment(), cwd=ROOT)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


class Answered:
    """An answer's XML by local names."""

    def __init__(self, answer):
        assert answer.headers["Content-Type"].startswith("text/xml"), answer.text[:300]
        self.status, self.headers = answer.status_code, answer.headers
        self.root = ElementTree.fromstring(answer.content)
        assert all(element.tag.startswith(NAMESPACE) for element in self.root.iter())
        self.name = self.root.tag.removeprefix(NAMESPACE)
        uuid.UUID(self("RequestId"))

    def all(self, name):
        return [element.text or "" for element in self.root.iter(NAMESPACE + name)]

    def __call__(self, name):
        found = self.all(name)
        assert len(found) == 1, (name, ElementTree.tostring(self.root))
        return found[0]


def post(server, action, path="/", headers=None, **parameters):
    return Answered(server.post(
        path, data={"Action": action, **VERSION, **{k.replace("_", "."): v for k, v in parameters.items()}},
        headers=headers))


def get(server, action, path="/", **parameters):
    return Answered(server.get(
        path, params={"Action": action, **VERSION, **{k.replace("_", "."): v for k, v in parameters.items()}}))


def path_of(url):
    return "/" + url.split("/", 3)[3]


def assert_error(answer, code, status=400, text=None):
    assert (answer.status, answer.name) == (status, "ErrorResponse")
    assert (answer("Code"), answer("Type"), answer("Detail")) == (code, "Sender", "")
    assert not text or text in answer("Message"), answer("Message")


@pytest.mark.parametrize("call", [post, get])
def test_a_message_goes_and_comes_at_the_queues_own_url(server, queue, call):
    path = path_of(queue)
    sent = call(server, "SendMessage", path, MessageBody="a\r\n<&>\u00fc+ %", MessageGroupId="g",
                MessageDeduplicationId="1", MessageAttribute_1_Name="b", MessageAttribute_1_Value_DataType="Binary",
                MessageAttribute_1_Value_BinaryValue=base64.b64encode(b"\0\xff").decode(),
                MessageSystemAttribute_1_Name="AWSTraceHeader", MessageSystemAttribute_1_Value_DataType="String",
                MessageSystemAttribute_1_Value_StringValue="Root=1")
    assert (sent.status, sent.name) == (200, "SendMessageResponse")
    assert sent.headers["x-amzn-RequestId"] == sent("RequestId")
    got = call(server, "ReceiveMessage", path, MessageAttributeName_1="All",
               MessageSystemAttributeName_2="SequenceNumber", MessageSystemAttributeName_1="AWSTraceHeader")
    assert got("Body") == "a\r\n<&>\u00fc+ %"
    assert got("MessageId") == sent("MessageId")
    assert got("MD5OfMessageAttributes") == sent("MD5OfMessageAttributes")
    assert base64.b64decode(got("BinaryValue")) == b"\0\xff"
    assert sorted(got.all("Name")) == ["AWSTraceHeader", "SequenceNumber", "b"]
    assert call(server, "ReceiveMessage", path).all("Message") == []
    gone = call(server, "DeleteMessage", path, ReceiptHandle=got("ReceiptHandle"))
    assert [element.tag for element in gone.root] == [NAMESPACE + "ResponseMetadata"]


def test_both_protocols_share_one_connection_and_one_queue(server, queue):
    entry = {"Id": "a", "MessageBody": "x", "MessageGroupId": "g", "MessageDeduplicationId": "1"}
    assert server.answer("SendMessageBatch", {"QueueUrl": queue, "Entries": [entry]})["Successful"]
    got = post(server, "ReceiveMessage", QueueUrl=queue)
    handle = got("ReceiptHandle")
    assert "Failed" not in server.answer(
        "DeleteMessageBatch", {"QueueUrl": queue, "Entries": [{"Id": "0", "ReceiptHandle": handle}]})


def test_a_signature_is_not_asked_for_and_not_looked_at(server):
    for headers in ({}, {"Authorization": "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/sqs/aws4_request"}):
        assert post(server, "ListQueues", headers=headers).status == 200
    assert get(server, "ListQueues", **{"X-Amz-Signature": "00", "AWSAccessKeyId": "x"}).status == 200
    assert Answered(server.post("/?Action=ListQueues", data={"MaxResults": "1"})).status == 200


def test_an_explicit_queue_wins_over_the_path(server, queue, name):
    absent = "/000000000000/absent.fifo"
    assert post(server, "GetQueueAttributes", absent, QueueUrl=queue, AttributeName_1="All").all("Value")
    assert_error(post(server, "PurgeQueue", absent), "AWS.SimpleQueueService.NonExistentQueue",
                 text="for this wsdl version")


def test_what_is_no_request_is_told_in_xml(server, queue):
    assert_error(post(server, "FooBar"), "InvalidAction", text="The action (6 bytes) is not valid for this endpoint.")
    assert_error(get(server, "FooBar"), "InvalidAction")
    for action in ("CreateQueue", "ListQueues"):
        assert_error(get(server, action, path_of(queue)), "InvalidAction", text=f"({len(action)} bytes)")
    for path in ("/a/b/c/d", "/a/b", "/000000000000/a/b", "/nothing"):
        assert_error(post(server, "ListQueues", path), "InvalidAddress", 404)
        assert_error(get(server, "ListQueues", path), "InvalidAddress", 404)
    for answer in (server.get(path_of(queue)), server.post("/", data={"a": "b"})):
        assert answer.status_code == 404
        assert "<UnknownOperationException" in answer.text
    assert_error(post(server, "SendMessage", QueueUrl=queue), "MissingParameter", text="MessageBody")
    assert_error(post(server, "DeleteMessage"), "MissingParameter", text="QueueUrl")
    assert_error(post(server, "SendMessageBatch", QueueUrl=queue), "AWS.SimpleQueueService.EmptyBatchRequest")
    assert_error(post(server, "ReceiveMessage", QueueUrl=queue, WaitTimeSeconds="soon"), "InvalidParameterValue")
    assert_error(post(server, "SendMessage", QueueUrl=queue, MessageBody="x", MessageGroupId="g",
                      MessageAttribute_1_Name="b", MessageAttribute_1_Value_DataType="Binary",
                      MessageAttribute_1_Value_BinaryValue="?"), "InvalidParameterValue", text="base64")


def test_a_parameter_that_comes_twice_is_refused(server, queue):
    answer = Answered(server.post("/", data=[("Action", "PurgeQueue"), ("QueueUrl", queue), ("QueueUrl", "other")]))
    assert_error(answer, "InvalidParameterValue", text="comes more than once")


def test_the_largest_message_may_be_escaped_whole(server, queue):
    body = "%26" * (1 << 20)
    form = f"Action=SendMessage&QueueUrl={queue}&MessageGroupId=g&MessageDeduplicationId=1&MessageBody={body}"
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert Answered(server.post("/", data=form, headers=headers)).status == 200
    assert post(server, "ReceiveMessage", QueueUrl=queue)("Body") == "&" * (1 << 20)
    # Chunked, and more than is taken.
    answer = Answered(server.post("/", data=iter([form.encode()] * 40), headers=headers))
    assert_error(answer, "RequestEntityTooLarge", 413)


def test_no_form_ends_the_server(server, queue):
    seed = random.randrange(1 << 32)
    random_ = random.Random(seed)
    words = ["Action=", "SendMessageBatch", "ReceiveMessage", "SendMessageBatchRequestEntry.", "1", "0", ".", "&", "=",
             "%", "%00", "%ff", "+", "Id", "MessageAttribute.1.", "Value.", "DataType", "QueueUrl=", queue, "99999999999"]
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    for _ in range(200):
        form = "Action=" + "".join(random_.choices(words, k=random_.randrange(40)))
        answer = server.post("/", data=form, headers=headers)
        assert answer.status_code in (200, 400, 404), f"seed {seed}: {form}: {answer.text}"
        assert answer.headers["Content-Type"].startswith("text/xml"), f"seed {seed}: {form}"
    many = "Action=ListQueues&" + "&".join(f"a.{i}=" for i in range(5_000))
    assert_error(Answered(server.post("/", data=many, headers=headers)), "InvalidParameterValue", text="5000")
    assert post(server, "ListQueues").status == 200


def test_a_long_poll_ends_with_its_client(server, queue):
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        form = f"Action=ReceiveMessage&QueueUrl={queue}&WaitTimeSeconds=20"
        client.sendall(f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nContent-Type: "
                       f"application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n{form}".encode())
    post(server, "SendMessage", QueueUrl=queue, MessageBody="x", MessageGroupId="g", MessageDeduplicationId="1")
    assert post(server, "ReceiveMessage", QueueUrl=queue, WaitTimeSeconds="5")("Body") == "x"
