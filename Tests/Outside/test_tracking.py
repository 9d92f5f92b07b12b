# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Where is my email? The server answers by the id that the sender was given, from the queue's and the workers' own words."""

import json
import threading

import pytest
from conftest import AWS, Process, run, wait_until
from receivers import webhook

POOL = "emails.fifo"
EMAIL = {"from": "a@example.com", "subject": "s", "text": "t"}


def track(server, id, pool=POOL):
    answer = server.get(f"/v1/pools/{pool}/messages/{id}")
    assert answer.status_code in (200, 404), answer.text
    return answer.json() if answer.status_code == 200 else {"state": None}


def until(server, id, state, seconds=20, pool=POOL):
    wait_until(lambda: track(server, id, pool)["state"] == state, seconds, f"state {state}, not {track(server, id, pool)}")
    return track(server, id, pool)


def test_a_message_is_followed_from_queued_to_sent(servers, workers):
    server = servers()
    tags = {"campaign": "spring", "note": "ü \"quoted\""}
    sent = server.send(POOL, "g", "body", tags=tags)
    queued = track(server, sent["id"])
    assert queued["state"] == "queued" and queued["tags"] == tags and queued["shard"] == sent["shard"]
    assert queued["acceptedAt"] == queued["at"] and queued["acceptedAt"].endswith("Z")
    held = threading.Event()
    with webhook(lambda request: (held.wait(30), (200, {}))[1]) as hook:
        worker = workers("--deliver", hook.url, endpoint=server.url)
        flying = until(server, sent["id"], "in-flight")
        assert flying["tags"] == tags
        wait_until(lambda: "target" in track(server, sent["id"]), 10, "the target of the attempt")
        held.set()
        done = until(server, sent["id"], "sent")
        assert done["target"].startswith("http://127.0.0.1:") and done["attempt"] == 1 and done["tags"] == tags
        assert "body" not in json.dumps(done).replace("campaign", "")
        worker.stop()
    kept = next(line for line in server.get("/metrics").text.splitlines() if line.startswith("queuepool_tracking_records_total "))
    assert int(kept.split()[1]) >= 1
    server.stop()
    again = servers(name="server")
    assert track(again, sent["id"])["state"] == "sent"


def test_a_message_is_never_unknown_on_its_way_to_the_target(servers, workers):
    server = servers()
    ids = [server.send(POOL, f"g{n}", "body")["id"] for n in range(6)]
    with webhook() as hook:
        worker = workers("--deliver", hook.url, endpoint=server.url)
        seen = {id: [] for id in ids}
        wait_until(lambda: all([seen[id].append(track(server, id)["state"]) or seen[id][-1] == "sent" for id in ids]), 30, "sent")
        assert all(None not in states for states in seen.values()), seen
        worker.stop()


def test_a_failing_message_is_retrying_then_dead_with_the_code(servers, workers):
    server = servers()
    sent = server.send(POOL, "g", "body", tags={"a": "b"})
    with webhook(lambda request: (503, {"Retry-After": "3"})) as hook:
        worker = workers("--deliver", hook.url, "--max-attempts", "2", endpoint=server.url)
        retrying = until(server, sent["id"], "retrying")
        assert retrying["attempt"] == 1 and retrying["errorClass"] == "http-503"
        assert retrying["nextAttemptAt"] > retrying["at"]
        dead = until(server, sent["id"], "dead")
        assert (dead["reason"], dead["errorClass"], dead["attempt"]) == ("attempts-exhausted", "http-503", 2)
        assert dead["tags"] == {"a": "b"}
        worker.stop()


def test_an_email_has_tags_and_they_are_no_part_of_it(server):
    answer = server.post(f"/v1/pools/{POOL}/emails", json={**EMAIL, "to": ["x@example.com"], "tags": {"k": "v"}})
    assert answer.status_code == 202, answer.text
    assert track(server, answer.json()["id"])["tags"] == {"k": "v"}
    message = next(m for m in server.drain(POOL) if m["MessageId"] == answer.json()["id"])
    assert "tags" not in json.loads(message["Body"])
    assert message["MessageAttributes"]["tags"]["StringValue"] == '{"k":"v"}'


@pytest.mark.parametrize("tags, wrong", [
    ({"a": 1}, "a value that is number"), ([], "is array"), ("x", "is string"),
    ({str(n): "" for n in range(21)}, "21 members"), ({"a": "x" * 1_100}, "1024 bytes")])
def test_tags_that_are_none_are_refused_by_name(server, tags, wrong):
    for path, body in (("messages", {"group": "g", "body": "b"}), ("emails", {**EMAIL, "to": ["x@example.com"]})):
        answer = server.post(f"/v1/pools/{POOL}/{path}", json={**body, "tags": tags})
        assert answer.status_code == 400 and answer.json()["field"] == "tags", answer.text
        assert wrong in answer.json()["detail"]


def test_an_attribute_of_the_sqs_protocol_is_tags_too(server, sqs):
    sent = sqs.send_message(
        QueueUrl=f"{server.url}/000000000000/{POOL}", MessageBody="b", MessageGroupId="g", MessageDeduplicationId="sqs-tags",
        MessageAttributes={"tags": {"DataType": "String", "StringValue": '{ "a" : "b" }'}})
    assert track(server, sent["MessageId"])["tags"] == {"a": "b"}
    server.drain(POOL)


def test_an_event_says_that_it_is_delivered(server):
    sent = server.send(POOL, "g", "body")
    tell = lambda **outcome: server.post(f"/v1/pools/{POOL}/outcomes", json={"outcomes": [outcome]})
    assert tell(id=sent["id"], state="sent", target="smtp://mx").status_code == 204
    assert tell(id=sent["id"], state="delivered").status_code == 204
    record = track(server, sent["id"])
    assert (record["state"], record["target"]) == ("delivered", "smtp://mx")
    # What is told late changes nothing.
    assert tell(id=sent["id"], state="retrying", attempt=3).status_code == 204
    assert track(server, sent["id"])["state"] == "delivered"
    server.drain(POOL)


@pytest.mark.parametrize("outcome, field", [
    ({"state": "sent"}, "outcomes[0].id"), ({"id": "x"}, "outcomes[0].state"), ({"id": "x", "state": "gone"}, "outcomes[0].state"),
    ({"id": "x" * 101, "state": "sent"}, "outcomes[0].id"), ({"id": "x", "state": "sent", "at": -1}, "outcomes[0].at"),
    ({"id": "x", "state": "sent", "attempt": 1.5}, "outcomes[0].attempt"), ({"id": "x", "state": "sent", "new": 1}, "outcomes[0]"),
    ({"id": "x", "state": "sent", "tags": {"a": []}}, "outcomes[0].tags"), (7, "outcomes[0]"),
    ({"id": "x", "state": "sent", "at": 2**63}, "outcomes[0].at"), ({"id": "x", "state": "sent", "undelivered": "1"}, "outcomes[0].undelivered")])
def test_outcomes_that_are_none_are_refused_by_name(server, outcome, field):
    answer = server.post(f"/v1/pools/{POOL}/outcomes", json={"outcomes": [outcome]})
    assert answer.status_code == 400 and answer.json()["field"] == field, answer.text


def test_unknown_ids_and_other_pools_messages_are_not_found(servers):
    server = servers(pools=(POOL + "=8", "other.fifo=1"))
    sent = server.send(POOL, "g", "body")
    assert track(server, sent["id"], "other.fifo")["state"] is None
    for id in ("nothing", "00000000-0000-8000-8000-000000000000", "%00", "x" * 101, "x" * 5_000):
        assert track(server, id)["state"] is None
    # A consumer that tells nothing.
    server.drain(POOL)
    assert track(server, sent["id"])["state"] is None


def test_what_a_queue_does_itself_is_told_too(servers, tmp_path):
    server = servers(pools=(POOL + "=8", "plain-dlq.fifo=1"))
    sqs = server.boto()
    url = sqs.create_queue(QueueName="plain.fifo", Attributes={
        "FifoQueue": "true", "RedrivePolicy": json.dumps(
            {"deadLetterTargetArn": "arn:aws:sqs:us-east-1:000000000000:plain-dlq.fifo", "maxReceiveCount": 1})})["QueueUrl"]
    sent = sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId="g", MessageDeduplicationId="1")
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    sqs.receive_message(QueueUrl=url)
    dead = until(server, sent["MessageId"], "dead", pool="plain.fifo")
    assert dead["reason"] == "receives-exhausted"


def test_final_outcomes_are_messages_of_a_pool_of_their_own(servers, workers):
    server = servers("--outcomes-pool", "outcomes.fifo", pools=(POOL + "=8", "outcomes.fifo=2"))
    ids = [server.send(POOL, f"g{n % 3}", f"{n}", tags={"n": str(n)})["id"] for n in range(20)]
    with webhook(lambda request: (400 if request["body"] == "7" else 200, {})) as hook, webhook() as outcomes:
        worker = workers("--deliver", hook.url, endpoint=server.url)
        teller = workers("--deliver", outcomes.url, endpoint=server.url, pool="outcomes.fifo")
        wait_until(lambda: len(outcomes.bodies) >= 20, 30, "an outcome for each message")
        told = [json.loads(body) for body in outcomes.bodies]
        assert sorted(o["data"]["id"] for o in told) == sorted(ids)
        for outcome in told:
            data = outcome["data"]
            state = "dead" if data["tags"]["n"] == "7" else "sent"
            assert outcome["type"] == f"message.{state}" and data["state"] == state and data["pool"] == POOL
            assert outcome["timestamp"] == data["at"]
        worker.stop()
        teller.stop()


def test_tracking_can_be_off(servers, workers):
    server = servers("--tracking-hours", "0")
    sent = server.send(POOL, "g", "body", tags={"a": "b"})
    answer = server.get(f"/v1/pools/{POOL}/messages/{sent['id']}")
    assert answer.status_code == 404 and answer.json()["type"].endswith("tracking-off")
    with webhook() as hook:
        worker = workers("--deliver", hook.url, endpoint=server.url)
        wait_until(lambda: hook.bodies == ["body"], 20, "the delivery")
        worker.stop()
    assert not (server.data / "tracking.sqlite").exists()


def test_a_pool_for_outcomes_must_exist(tmp_path):
    done = run("serve", "--listen", "127.0.0.1:0", "--data-dir", tmp_path / "d", "--outcomes-pool", "none.fifo", check=78)
    assert "there is no pool none.fifo" in done.stderr


@pytest.fixture
def at_amazon(moto, tmp_path, servers):
    """A pool of queues at moto, with its control store in DynamoDB there, and a server over it."""
    flags = ["--control", f"dynamodb:{tmp_path.name[:30]}", "--endpoint-url", moto, "--region", "us-east-1"]
    pool = f"t{abs(hash(tmp_path.name)) % 10**8}.fifo"
    run("pool", "create", pool, "--backend", "sqs", "--shards", 2, *flags, env=AWS, check=0)
    server = servers(*flags, pools=(), env=AWS)
    wait_until(lambda: server.get(f"/v1/pools/{pool}").status_code == 200, 20, "the pool")
    return server, pool, flags


@pytest.mark.parametrize("way", ["through the server", "straight"])
def test_messages_in_queues_of_sqs_are_followed_in_dynamodb(at_amazon, workers, tmp_path, way):
    server, pool, flags = at_amazon
    sent = server.send(pool, "g", "good", tags={"n": "1"})
    bad = server.send(pool, "h", "bad")
    queued = until(server, sent["id"], "queued", pool=pool)
    assert queued["tags"] == {"n": "1"} and "acceptedAt" in queued
    with webhook(lambda request: (200 if request["body"] == "good" else 400, {})) as hook:
        if way == "straight":
            worker = Process(["work", "--pool", pool, "--deliver", hook.url, *flags], tmp_path / "w.log", env=AWS)
        else:
            worker = workers("--deliver", hook.url, endpoint=server.url, pool=pool)
        try:
            done = until(server, sent["id"], "sent", pool=pool)
            assert done["tags"] == {"n": "1"} and done["acceptedAt"] == queued["acceptedAt"] and "target" in done
            dead = until(server, bad["id"], "dead", pool=pool)
            assert (dead["reason"], dead["errorClass"]) == ("permanent-failure", "http-400")
        finally:
            worker.stop()
