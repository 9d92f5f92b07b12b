# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Who may do what: callers show keys, and a key does what its rights say and nothing else. Clients are unchanged."""

import json
import os
import socket
import subprocess
import threading
import time

import pytest
import requests
from access_server import KeyServer
from botocore.exceptions import ClientError
from conftest import clean_environment, run, wait_until

RIGHTS = ("send", "receive", "admin", "metrics")
ANY = set(RIGHTS)
ACCOUNT = "000000000000"
# Of the key's own pool; the last two are another's.
PLACES = {"pool": "emails.fifo", "shard": "emails-0000.fifo", "dlq": "emails-dlq.fifo", "other": "others.fifo",
          "missing": "missing.fifo"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = KeyServer(tmp_path_factory.mktemp("access"), pools=("emails.fifo=2", "others.fifo=2"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def keys(server):
    """A key for each right on emails.fifo, and one without rights on it."""
    made = {right: server.key(right, f"emails.fifo:{right}") for right in RIGHTS}
    made["nothing"] = server.key("nothing", "elsewhere.fifo:send,receive,admin,metrics")
    newest = made["nothing"]
    wait_until(lambda: server.rest(newest).get(server.url + "/v1/pools").status_code == 200, 10, "the keys")
    return made


@pytest.fixture(scope="module")
def handle(server):
    """A well-formed one."""
    server.send("emails.fifo", "handle", "b")
    client = server.boto()
    return client.receive_message(QueueUrl=url(server, "emails.fifo"), WaitTimeSeconds=5)["Messages"][0]["ReceiptHandle"]


def url(server, queue):
    return f"{server.url}/{ACCOUNT}/{queue}"


def arn(queue):
    return f"arn:aws:sqs:us-east-1:{ACCOUNT}:{queue}"


def actions(queue, at, handle):
    """Each action that names a queue: its parameters, and the rights of which one is enough."""
    entry = {"Id": "a", "MessageBody": "b", "MessageGroupId": "g", "MessageDeduplicationId": "d"}
    of_batch = {"Id": "a", "ReceiptHandle": handle}
    return {
        "SendMessage": ({"QueueUrl": at, "MessageBody": "b", "MessageGroupId": "g", "MessageDeduplicationId": "d"},
                        {"send"}),
        "SendMessageBatch": ({"QueueUrl": at, "Entries": [entry]}, {"send"}),
        "ReceiveMessage": ({"QueueUrl": at, "VisibilityTimeout": 0}, {"receive"}),
        "DeleteMessage": ({"QueueUrl": at, "ReceiptHandle": handle}, {"receive"}),
        "DeleteMessageBatch": ({"QueueUrl": at, "Entries": [of_batch]}, {"receive"}),
        "ChangeMessageVisibility": ({"QueueUrl": at, "ReceiptHandle": handle, "VisibilityTimeout": 1}, {"receive"}),
        "ChangeMessageVisibilityBatch": ({"QueueUrl": at, "Entries": [{**of_batch, "VisibilityTimeout": 1}]},
                                         {"receive"}),
        "GetQueueUrl": ({"QueueName": queue}, ANY),
        "GetQueueAttributes": ({"QueueUrl": at, "AttributeNames": ["All"]}, ANY),
        "SetQueueAttributes": ({"QueueUrl": at, "Attributes": {"VisibilityTimeout": "30"}}, {"admin"}),
        "TagQueue": ({"QueueUrl": at, "Tags": {"a": "b"}}, {"admin"}),
        "UntagQueue": ({"QueueUrl": at, "TagKeys": ["a"]}, {"admin"}),
        "ListQueueTags": ({"QueueUrl": at}, {"admin"}),
        "ListDeadLetterSourceQueues": ({"QueueUrl": at}, {"admin"}),
        "ListMessageMoveTasks": ({"SourceArn": arn(queue)}, {"admin"}),
        "StartMessageMoveTask": ({"SourceArn": arn(queue)}, {"admin"}),
        "PurgeQueue": ({"QueueUrl": at}, {"admin"}),
    }


def form(action, parameters):
    """The Query protocol's way to write the same."""
    fields = {"Action": action, "Version": "2012-11-05"}

    def add(prefix, value):
        if isinstance(value, dict):
            for name, inner in value.items():
                add(f"{prefix}.{name}", inner)
        else:
            fields[prefix] = str(value)

    for name, value in parameters.items():
        if name == "Entries":
            for number, entry in enumerate(value, 1):
                add(f"{action}RequestEntry.{number}", entry)
        elif name in ("AttributeNames", "TagKeys"):
            for number, entry in enumerate(value, 1):
                fields[f"{name[:-1]}.{number}"] = entry
        elif name in ("Attributes", "Tags"):
            word, key = ("Attribute", "Name") if name == "Attributes" else ("Tag", "Key")
            for number, (k, v) in enumerate(value.items(), 1):
                fields |= {f"{word}.{number}.{key}": k, f"{word}.{number}.Value": v}
        else:
            add(name, value)
    return fields


def chunks(data):
    yield data[:7]
    yield data[7:]


def ask(server, who, way, action, parameters):
    """The status and the text of the answer to an action."""
    session = server.rest(who)
    if way == "query":
        answer = session.post(server.url + "/", data=form(action, parameters), timeout=30)
    else:
        data = json.dumps(parameters).encode()
        answer = session.post(server.url + "/", data=chunks(data) if way == "chunked" else data, timeout=30, headers={
            "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"})
    return answer.status_code, answer.text


@pytest.mark.parametrize("way", ["json", "query", "chunked"])
@pytest.mark.parametrize("place", PLACES)
def test_a_key_does_what_its_right_says_and_nothing_else(server, keys, handle, place, way):
    queue = PLACES[place]
    wrong = []
    for action, (parameters, enough) in actions(queue, url(server, queue), handle).items():
        for name, key in keys.items():
            status, text = ask(server, key, way, action, parameters)
            is_denied = status == 403 and "AccessDenied" in text
            may = name in enough and place not in ("other", "missing")
            if is_denied == may:
                wrong.append((action, name, status, text[:200]))
            if is_denied:
                assert key["id"] in text and queue in text
                assert any(f"'{right}'" in text or f"&apos;{right}&apos;" in text for right in enough), text
    assert not wrong, wrong


def test_a_refusal_does_not_tell_whether_a_pool_is_there(server, keys, handle):
    for way in ("json", "query"):
        for name in keys:
            answers = []
            for queue in ("others.fifo", "missing.fifo"):
                for action, (parameters, _) in actions(queue, url(server, queue), handle).items():
                    status, text = ask(server, keys[name], way, action, parameters)
                    answers.append((queue, status, text.replace(queue, "QUEUE")))
            there, missing = ([a[1:] for a in answers if a[0] == queue] for queue in ("others.fifo", "missing.fifo"))
            if way == "json":
                assert there == missing
            assert {status for status, _ in there} == {403}


def test_a_queue_is_made_and_deleted_by_who_may_administer_it(server):
    key = server.key("maker", "made.fifo:admin", "source.fifo:admin")
    client = server.boto(key)
    attributes = {"FifoQueue": "true"}

    def known():
        try:
            return client.list_queues() is not None
        except ClientError:
            return False

    wait_until(known, 10, "the key to be known")
    with pytest.raises(ClientError, match="AccessDenied"):
        client.create_queue(QueueName="emails-0007.fifo", Attributes=attributes)
    with pytest.raises(ClientError, match="AccessDenied"):
        client.create_queue(QueueName="unmade.fifo", Attributes=attributes)
    at = client.create_queue(QueueName="made.fifo", Attributes=attributes)["QueueUrl"]
    # What it refuses would be put into another's.
    policy = json.dumps({"deadLetterTargetArn": arn("others.fifo"), "maxReceiveCount": 3})
    with pytest.raises(ClientError, match="AccessDenied"):
        client.set_queue_attributes(QueueUrl=at, Attributes={"RedrivePolicy": policy})
    assert [name.rsplit("/")[-1] for name in client.list_queues()["QueueUrls"]] == ["made.fifo"]
    client.delete_queue(QueueUrl=at)


def test_a_move_needs_the_right_at_both_ends(server):
    key = server.key("mover", "emails.fifo:admin", "others.fifo:send,receive")
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key to be known")
    for source, destination, may in [("emails-dlq.fifo", "emails.fifo", True),
                                     ("emails-dlq.fifo", "others.fifo", False),
                                     ("others-dlq.fifo", "emails.fifo", False), ("others-dlq.fifo", None, False)]:
        parameters = {"SourceArn": arn(source)} | ({"DestinationArn": arn(destination)} if destination else {})
        status, text = ask(server, key, "json", "StartMessageMoveTask", parameters)
        assert (status == 200) == may, (source, destination, text)
        assert may or "AccessDenied" in text


REST = [
    ("GET", "/v1/pools/{pool}", None, ANY),
    ("POST", "/v1/pools/{pool}/messages", {"group": "g", "body": "b"}, {"send"}),
    ("POST", "/v1/pools/{pool}/emails", {"from": "a@example.org", "to": ["b@example.org"], "subject": "s",
                                         "text": "t"}, {"send"}),
    ("GET", "/v1/pools/{pool}/messages/x", None, {"send", "receive", "admin"}),
    ("POST", "/v1/pools/{pool}/outcomes", {"outcomes": []}, {"receive"}),
    ("GET", "/v1/pools/{pool}/leases", None, {"receive"}),
    ("PUT", "/v1/pools/{pool}/leases/0", {}, {"receive"}),
    ("PUT", "/v1/pools/{pool}/workers/w", {}, {"receive"}),
    ("DELETE", "/v1/pools/{pool}/workers/w", None, {"receive"}),
    ("GET", "/v1/pools/{pool}/dead-letters", None, {"admin"}),
    ("GET", "/v1/pools/{pool}/dead-letters/x", None, {"admin"}),
    ("DELETE", "/v1/pools/{pool}/dead-letters/x", None, {"admin"}),
    ("GET", "/v1/pools/{pool}/dead-letters/redrive", None, {"admin"}),
    ("POST", "/v1/pools/{pool}/dead-letters/redrive", {}, {"admin"}),
    ("DELETE", "/v1/pools/{pool}/dead-letters/redrive", None, {"admin"}),
    ("POST", "/v1/pools/{pool}/purge", None, {"admin"}),
]


@pytest.mark.parametrize("way", ["json", "chunked", "ndjson"])
@pytest.mark.parametrize("place", PLACES)
def test_routes_ask_for_the_same_rights(server, keys, place, way):
    wrong = []
    for method, path, body, enough in REST:
        if way == "ndjson" and not path.endswith(("/messages", "/emails")):
            continue
        for name, key in keys.items():
            data = json.dumps(body).encode() if body is not None else None
            kind = "application/x-ndjson" if way == "ndjson" else "application/json"
            answer = server.rest(key).request(
                method, server.url + path.format(pool=PLACES[place]), timeout=30, headers={"Content-Type": kind},
                data=chunks(data) if data and way == "chunked" else data)
            is_denied = answer.status_code == 403 and "access-denied" in answer.text
            may = name in enough and place not in ("other", "missing")
            if is_denied == may:
                wrong.append((method, path, name, answer.status_code, answer.text[:200]))
            if is_denied:
                assert key["id"] in answer.json()["detail"] and PLACES[place] in answer.json()["detail"]
    assert not wrong, wrong


def test_a_pool_is_made_over_rest_by_who_may_administer_it(server, keys):
    for name, key in keys.items():
        answer = server.rest(key).post(server.url + "/v1/pools", json={"name": "new.fifo", "shards": 1}, timeout=30)
        assert answer.status_code == 403, (name, answer.text)
    assert server.get("/v1/pools/new.fifo").status_code == 404


def test_lists_have_only_what_a_key_has_a_right_on(server, keys):
    for name, key in keys.items():
        pools = {pool["name"] for pool in server.rest(key).get(server.url + "/v1/pools").json()["pools"]}
        queues = {at.rsplit("/")[-1] for at in server.boto(key).list_queues().get("QueueUrls", [])}
        assert pools == (set() if name == "nothing" else {"emails.fifo", "emails-dlq.fifo"})
        assert queues == (set() if name == "nothing" else {"emails.fifo", "emails-0000.fifo", "emails-0001.fifo",
                                                           "emails-dlq.fifo"})
    everything = {pool["name"] for pool in server.get("/v1/pools").json()["pools"]}
    assert {"emails.fifo", "others.fifo"} <= everything


def test_what_is_open_is_open_and_metrics_need_the_right_on_every_pool(server, keys):
    for path in ("/", "/openapi.json", "/healthz", "/readyz"):
        assert requests.get(server.url + path, timeout=30).status_code == 200, path
    assert requests.get(server.url + "/metrics", timeout=30).status_code == 401
    assert server.rest(keys["metrics"]).get(server.url + "/metrics").status_code == 403
    assert server.get("/metrics").status_code == 200


def test_nobody_is_let_in_without_showing_who_he_is(server):
    body = json.dumps({"QueueUrl": "emails.fifo", "MessageBody": "b", "MessageGroupId": "g"})
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessage"}
    for data in (body, chunks(body.encode())):
        answer = requests.post(server.url + "/", data=data, headers=headers, timeout=30)
        assert answer.status_code == 403
        assert answer.headers["x-amzn-query-error"] == "MissingAuthenticationToken;Sender"
        assert answer.json()["__type"].endswith("#MissingAuthenticationToken")
    answer = requests.post(server.url + "/", data={"Action": "ListQueues"}, timeout=30)
    assert answer.status_code == 403 and "<Code>MissingAuthenticationToken</Code>" in answer.text
    for method, path, _, _ in REST + [("GET", "/v1/pools", None, ANY), ("POST", "/v1/pools", None, ANY)]:
        at = server.url + path.format(pool="emails.fifo")
        answer = requests.request(method, at, json={}, timeout=30)
        assert answer.status_code == 401, path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert answer.headers["Content-Type"] == "application/problem+json"
        wrong = {"Authorization": "Bearer qp_" + "A" * 43}
        assert requests.request(method, at, json={}, headers=wrong, timeout=30).status_code == 401


def test_a_signature_with_a_wrong_secret_or_of_nobody_is_refused(server):
    root = server.root
    for key, code in [({**root, "secret": "x" * 40}, "SignatureDoesNotMatch"),
                      ({**root, "id": "QP" + "A" * 18}, "InvalidClientTokenId")]:
        with pytest.raises(ClientError) as refused:
            server.boto(key).send_message(QueueUrl=url(server, "emails.fifo"), MessageBody="b", MessageGroupId="g",
                                          MessageDeduplicationId="d")
        assert refused.value.response["Error"]["Code"] == code
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_body_that_was_changed_on_the_way_is_refused(server):
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    body = json.dumps({"QueueUrl": "emails.fifo", "MessageBody": "good", "MessageGroupId": "g",
                       "MessageDeduplicationId": "changed"})
    request = AWSRequest("POST", server.url + "/", data=body, headers={
        "Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessage"})
    SigV4Auth(Credentials(server.root["id"], server.root["secret"]), "sqs", "us-east-1").add_auth(request)
    for data in (body.replace("good", "evil"), chunks(body.replace("good", "evil").encode())):
        answer = requests.post(server.url + "/", data=data, headers=dict(request.headers), timeout=30)
        assert answer.status_code == 403 and "SignatureDoesNotMatch" in answer.text
    for data in (body, chunks(body.encode())):
        answer = requests.post(server.url + "/", data=data, headers=dict(request.headers), timeout=30)
        assert answer.status_code == 200, answer.text


def test_boto3_sends_receives_and_deletes(server):
    key = server.key("boto", "others.fifo:send,receive")
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key to be known")
    client, at = server.boto(key), url(server, "others.fifo")
    client.send_message(QueueUrl=at, MessageBody="a body", MessageGroupId="g", MessageDeduplicationId="boto")
    message = client.receive_message(QueueUrl=at, WaitTimeSeconds=5)["Messages"][0]
    assert message["Body"] == "a body"
    client.delete_message(QueueUrl=at, ReceiptHandle=message["ReceiptHandle"])
    with pytest.raises(ClientError, match="AccessDenied"):
        client.purge_queue(QueueUrl=at)


def test_presigned_requests_are_taken(server):
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials
    request = AWSRequest("GET", server.url + "/?Action=ListQueues&Version=2012-11-05")
    SigV4QueryAuth(Credentials(server.root["id"], server.root["secret"]), "sqs", "us-east-1", expires=60).add_auth(
        request)
    answer = requests.get(request.prepare().url, timeout=30)
    assert answer.status_code == 200 and "emails.fifo" in answer.text
    assert requests.get(request.prepare().url + "x", timeout=30).status_code == 403


def test_the_aws_cli_and_curl_pass_unchanged(server):
    environment = clean_environment({"AWS_ACCESS_KEY_ID": server.root["id"],
                                     "AWS_SECRET_ACCESS_KEY": server.root["secret"], "AWS_REGION": "us-east-1"})
    program = os.path.join(os.path.dirname(os.sys.executable), "aws")
    done = subprocess.run(
        [program, "--endpoint-url", server.url, "sqs", "send-message", "--queue-url", url(server, "emails.fifo"),
         "--message-body", "b", "--message-group-id", "g", "--message-deduplication-id", "cli"],
        env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    signs = ["--aws-sigv4", "aws:amz:us-east-1:sqs", "--user", f"{server.root['id']}:{server.root['secret']}"]
    for more in ([], ["-H", "Transfer-Encoding: chunked"]):
        done = subprocess.run(
            ["curl", "-sS", "-m", "30", *signs, *more, "-H", "Content-Type: application/json", "-d",
             json.dumps({"group": "g", "body": "b"}), server.url + "/v1/pools/emails.fifo/messages"],
            capture_output=True, text=True, timeout=60)
        assert "sequenceNumber" in done.stdout, done.stdout + done.stderr
    done = subprocess.run(["curl", "-sS", "-m", "30", *signs, server.url + "/v1/pools"], capture_output=True, text=True,
                          timeout=60)
    assert "emails.fifo" in done.stdout, done.stdout + done.stderr


def test_a_stream_of_lines_is_not_taken_with_a_signed_body(server):
    signs = ["--aws-sigv4", "aws:amz:us-east-1:sqs", "--user", f"{server.root['id']}:{server.root['secret']}"]
    done = subprocess.run(
        ["curl", "-sS", "-m", "30", *signs, "-H", "Content-Type: application/x-ndjson", "-d",
         json.dumps({"group": "g", "body": "b"}), server.url + "/v1/pools/emails.fifo/messages"],
        capture_output=True, text=True, timeout=60)
    assert "incomplete-signature" in done.stdout, done.stdout + done.stderr


def test_a_revoked_key_is_out_within_a_second_and_its_polls_end(server):
    key = server.key("short", "others.fifo:send,receive")
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key to be known")
    at = url(server, "others.fifo")
    polls = []

    def poll(way):
        if way == "boto3":
            got = server.boto(key).receive_message(QueueUrl=at, WaitTimeSeconds=20).get("Messages", [])
        else:
            got = ask(server, key, way, "ReceiveMessage", {"QueueUrl": at, "WaitTimeSeconds": 20})[1]
        polls.append((way, time.monotonic(), got))

    threads = [threading.Thread(target=poll, args=(way,)) for way in ("boto3", "json", "chunked", "query")]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    time.sleep(1)
    assert not polls
    server.revoke("short")
    revoked = time.monotonic()
    for thread in threads:
        thread.join(30)
    assert len(polls) == 4
    # They would have waited for 20 seconds.
    assert all(ended - revoked < 5 and ended > begun for _, ended, _ in polls), (revoked, polls)
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 401, 5, "the key to be out")
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        server.boto(key).list_queues()


def test_a_stream_of_a_revoked_key_ends(server):
    """The server ends it: the client here never would, and waits for it without sending another line."""
    key = server.key("streamer", "others.fifo:send")
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key to be known")
    host, port = server.url.removeprefix("http://").split(":")
    answer = b""

    def send(body):
        line = json.dumps({"group": "streamer", "body": body}).encode() + b"\n"
        stream.sendall(b"%x\r\n%b\r\n" % (len(line), line))

    def read():
        try:
            return stream.recv(65_536)
        except ConnectionError:
            return b""

    with socket.create_connection((host, int(port)), timeout=30) as stream:
        stream.sendall((
            f"POST /v1/pools/others.fifo/messages HTTP/1.1\r\nHost: {host}:{port}\r\n"
            f"Authorization: Bearer {key['token']}\r\nContent-Type: application/x-ndjson\r\n"
            "Transfer-Encoding: chunked\r\n\r\n").encode())
        for number, body in enumerate(("first", "second"), 1):
            send(body)
            while b'"line":%d' % number not in answer:
                piece = read()
                assert piece, answer
                answer += piece
        server.revoke("streamer")
        while piece := read():
            answer += piece
        # Not as the answer to a body that was read to its end.
        assert not answer.endswith(b"0\r\n\r\n")
        assert server.rest(key).get(server.url + "/v1/pools").status_code == 401


def test_a_use_is_written_down(server):
    key = server.key("used", "emails.fifo:send")
    wait_until(lambda: server.rest(key).get(server.url + "/v1/pools").status_code == 200, 10, "the key to be known")

    def used():
        listed = json.loads(run("key", "list", "--json", *server.place, check=0).stdout)["keys"]
        return next(one for one in listed if one["id"] == key["id"]).get("lastUsedAt") is not None

    wait_until(used, 10, "the use")
