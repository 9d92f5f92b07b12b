# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Once an entry of a request failed, its later entries of the same group fail too: whoever repeats what failed, in its
order, ends with the order that was meant."""

import collections
import json

import pytest
from conftest import run

POOL = "order.fifo"


def by_group(messages):
    got = collections.defaultdict(list)
    for message in messages:
        got[message["Attributes"]["MessageGroupId"]].append(int(message["Body"]))
    return dict(got)


@pytest.mark.parametrize("round", range(2))
def test_send_repeats_what_failed_in_its_order(servers, tmp_path, round):
    server = servers("--inject-error-rate", "0.3", pools=(POOL + "=2",))
    file = tmp_path / "messages.ndjson"
    file.write_text("".join(json.dumps({"group": f"g{i % 7}", "body": str(i)}) + "\n" for i in range(4_000)))
    run("send", "--endpoint", server.url, "--pool", POOL, file, check=0, timeout=120)
    server.stop()
    # The same files without the faults.
    server = servers(pools=(POOL + "=2",))
    assert by_group(server.drain(POOL)) == {f"g{g}": list(range(g, 4_000, 7)) for g in range(7)}


def test_a_stream_fails_the_later_lines_of_a_group_with_a_reason(servers):
    server = servers("--inject-error-rate", "0.5", pools=(POOL + "=1",))
    failed_behind = 0
    for attempt in range(20):
        lines = "".join(json.dumps({"group": f"{attempt}-{i % 3}", "body": str(i)}) + "\n" for i in range(3_000))
        answer = server.post(f"/v1/pools/{POOL}/messages", data=lines,
                             headers={"Content-Type": "application/x-ndjson"})
        failed = set()
        for line, result in enumerate(map(json.loads, answer.text.splitlines())):
            group = line % 3
            if "error" in result:
                failed.add(group)
                if result["error"]["type"].endswith("earlier-entry-failed"):
                    failed_behind += 1
                    assert result["error"]["status"] == 424
                    assert "injected-error" in result["error"]["detail"]
            else:
                assert group not in failed, f"line {line + 1} was stored behind one of its group that failed"
    assert failed_behind > 0


def test_a_line_that_is_not_valid_fails_the_later_ones_of_its_group_only(server, name):
    pool = name + ".fifo"
    server.post("/v1/pools", json={"name": pool, "shards": 2})
    lines = [{"group": "a", "body": "0"}, {"group": "a", "body": ""}, {"group": "b", "body": "1"},
             {"group": "a", "body": "2"}]
    answer = server.post(f"/v1/pools/{pool}/messages", data="".join(json.dumps(x) + "\n" for x in lines),
                         headers={"Content-Type": "application/x-ndjson"})
    results = [json.loads(line) for line in answer.text.splitlines()]
    assert ["error" in r for r in results] == [False, True, False, True]
    assert results[1]["error"]["status"] == 400
    assert results[3]["error"]["status"] == 424 and "invalid-field" in results[3]["error"]["detail"]
    assert sorted(m["Body"] for m in server.drain(pool)) == ["0", "1"]


def test_send_goes_on_behind_a_line_that_is_refused_for_good(server, name, tmp_path):
    pool = name + ".fifo"
    server.post("/v1/pools", json={"name": pool, "shards": 2})
    file = tmp_path / "messages.ndjson"
    file.write_text('{"group":"a","body":"0"}\n{"group":"a","body":""}\n{"group":"a","body":"1"}\n')
    done = run("send", "--endpoint", server.url, "--pool", pool, file)
    assert "line 2" in done.stderr and "line 3" not in done.stderr
    assert [m["Body"] for m in server.drain(pool)] == ["0", "1"]


def test_a_batch_fails_the_later_entries_of_a_group(sqs, server, queue):
    entries = [
        {"Id": "0", "MessageGroupId": "a", "MessageDeduplicationId": "0", "MessageBody": "0"},
        {"Id": "1", "MessageGroupId": "a", "MessageDeduplicationId": "1", "MessageBody": "\x01"},
        {"Id": "2", "MessageGroupId": "b", "MessageDeduplicationId": "2", "MessageBody": "2"},
        {"Id": "3", "MessageGroupId": "a", "MessageDeduplicationId": "3", "MessageBody": "3"},
    ]
    answer = sqs.send_message_batch(QueueUrl=queue, Entries=entries)
    assert [e["Id"] for e in answer["Successful"]] == ["0", "2"]
    assert [e["Id"] for e in answer["Failed"]] == ["1", "3"]
    first, later = answer["Failed"]
    assert later["Code"] == first["Code"] == "InvalidMessageContents"
    assert "earlier entry of this message group" in later["Message"] and "Its reason: " + first["Message"] in later["Message"]


def test_a_group_is_refused_by_a_shard_that_is_not_its_own(server, sqs, name):
    server.post("/v1/pools", json={"name": name + ".fifo", "shards": 2})
    right = server.send(name + ".fifo", "g", "1")["shard"]
    wrong = next(s["name"] for s in server.pool(name + ".fifo")["shards"] if s["name"] != right)
    url = sqs.get_queue_url(QueueName=wrong)["QueueUrl"]
    with pytest.raises(sqs.exceptions.ClientError) as error:
        sqs.send_message(QueueUrl=url, MessageBody="2", MessageGroupId="g", MessageDeduplicationId="2")
    assert error.value.response["Error"]["Code"] == "InvalidParameterValue"
    assert right in error.value.response["Error"]["Message"]
    answer = sqs.send_message_batch(QueueUrl=url, Entries=[
        {"Id": "0", "MessageGroupId": "g", "MessageDeduplicationId": "3", "MessageBody": "3"}])
    assert right in answer["Failed"][0]["Message"]
    url = sqs.get_queue_url(QueueName=right)["QueueUrl"]
    sqs.send_message(QueueUrl=url, MessageBody="2", MessageGroupId="g", MessageDeduplicationId="2")
    assert [m["Body"] for m in server.drain(name + ".fifo")] == ["1", "2"]
