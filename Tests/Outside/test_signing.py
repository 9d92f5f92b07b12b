# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Our request signer against botocore's, on the same requests.

The signer is not reachable from outside without a server that checks signatures, so the comparison meets in a file:
this test holds that Tests/QueuePoolAWSTests/vectors.json is what botocore signs today, and the Swift test of the same
name holds that we sign each of its requests alike. `python test_signing.py` writes the file again.
"""

import datetime
import json
import os
import random
from pathlib import Path
from urllib.parse import quote
from unittest import mock

import botocore.auth
import botocore.session
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

FILE = Path(__file__).resolve().parents[1] / "QueuePoolAWSTests" / "vectors.json"
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


if __name__ == "__main__":
    FILE.write_text(json.dumps(vectors(), indent=1, ensure_ascii=False) + "\n")
