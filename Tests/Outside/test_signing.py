# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Our request signer against botocore's, on the same requests.

The signer is not reachable from outside without a server that checks signatures, so the comparison meets in a file:
this test holds that Tests/QueuePoolAWSTests/vectors.json is what botocore signs today, and the Swift test of the same
name holds that we sign each of its requests alike. `python test_signing.py` writes the file again.

Tests/QueuePoolSigningTests/vectors.json holds whole requests as boto3, the AWS CLI and curl put them on a socket, for
the verifier. `python test_signing.py record` records them again; here botocore holds that each is signed right.
"""

import datetime
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import parse_qsl, quote
from unittest import mock

import boto3
import botocore.auth
import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

FILE = Path(__file__).resolve().parents[1] / "QueuePoolAWSTests" / "vectors.json"
RECORDED = Path(__file__).resolve().parents[1] / "QueuePoolSigningTests" / "vectors.json"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
TOKEN = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQW+LWsKWHGBuFqwAeMicRXmxfpSPfIeoIYRqTflf=="
SUITE_TIME = 1440938160  # 20150830T123600Z, the instant of AWS's published cases
UNRESERVED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

# AWS's published test suite ("aws-sig-v4-test-suite"), with the signatures printed there.
SUITE = [
    ("get-vanilla", "GET", "/", [], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-vanilla-query", "GET", "/", [], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", [], "",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("get-vanilla-empty-query-key", "GET", "/?Param1=value1", [], "",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"),
    ("get-utf8", "GET", "/ሴ", [], "",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    ("get-header-value-trim", "GET", "/", [["My-Header1", " value1"], ["My-Header2", ' "a   b   c"']], "",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
    ("get-relative", "GET", "/example/..", [], "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-slash-dot-slash", "GET", "/./", [], "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-slashes", "GET", "//example//", [], "",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84"),
    ("get-slash", "GET", "//", [], "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", [], "",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"),
    ("post-vanilla", "POST", "/", [], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
    ("post-header-key-sort", "POST", "/", [["My-Header1", "value1"]], "",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"),
    ("post-x-www-form-urlencoded", "POST", "/", [["Content-Type", "application/x-www-form-urlencoded"]],
     "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"),
]


def sign(case):
    """What botocore adds to a request, as a dictionary of lower-case names."""
    signer = botocore.auth.S3SigV4Auth if case["service"] == "s3" else botocore.auth.SigV4Auth
    credentials = Credentials(case["accessKeyID"], case["secretAccessKey"], case["sessionToken"])
    request = AWSRequest(method=case["method"], url=case["url"], data=case["body"].encode())
    for name, value in case["headers"]:
        request.headers.add_header(name, value)
    before = {name.lower() for name, _ in case["headers"]}
    instant = datetime.datetime.fromtimestamp(case["seconds"], datetime.timezone.utc)
    with mock.patch("botocore.auth.get_current_datetime", lambda: instant):
        signer(credentials, case["service"], case["region"]).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items() if name.lower() not in before}


def suite_cases():
    for name, method, path, headers, body, signature in SUITE:
        yield {
            "name": name, "service": "service", "region": "us-east-1", "method": method,
            "url": "https://example.amazonaws.com" + path, "headers": headers, "body": body, "seconds": SUITE_TIME,
            "accessKeyID": "AKIDEXAMPLE", "secretAccessKey": SECRET,
            "sessionToken": None, "published": signature,
        }


def random_cases(count=80):
    dice = random.Random(20150830)
    text = lambda letters, most: "".join(dice.choice(letters) for _ in range(dice.randint(1, most)))
    wild = UNRESERVED + " /+&=?#%äé漢🙂'\"():@!*,;$[]"
    for number in range(count):
        service = ["sqs", "dynamodb", "s3", "sts"][number % 4]
        region = dice.choice(["eu-central-1", "us-east-1", "cn-north-1", "us-gov-west-1", "ap-southeast-4"])
        host = dice.choice([f"https://{service}.{region}.amazonaws.com", f"http://127.0.0.1:{dice.randint(1024, 65535)}",
                            "https://example.com:443", "http://localhost:80"])
        path = "/" + "/".join(quote(text(wild, 9), safe="-._~") for _ in range(dice.randint(0, 3)))
        if service == "s3" and dice.random() < 0.3:
            path += "//a/../b/./"
        if dice.random() < 0.2:
            path += "/"
        query = "&".join(quote(text(wild, 6), safe="-._~") + dice.choice(["=" + quote(text(wild, 9), safe="-._~"), "=", ""])
                         for _ in range(dice.choice([0, 0, 1, 2, 5])))
        headers = [["Content-Type", dice.choice(["application/x-amz-json-1.0", "text/plain;  charset=utf-8"])]]
        if service in ("sqs", "dynamodb"):
            headers.append(["X-Amz-Target", "AmazonSQS." + text("abcXYZ", 12)])
        if dice.random() < 0.5:
            headers.append(["X-Amz-Meta-" + text("abcXYZ", 5), "  " + text(UNRESERVED + "   \t", 20) + " "])
        if dice.random() < 0.3:
            headers += [["User-Agent", "any"], ["Connection", "keep-alive"]]
        yield {
            "name": f"random-{number}", "service": service, "region": region,
            "method": dice.choice(["POST", "GET", "PUT", "DELETE"]), "url": host + path + ("?" + query if query else ""),
            "headers": headers, "body": text(wild + '{}\n"', 200) if dice.random() < 0.8 else "",
            "seconds": dice.randint(0, 4_102_444_800), "accessKeyID": "AKIA" + text("ABCDEFGH234567", 16),
            "secretAccessKey": text(UNRESERVED + "/+", 40), "sessionToken": TOKEN if dice.random() < 0.5 else None,
            "published": None,
        }


def endpoints():
    """Where botocore finds the services, by region."""
    with mock.patch.dict(os.environ, {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                                      "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}):
        session = botocore.session.Session()
        session.set_config_variable("sts_regional_endpoints", "regional")
        config = Config(s3={"us_east_1_regional_endpoint": "regional"})
        return [
            {"service": service, "region": region,
             "url": session.create_client(service, region_name=region, config=config).meta.endpoint_url}
            for region in ["us-east-1", "eu-central-1", "cn-north-1", "cn-northwest-1", "us-gov-west-1",
                           "us-gov-east-1", "us-iso-east-1", "us-isob-east-1", "eusc-de-east-1", "xy-new-9"]
            for service in ["sqs", "dynamodb", "s3", "sts"]
        ]


def vectors():
    cases = [*suite_cases(), *random_cases()]
    return {"cases": [{**case, "added": sign(case)} for case in cases], "endpoints": endpoints()}


def test_botocore_signs_what_the_file_says():
    assert json.loads(FILE.read_text()) == json.loads(json.dumps(vectors()))


def test_botocore_signs_the_published_cases_as_published():
    for case in suite_cases():
        assert sign(case)["authorization"].endswith("Signature=" + case["published"]), case["name"]


# Requests as clients send them

KEY = "QPABCDEFGHIJKLMNOPQR"
REGION = "eu-central-1"
QUEUE = "emails.fifo"
WILD_BODY = 'a "body"\n with + & = % ~ ä 漢 🙂'


class Recorder:
    """Takes one request at a time off a socket as bytes, and answers an empty object."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.requests = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            while line := stream.readline():
                method, target, _ = line.decode().split(" ")
                headers = []
                while (field := stream.readline()) != b"\r\n":
                    name, value = field.decode().rstrip("\r\n").split(":", 1)
                    # Nobody signs who the client is; only its first word says nothing of the machine.
                    headers.append([name, value.split()[0] if name == "User-Agent" else value.strip(" ")])
                length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
                if any(name.lower() == "expect" for name, _ in headers):
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = stream.read(length).decode()
                self.requests.append({"method": method, "target": target, "headers": headers, "body": body})
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\n"
                                   b"Content-Length: 2\r\n\r\n{}")

    def take(self, name):
        request = self.requests.pop()
        assert not self.requests, name
        return {"name": name, **request}


def record():
    recorder = Recorder()
    url = f"{recorder.endpoint}/000000000000/{QUEUE}"
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
                   "AWS_DEFAULT_REGION": REGION, "AWS_CONFIG_FILE": os.devnull,
                   "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_MAX_ATTEMPTS": "1"}
    session = boto3.Session(KEY, SECRET, region_name=REGION)
    sqs = session.client("sqs", endpoint_url=recorder.endpoint)
    message = {"QueueUrl": url, "MessageGroupId": "g", "MessageDeduplicationId": "1"}
    sqs.send_message(MessageBody=WILD_BODY, **message)
    yield recorder.take("boto3 send_message")
    sqs.send_message(MessageBody="x" * 1_024, **message)
    yield recorder.take("boto3 send_message of 1 KiB")
    sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"])
    yield recorder.take("boto3 receive_message")
    sqs.list_queues()
    yield recorder.take("boto3 list_queues")
    temporary = boto3.Session(KEY, SECRET, TOKEN, region_name=REGION)
    temporary.client("sqs", endpoint_url=recorder.endpoint).list_queues()
    yield recorder.take("boto3 list_queues with a session token")
    presigned = sqs.generate_presigned_url(
        "send_message", Params={"MessageBody": WILD_BODY, **message}, ExpiresIn=600, HttpMethod="GET")
    # It covers headers that who uses it has to send.
    yield {**fetch(recorder, "boto3 presigned send_message", presigned, "-H", "X-Amz-Target: AmazonSQS.SendMessage",
                   "-H", "Content-Type: application/x-amz-json-1.0", "-H", "x-amzn-query-mode: true"), "expires": 600}
    for method in ["GET", "POST"]:
        # Of a form, botocore moves the body into the query.
        form = AWSRequest(method=method, url=url, data={"Action": "SendMessage", "MessageBody": WILD_BODY})
        botocore.auth.SigV4QueryAuth(Credentials(KEY, SECRET), "sqs", REGION, expires=604_800).add_auth(form)
        yield {**fetch(recorder, f"botocore presigned {method}", form.url, "-X", method), "expires": 604_800}

    def run(name, *words):
        subprocess.run(words, env=environment, check=True, capture_output=True, timeout=60)
        return recorder.take(name)

    aws = [shutil.which("aws", path=os.path.dirname(sys.executable)), "--endpoint-url", recorder.endpoint, "sqs"]
    yield run("AWS CLI send-message", *aws, "send-message", "--queue-url", url, "--message-body", WILD_BODY,
              "--message-group-id", "g")
    yield run("AWS CLI receive-message", *aws, "receive-message", "--queue-url", url)
    curl = ["curl", "--silent", "--fail", "--user", f"{KEY}:{SECRET}", "--aws-sigv4", f"aws:amz:{REGION}:sqs"]
    yield run("curl JSON", *curl, "-H", "Content-Type: application/x-amz-json-1.0", "-H",
              "X-Amz-Target: AmazonSQS.ListQueues", "--data", "{}", recorder.endpoint + "/")
    yield run("curl form", *curl, "--data", "Action=ListQueues&Version=2012-11-05", recorder.endpoint + "/")
    yield run("curl query", *curl, f"{url}?Action=GetQueueUrl&QueueName=emails.fifo")
    yield run("curl REST", *curl, "-H", "Content-Type: application/json", "-H", "X-Note:  two   words ", "--data",
              json.dumps({"group": "g", "body": WILD_BODY}), f"{recorder.endpoint}/v1/pools/emails.fifo/messages")


def fetch(recorder, name, *words):
    subprocess.run(["curl", "--silent", "--fail", *words], check=True, capture_output=True, timeout=60)
    return recorder.take(name)


def test_botocore_signs_the_recorded_requests_alike():
    recorded = json.loads(RECORDED.read_text())
    assert len(recorded["requests"]) >= 14
    for case in recorded["requests"]:
        headers = {name.lower(): value for name, value in case["headers"]}
        query = dict(parse_qsl(case["target"].partition("?")[2]))
        credentials = Credentials(recorded["accessKeyID"], recorded["secret"])
        if "expires" in case:
            signer, date = botocore.auth.SigV4QueryAuth, query["X-Amz-Date"]
            names, said = query["X-Amz-SignedHeaders"].split(";"), query["X-Amz-Signature"]
        else:
            signer, date = botocore.auth.SigV4Auth, headers["x-amz-date"]
            names = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
            said = headers["authorization"].partition("Signature=")[2]
        assert sorted(names) == names and "host" in names
        request = AWSRequest(method=case["method"], url=f"http://{headers['host']}{case['target']}",
                             data=case["body"].encode())
        for name in names:
            request.headers.add_header(name, headers[name])
        request.context["timestamp"] = date
        auth = signer(credentials, "sqs", REGION)
        if "expires" in case:
            request.url = request.url.partition("&X-Amz-Signature=")[0]
        canonical = auth.canonical_request(request)
        assert auth.signature(auth.string_to_sign(request, canonical), request) == said, case["name"]


if __name__ == "__main__":
    if sys.argv[1:] == ["record"]:
        recorded = {"accessKeyID": KEY, "secret": SECRET, "requests": list(record())}
        RECORDED.write_text(json.dumps(recorded, indent=1, ensure_ascii=False) + "\n")
    else:
        FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
