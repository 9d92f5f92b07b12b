# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The pool as one queue, its shards as queues of their own, and the published rule of which group is where."""

import json

import pytest
from conftest import ROOT, Queue, run, wait_until
from test_sqs_receiving import background, waiting_receives

POOL = "emails.fifo"
VECTORS = ROOT / "Tests/QueuePoolCoreTests/vectors.json"
MASK = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                      0x27D4EB2F165667C5)


def xxh64(data):
    """XXH64 with seed 0: the published rule, from its specification."""
    rotate = lambda x, n: (x << n | x >> 64 - n) & MASK
    word = lambda i, n: int.from_bytes(data[i:i + n], "little")
    step = lambda lane, value: rotate((lane + value * P2) & MASK, 31) * P1 & MASK
    at, lanes = 0, [(P1 + P2) & MASK, P2, 0, -P1 & MASK]
    if len(data) >= 32:
        for at in range(0, len(data) - 31, 32):
            lanes = [step(lane, word(at + 8 * i, 8)) for i, lane in enumerate(lanes)]
        at, h = at + 32, sum(rotate(lane, n) for lane, n in zip(lanes, (1, 7, 12, 18)))
        for lane in lanes:
            h = ((h ^ step(0, lane)) * P1 + P4) & MASK
    else:
        h = P5
    h = (h + len(data)) & MASK
    for size in (8, 4, 1):
        while len(data) - at >= size:
            value = word(at, size)
            h = {8: lambda: rotate(h ^ step(0, value), 27) * P1 + P4, 4: lambda: rotate(h ^ value * P1 & MASK, 23) * P2
                 + P3, 1: lambda: rotate(h ^ value * P5 & MASK, 11) * P1}[size]() & MASK
            at += size
    h = (h ^ h >> 33) * P2 & MASK
    h = (h ^ h >> 29) * P3 & MASK
    return h ^ h >> 32


def slot_of(group):
    return xxh64(group.encode()) % 16_384



def slot_table(shards):
    """Owner of each slot in a pool of equal shards: grown one by one, each newcomer taking its share from the fullest."""
    owners, held = [0] * 16_384, [16_384]
    for newcomer in range(1, shards):
        given = [0] * (newcomer + 1)
        share = 16_384 // (newcomer + 1)
        for _ in range(share):
            giver = max(range(newcomer), key=lambda i: (held[i], i))
            held[giver] -= 1
            given[giver] += 1
        for slot in reversed(range(16_384)):
            if given[owners[slot]]:
                given[owners[slot]] -= 1
                owners[slot] = newcomer
        held.append(share)
    return owners


def test_the_published_vectors_hold_in_another_language():
    published = json.loads(VECTORS.read_text())
    assert published["slots"] == 16_384
    for vector in published["vectors"]:
        assert f"{xxh64(vector['group'].encode()):016x}" == vector["hash"]
        assert slot_of(vector["group"]) == vector["slot"]
    for topology in published["topologies"]:
        if topology["shards"] <= 64:
            table = b"".join(owner.to_bytes(2, "little") for owner in slot_table(topology["shards"]))
            assert f"{xxh64(table):016x}" == topology["slotTableXXH64"], topology["shards"]


def test_the_server_puts_each_group_on_the_shard_that_the_rule_names(server):
    table = slot_table(8)
    for i in range(300):
        group = f"routed-{i}"
        assert server.send(POOL, group, "x")["shard"] == f"emails-{table[slot_of(group)]:04d}.fifo"
    server.drain(POOL)


def groups_by_shard(server, count=64):
    """One group for each shard."""
    found = {}
    for i in range(count):
        found.setdefault(server.send(POOL, f"find-{i}", "x")["shard"], f"find-{i}")
    server.drain(POOL)
    assert len(found) == 8
    return found


def test_a_receive_on_the_pool_fans_in_over_all_shards(server, sqs):
    groups = groups_by_shard(server)
    for shard, group in groups.items():
        server.send(POOL, group, shard)
    got = [m["Body"] for m in server.drain(POOL)]
    assert sorted(got) == sorted(groups)


def test_no_shard_starves_behind_a_full_one(server, sqs):
    shards = sorted(groups_by_shard(server).items())
    (_, busy), (quiet_shard, quiet) = shards[0], shards[5]
    for i in range(200):
        server.send(POOL, busy, f"busy-{i}")
    server.send(POOL, quiet, "quiet")
    pool = Queue(sqs, POOL)
    seen = []
    for _ in range(12):
        got = pool.receive(10)
        seen += got
        pool.delete(*got)
    assert "quiet" in seen, f"{quiet_shard} waited behind another shard"
    server.drain(POOL)


def test_a_batch_to_the_pool_is_answered_in_the_order_of_its_entries(server, sqs):
    entries = [{"Id": f"e{i}", "MessageBody": f"b{i}", "MessageGroupId": f"find-{i}", "MessageDeduplicationId": f"x{i}"}
               for i in range(10)]
    entries[4]["MessageBody"] = "\x00"
    answer = sqs.send_message_batch(QueueUrl=POOL, Entries=entries)
    assert [e["Id"] for e in answer["Successful"]] == [f"e{i}" for i in range(10) if i != 4]
    assert [e["Id"] for e in answer["Failed"]] == ["e4"]
    assert sorted(m["Body"] for m in server.drain(POOL)) == sorted(f"b{i}" for i in range(10) if i != 4)


def test_handles_of_the_pool_find_their_shard(server, sqs):
    for group in groups_by_shard(server).values():
        server.send(POOL, group, group)
    pool = Queue(sqs, POOL)
    got = pool.receive(10)
    while more := pool.receive(10):
        got += more
    assert len(got) == 8
    pool.visibility(0, *got[:4])
    assert sorted(pool.receive(10) + pool.receive(10) + pool.receive(10) + pool.receive(10)) == sorted(got[:4])
    pool.delete(*got)
    assert server.pool(POOL)["inFlight"] == 0


def test_a_shard_is_a_queue_of_its_own(server, sqs):
    shard, group = sorted(groups_by_shard(server).items())[3]
    server.send(POOL, group, "hello")
    names = [url.rsplit("/", 1)[1] for url in sqs.list_queues(QueueNamePrefix="emails")["QueueUrls"]]
    assert {POOL, shard, "emails-dlq.fifo"} <= set(names)
    url = sqs.get_queue_url(QueueName=shard)["QueueUrl"]
    queue = Queue(sqs, url)
    assert queue.attributes()["QueueArn"].endswith(":" + shard)
    assert queue.attributes()["ApproximateNumberOfMessages"] == "1"
    assert queue.receive() == ["hello"]
    assert Queue(sqs, POOL).receive() == [], "a message is one, whichever name it is received under"
    queue.delete("hello")


def test_a_long_poll_on_the_pool_wakes_for_any_shard(server, sqs):
    for group in list(groups_by_shard(server).values())[:3]:
        answer = background(lambda: Queue(sqs, POOL).receive(wait=20))
        wait_until(lambda: waiting_receives(server) > 0, what="a waiting receive")
        server.send(POOL, group, group)
        assert answer() == [group]
    server.post(f"/v1/pools/{POOL}/purge")


def test_a_long_poll_of_one_shard_rests_while_another_has_messages(server, sqs):
    shards = sorted(groups_by_shard(server).items())
    server.send(POOL, shards[1][1], "nobody waits for this")
    answer = background(lambda: Queue(sqs, shards[0][0]).receive(wait=3))
    wait_until(lambda: waiting_receives(server) > 0, what="a waiting receive")
    before = server.cpu_seconds()
    assert answer() == []
    assert server.cpu_seconds() - before < 1, "the server spins while it waits"
    server.drain(POOL)


def test_a_pool_of_several_shards_deduplicates_by_group(server, sqs, name):
    shown = sqs.get_queue_attributes(QueueUrl=POOL, AttributeNames=["All"])["Attributes"]
    assert shown["DeduplicationScope"] == "messageGroup"
    with pytest.raises(sqs.exceptions.ClientError) as caught:
        sqs.set_queue_attributes(QueueUrl=POOL, Attributes={"DeduplicationScope": "queue"})
    assert "DeduplicationScope" in caught.value.response["Error"]["Message"]
    with pytest.raises(sqs.exceptions.ClientError):
        sqs.create_queue(QueueName=name + ".fifo", tags={"queuepool:shards": "4"},
                         Attributes={"FifoQueue": "true", "DeduplicationScope": "queue"})


def test_create_queue_makes_shards_by_tag(server, sqs, name):
    url = sqs.create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"}, tags={"queuepool:shards": "4"})
    assert len(server.pool(name + ".fifo")["shards"]) == 4
    for i in range(40):
        Queue(sqs, url["QueueUrl"]).send(f"g{i}-m")
    assert sum(s["backlog"] > 0 for s in server.pool(name + ".fifo")["shards"]) == 4
    for shards in ("0", "257", "many"):
        with pytest.raises(sqs.exceptions.ClientError):
            sqs.create_queue(
                QueueName=name + "b.fifo", Attributes={"FifoQueue": "true"}, tags={"queuepool:shards": shards})


def test_create_queue_makes_as_many_shards_as_configured(servers, name):
    server = servers("--create-queue-shards", "3")
    server.boto().create_queue(QueueName=name + ".fifo", Attributes={"FifoQueue": "true"})
    assert len(server.pool(name + ".fifo")["shards"]) == 3


def test_a_pool_is_deleted_from_the_command_line(servers, name):
    server = servers(pools=("emails.fifo=2",))
    server.send(POOL, "g", "x")

    def delete(pool, *arguments, check=1):
        return run("pool", "delete", pool, "--endpoint", server.url, *arguments, check=check)

    assert "--yes" in delete(POOL, check=64).stderr
    assert "is not a pool's name" in delete("emails", "--yes", check=64).stderr
    assert "--control and --endpoint" in delete(POOL, "--yes", "--control", "sqlite:x", check=64).stderr
    assert "emails.fifo" in delete("emails-dlq.fifo", "--yes").stderr, "it is named by a pool"
    assert server.pool(POOL)["backlog"] == 1
    assert delete(POOL, "--yes", check=0).stdout == "deleted emails.fifo\n"
    assert server.get("/v1/pools/" + POOL).status_code == 404
    assert "no such pool" in delete(POOL, "--yes").stderr.lower()
    delete("emails-dlq.fifo", "--yes", check=0)
    assert server.get("/v1/pools").json()["pools"] == []
    server.stop()
    assert "does not answer" in delete(POOL, "--yes", check=69).stderr


def test_a_pool_of_files_is_not_deleted_behind_its_servers_back(servers, tmp_path):
    control = ("--control", f"sqlite:{tmp_path}/control.sqlite")
    server = servers(*control, pools=("emails.fifo=2",))
    server.send(POOL, "g", "x")
    said = run("pool", "delete", POOL, *control, "--yes", check=1).stderr
    assert "files of a server" in said and "--endpoint" in said
    assert server.pool(POOL)["backlog"] == 1


def test_a_pool_of_queues_is_forgotten_and_its_queues_stay(servers, tmp_path, moto, name):
    pool, control = name + ".fifo", (
        "--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", moto, "--region", "us-east-1")
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, *control, check=0)
    server = servers(*control, pools=())
    assert server.send(pool, "g", "x")["shard"].startswith(name)
    assert f"of {pool}" in run("pool", "delete", name + "-dlq.fifo", *control, "--yes", check=1).stderr
    run("pool", "delete", pool, *control, "--yes", check=0)
    assert f"no pool {pool}" in run("pool", "delete", pool, *control, "--yes", check=1).stderr
    wait_until(lambda: server.get("/v1/pools/" + pool).status_code == 404, 10, "a server that forgot the pool")
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, *control, check=0)
    wait_until(lambda: server.get("/v1/pools/" + pool).status_code == 200, 10, "the pool")
    assert [m["Body"] for m in server.drain(pool)] == ["x"], "the queues kept their messages"
