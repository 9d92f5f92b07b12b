# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""How many pools and shards a client can make, and what all of them together may take of the server's memory."""

import json
from concurrent.futures import ThreadPoolExecutor

import botocore.exceptions
import pytest

from conftest import Server, run, wait_until

MEMORY_MAX = 512 << 20


def create(server, name, shards=1):
    return server.post("/v1/pools", json={"name": name + ".fifo", "shards": shards})


def problem(answer, status, kind):
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert body["type"].endswith(kind), body
    return body


def pools(server):
    return {pool["name"]: len(pool["shards"]) if isinstance(pool["shards"], list) else pool["shards"]
            for pool in server.get("/v1/pools").json()["pools"]}


def test_pools_beyond_the_limit_are_refused(servers):
    server = servers("--max-pools", 4, pools=())
    assert create(server, "a").status_code == 201
    assert create(server, "b").status_code == 201
    assert "0 more" in problem(create(server, "c"), 409, "too-many-pools")["detail"]
    assert create(server, "b").status_code == 200, "what exists is no creation"
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        server.boto().create_queue(QueueName="c.fifo", Attributes={"FifoQueue": "true"})
    assert refused.value.response["Error"]["Code"] == "OverLimit"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
    assert set(pools(server)) == {"a.fifo", "a-dlq.fifo", "b.fifo", "b-dlq.fifo"}


def test_shards_beyond_the_limit_are_refused_however_many_ask(servers):
    server = servers("--max-shards", 30, pools=())
    with ThreadPoolExecutor(16) as many:
        answers = list(many.map(lambda n: create(server, f"p{n}", 8).status_code, range(16)))
    assert sorted(answers) == [201] * 3 + [409] * 13
    assert "3 more" in problem(create(server, "other", 3), 409, "too-many-shards")["detail"]
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        server.boto().create_queue(
            QueueName="other.fifo", Attributes={"FifoQueue": "true"}, tags={"queuepool:shards": "4"})
    assert refused.value.response["Error"]["Code"] == "OverLimit"
    assert create(server, "other", 2).status_code == 201
    assert sum(pools(server).values()) == 30


def test_what_exists_is_served_beyond_a_lowered_limit(servers):
    server = servers(pools=("a.fifo=4", "b.fifo=4"))
    server.stop()
    server = servers("--max-pools", 1, "--max-shards", 2, pools=("a.fifo=4",))
    assert len(pools(server)) == 4
    assert "More pools or shards exist" in server.text()
    assert server.post("/v1/pools/b.fifo/messages", json={"group": "g", "body": "x"}).status_code == 202
    problem(create(server, "c"), 409, "too-many-pools")


@pytest.mark.parametrize("limit, said", [(("--max-shards", 8), "9 were asked for"), (("--max-pools", 1), "1 more")])
def test_a_pool_of_the_start_obeys(tmp_path, limit, said):
    done = run("serve", "--listen", "127.0.0.1:0", "--data-dir", tmp_path / "d", "--pool", "emails.fifo=8", *limit)
    assert done.returncode == 78, done.stderr
    assert "emails.fifo" in done.stderr and said in done.stderr


@pytest.mark.parametrize("shards, longest", [(1, 76), (4, 75)])
def test_a_name_leaves_room_for_its_queues(server, shards, longest):
    letter = "nm"[shards > 1]
    name = letter * (longest + 1 - len(".fifo"))
    body = problem(create(server, name, shards), 400, "invalid-field")
    assert body["field"] == "name" and str(longest) in body["detail"]
    assert name + ".fifo" not in pools(server)
    assert create(server, name[1:], shards).status_code == 201
    sqs = server.boto()
    for queue in sqs.list_queues(QueueNamePrefix=letter * 3)["QueueUrls"]:
        assert len(queue.rsplit("/", 1)[1]) <= 80
    url = sqs.get_queue_url(QueueName=name[1:] + "-dlq.fifo")["QueueUrl"]
    assert sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]["FifoQueue"] == "true"


def waiting(server, series):
    """The sum of a series over all shards."""
    lines = server.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(series) and line[len(series)] in " {")


def test_pools_of_many_shards_stay_within_the_memory(tmp_path):
    """Three times 256 shards cost a client three requests; each shard gets messages of 64 KiB and readers of them."""
    server = Server(tmp_path / "s", pools=())
    names = [f"p{n}.fifo" for n in range(3)]
    for name in names:
        answer = server.post("/v1/pools", json={"name": name, "shards": 256})
        assert answer.status_code == 201, answer.text
    body = "x" * 65_536

    def stuff(part):
        name, start = part
        lines = "".join(json.dumps({"group": f"g{n}", "body": body, "deduplicationId": f"{name}-{n}"}) + "\n"
                        for n in range(start, start + 16))
        answer = server.post(f"/v1/pools/{name}/messages", data=lines,
                             headers={"Content-Type": "application/x-ndjson"})
        assert answer.status_code == 200, answer.text[:500]
        results = [json.loads(line) for line in answer.text.splitlines()]
        return sum("id" in result for result in results)

    with ThreadPoolExecutor(4) as many:
        stored = sum(many.map(stuff, [(name, start) for name in names for start in range(0, 4_096, 16)]))
    assert stored == 3 * 4_096, "768 MiB of bodies"

    def read(name):
        url = f"{server.url}/000000000000/{name}"
        return sum(len(server.answer("ReceiveMessage", {
            "QueueUrl": url, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600}).get("Messages", []))
            for _ in range(60))

    with ThreadPoolExecutor(3) as many:
        assert sum(many.map(read, names)) > 1_000
    assert waiting(server, "queuepool_deduplication_entries") == stored
    wait_until(lambda: waiting(server, "queuepool_waiting_bytes") == 0, what="every waiting byte given back")
    assert server.is_running, server.text()[-3000:]
    assert server.status_bytes("VmHWM") < MEMORY_MAX, f"{server.status_bytes('VmHWM') >> 20} MB"
    server.stop()


def test_ids_beyond_the_limit_are_refused_and_none_is_forgotten(servers):
    server = servers("--deduplication-entries-max", 1_000)
    path = "/v1/pools/emails.fifo/messages"
    lines = [json.dumps({"group": f"g{n}", "body": "x", "deduplicationId": str(n)}) + "\n" for n in range(1_000)]
    answer = server.post(path, data="".join(lines), headers={"Content-Type": "application/x-ndjson"})
    assert all("id" in json.loads(line) for line in answer.text.splitlines())
    late = server.post(path, json={"group": "late", "body": "x"})
    problem(late, 503, "overloaded")
    assert int(late.headers["Retry-After"]) > 0
    assert waiting(server, "queuepool_deduplication_entries") == 1_000
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        server.boto().send_message(QueueUrl=server.url + "/000000000000/emails.fifo", MessageBody="x",
                                   MessageGroupId="late", MessageDeduplicationId="late")
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
