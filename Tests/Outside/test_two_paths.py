# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A request is answered alike whether the door reads it itself or hands it to the HTTP library: the same corpus both ways."""

import json
import os
import random

from test_browsers import request
from test_hostile import BATCH, MESSAGE, ODD, RECEIVE, REST, paths, replaced

SQS = {"Content-Type": "application/x-amz-json-1.0"}
# What differs from answer to answer by its nature: a message may be in flight for the second receive.
FRESH = ("id", "sequenceNumber", "MessageId", "SequenceNumber", "Messages", "ReceiptHandle")


def said(answer):
    status, headers, body = answer
    try:
        value = json.loads(body)
    except ValueError:
        value = body
    kept = {name: headers.get(name) for name in ("content-type", "retry-after", "x-amzn-query-error", "allow",
                                                     "x-content-type-options")}
    return status, kept, stripped(value)


def stripped(value):
    if isinstance(value, dict):
        return {key: stripped(child) for key, child in value.items() if key not in FRESH}
    return [stripped(child) for child in value] if isinstance(value, list) else value


def corpus(rng):
    """(path, headers, body, Host) of requests that the fast path takes, or nearly takes."""
    send = {"QueueUrl": "emails.fifo", **BATCH["Entries"][0]}
    doors = [(REST, {"Content-Type": "application/json"}, MESSAGE)] + [
        ("/", {**SQS, "X-Amz-Target": f"AmazonSQS.{action}"}, body)
        for action, body in (("SendMessage", send), ("SendMessageBatch", BATCH), ("ReceiveMessage", RECEIVE))]
    for path, headers, body in doors:
        for at in paths(body):
            for odd in rng.sample(ODD, 4):
                yield path, headers, json.dumps(replaced(body, at, odd)).encode(), None
        whole = json.dumps(body).encode()
        for _ in range(60):
            data = bytearray(whole)
            data[rng.randrange(len(data))] = rng.randrange(256)
            yield path, headers, bytes(data), None
            yield path, headers, whole[:rng.randrange(len(whole))], None
        for host in ("localhost", "a.example", "127.0.0.1:1", "[::1]:9", "[::1", "localhost:", ""):
            yield path, headers, whole, host
        for more in ({"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}, {"Content-Encoding": "gzip"}, {"Content-Type": "text/plain"},
                     {"X-Amz-Target": "AmazonSQS.Nothing"}, {"X-Amz-Target": ""}, {"X-Amz-Target": "x" * 300},
                     {"Idempotency-Key": "a b"}, {"X-Amzn-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793"}):
            yield path, {**headers, **more}, whole, None
        for other in ("/emails.fifo", "/000000000000/emails.fifo", "/000000000000/none.fifo", "/v1/pools/none.fifo/messages",
                      "/v1/pools//messages", "/v1/pools/emails.fifo/messages/", "/v1/pools/emails.fifo/purge/x", "//", "/a/b"):
            yield other, headers, whole, None


def test_both_ways_answer_alike(server):
    seed = int(os.environ.get("TEST_SEED", random.SystemRandom().randrange(1 << 32)))
    print(f"seed {seed}; TEST_SEED={seed} repeats it")
    count = 0
    for path, headers, body, host in corpus(random.Random(seed)):
        # The same deduplication ids: what the first stored, the second may find; so the first is sent twice.
        request(server, path=path, headers=headers, body=body, host=host)
        plain = said(request(server, path=path, headers=headers, body=body, host=host))
        chunked = said(request(server, path=path, headers=headers, body=body, host=host, chunked=True))
        assert plain == chunked, (path, headers, body[:300], host)
        count += 1
    assert count > 500
