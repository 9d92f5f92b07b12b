# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Counters say what happened: alerts are built on them."""

import re

POOL = "counted.fifo"


def outcomes(server):
    text = server.get("/metrics").text
    return {name: int(count) for name, count in re.findall(r'queuepool_http_answers_total\{outcome="(.+)"\} (\d+)', text)}


def refusals(server):
    found = re.findall(r'queuepool_refused_sends_total\{.*reason="(.+)"\} (\d+)', server.get("/metrics").text)
    return {reason: int(count) for reason, count in found}


def entry(number):
    return {"QueueUrl": POOL, "MessageBody": "x", "MessageGroupId": f"g{number}", "MessageDeduplicationId": f"{number}"}


def test_a_request_over_the_quota_counts_as_throttled_over_either_protocol(servers):
    server = servers("--quota", "1", pools=(POOL + "=1",))
    statuses = [server.action("SendMessage", entry(number)).status_code for number in range(20)]
    throttled = statuses.count(403)
    assert throttled > 0
    before = outcomes(server)
    assert before["throttled"] == throttled
    assert before["client-error"] == 0
    # The same where the request goes another way through the server.
    chunked = server.action("SendMessage", entry(99), **{"Expect": "100-continue"})
    after = outcomes(server)
    assert after["throttled"] - before["throttled"] == (chunked.status_code == 403)


def test_messages_that_are_not_taken_count_by_their_reason(servers):
    server = servers("--inject-error-rate", "1", pools=(POOL + "=1",))
    assert server.action("SendMessage", entry(1)).status_code == 500
    answer = server.post(f"/v1/pools/{POOL}/messages", json={"group": "g", "body": "x"})
    assert answer.status_code == 500
    assert refusals(server) == {"injected-error": 2}
    assert outcomes(server)["server-error"] == 2
