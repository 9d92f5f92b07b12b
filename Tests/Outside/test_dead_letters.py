# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Dead letters for people: they are listed, shown, sent back and deleted over REST and by the command line."""

import json
import sqlite3

import pytest
import requests
from conftest import Process, run, wait_until

POOL, DEAD = "emails.fifo", "emails-dlq.fifo"
LETTERS = f"/v1/pools/{POOL}/dead-letters"
SECRET = "body-that-nobody-may-read"


def fill(server, tmp_path, count=12, groups=3, body="{}"):
    """Messages of some groups that a worker gave up, in order; their bodies are their numbers."""
    for number in range(count):
        server.send(POOL, f"g{number % groups}", body.format(number) if "{" in body else body + str(number))
    worker = Process(["work", "--pool", POOL, "--endpoint", server.url, "--deliver", "exec:exit 65"],
                     tmp_path / "worker.log")
    wait_until(lambda: server.pool(DEAD)["backlog"] == count, 30, "dead letters")
    worker.stop()


@pytest.fixture
def full(servers, tmp_path):
    server = servers(pools=(POOL + "=4",))
    fill(server, tmp_path)
    return server


def listed(server, query=""):
    answer = server.get(LETTERS + query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def with_bodies(server):
    """Ids by group and body, of all dead letters."""
    found = {}
    for letter in listed(server)["deadLetters"]:
        shown = server.get(f"{LETTERS}/{letter['id']}?body=true").json()
        found[shown["body"]] = letter["id"]
    return found


def redriven(server, body, status="COMPLETED"):
    answer = server.post(LETTERS + "/redrive", json=body)
    assert answer.status_code == 202, answer.text

    def ended():
        task = server.get(LETTERS + "/redrive").json()
        return task if task["status"] not in ("RUNNING", "CANCELLING") else None

    task = wait_until(ended, 60, "the end of the redrive")
    assert task["status"] == status, task
    return task


def groups(messages):
    found = {}
    for message in messages:
        found.setdefault(message["Attributes"]["MessageGroupId"], []).append(message["Body"])
    return found


def test_the_list_says_why_and_holds_no_body(full):
    page = listed(full)
    assert page["queue"] == DEAD and "next" not in page
    letters = page["deadLetters"]
    assert len(letters) == 12 and len({letter["id"] for letter in letters}) == 12
    for letter in letters:
        assert letter["reason"] == "permanent-failure" and letter["errorClass"] and letter["attempts"] == 1
        assert letter["pool"] == POOL and letter["deadAt"].endswith("Z") and letter["sizeBytes"] in (1, 2)
        assert letter["originalId"] and letter["originalId"] != letter["id"] and not letter["inFlight"]
        assert "body" not in letter
    assert listed(full, "?limit=500")["deadLetters"] == letters
    by_name = full.get(f"/v1/pools/{DEAD}/dead-letters").json()
    assert by_name["deadLetters"] == letters, "the dead-letter queue itself may be named"


def test_pages_together_are_the_whole(full):
    found, after = [], ""
    for _ in range(4):
        page = listed(full, f"?limit=5{after}")
        found += page["deadLetters"]
        if "next" not in page:
            break
        assert len(page["deadLetters"]) == 5
        after = f"&after={page['next']}"
    assert found == listed(full)["deadLetters"] and len(found) == 12


def test_looking_receives_nothing(full):
    for _ in range(3):
        for letter in listed(full)["deadLetters"]:
            assert full.get(f"{LETTERS}/{letter['id']}?body=true").status_code == 200
    pool = full.pool(DEAD)
    assert (pool["backlog"], pool["inFlight"]) == (12, 0)
    messages = full.drain(DEAD)
    assert len(messages) == 12
    assert {m["Attributes"]["ApproximateReceiveCount"] for m in messages} == {"1"}
    assert all(letter["inFlight"] for letter in listed(full)["deadLetters"]), "what a receiver has is listed too"


def test_a_body_is_shown_to_who_asks_for_it_and_never_logged(servers, tmp_path):
    server = servers(pools=(POOL + "=1",))
    fill(server, tmp_path, 2, 1, SECRET)
    for letter in listed(server)["deadLetters"]:
        plain = server.get(f"{LETTERS}/{letter['id']}")
        assert SECRET not in plain.text and plain.json()["attributes"]
        assert all("value" not in a for a in plain.json()["attributes"])
        asked = server.get(f"{LETTERS}/{letter['id']}?body=true").json()
        assert asked["body"].startswith(SECRET)
        endpoint = ("--endpoint", server.url)
        assert SECRET not in run("dead-letters", "show", POOL, "--id", letter["id"], *endpoint, check=0).stdout
        assert SECRET in run("dead-letters", "show", POOL, "--id", letter["id"], "--body", *endpoint, check=0).stdout
    redriven(server, {})
    assert SECRET not in server.text()


def test_all_go_back_to_the_end_of_their_groups_in_order(full):
    full.send(POOL, "g1", "before")
    task = redriven(full, {"ratePerSecond": 100})
    assert (task["moved"], task["toMove"], task["skipped"], task["ratePerSecond"]) == (12, 12, 0, 100)
    assert listed(full)["deadLetters"] == []
    full.send(POOL, "g1", "after")
    expected = {f"g{g}": [str(n) for n in range(g, 12, 3)] for g in range(3)}
    expected["g1"] = ["before", *expected["g1"], "after"]
    assert groups(full.drain(POOL)) == expected


def test_only_the_named_ones_move_whatever_lies_before_them(full):
    ids = with_bodies(full)
    # The first of each group stays. Named in another order than theirs, and one of them twice.
    named = ["9", "3", "6", "10", "9"]
    task = redriven(full, {"ids": [ids[n] for n in named]})
    assert (task["moved"], task["toMove"], task["skipped"]) == (4, 4, 0)
    assert groups(full.drain(POOL)) == {"g0": ["3", "6", "9"], "g1": ["10"]}
    assert set(with_bodies(full)) == {str(n) for n in range(12)} - set(named)
    left = groups(full.drain(DEAD))
    assert left == {"g0": ["0"], "g1": ["1", "4", "7"], "g2": ["2", "5", "8", "11"]}


def test_what_a_receiver_has_stays_and_so_do_the_named_ones_behind_it(full):
    ids = with_bodies(full)
    held = full.answer("ReceiveMessage", {"QueueUrl": DEAD, "VisibilityTimeout": 60, "MaxNumberOfMessages": 1})
    # The head of one of the three groups, whichever came first.
    head = int(held["Messages"][0]["Body"])
    other = (head + 1) % 3
    task = redriven(full, {"ids": [ids[str(n)] for n in (head, head + 3, other + 3)]})
    assert (task["moved"], task["skipped"]) == (1, 2)
    assert groups(full.drain(POOL)) == {f"g{other}": [str(other + 3)]}
    refused = requests.delete(f"{full.url}{LETTERS}/{ids[str(head)]}", timeout=10)
    assert refused.status_code == 409 and refused.json()["type"].endswith("dead-letter-held")


def test_one_is_deleted_from_the_middle_of_its_group(full):
    ids = with_bodies(full)
    assert requests.delete(f"{full.url}{LETTERS}/{ids['3']}", timeout=10).status_code == 204
    for method in ("get", "delete"):
        gone = requests.request(method, f"{full.url}{LETTERS}/{ids['3']}", timeout=10)
        assert gone.status_code == 404 and gone.json()["type"].endswith("no-such-dead-letter")
    assert redriven(full, {"ids": [ids["3"], ids["6"]]})["skipped"] == 1
    assert groups(full.drain(DEAD))["g0"] == ["0", "9"]


@pytest.mark.parametrize("named", [False, True])
def test_a_crash_in_the_middle_loses_nothing_and_doubles_nothing(servers, tmp_path, named):
    server = servers(pools=(POOL + "=4",))
    fill(server, tmp_path, 30)
    ids = with_bodies(server)
    body = {"ids": list(ids.values())} if named else {}
    assert server.post(LETTERS + "/redrive", json=body | {"ratePerSecond": 10}).status_code == 202
    wait_until(lambda: 0 < server.get(LETTERS + "/redrive").json()["moved"] < 30, 30, "a part of it")
    server.kill9()
    again = servers(pools=(POOL + "=4",))
    assert again.get(LETTERS + "/redrive").status_code == 404, "it does not go on by itself"
    assert 0 < len(listed(again)["deadLetters"]) < 30
    redriven(again, body)
    assert groups(again.drain(POOL)) == {f"g{g}": [str(n) for n in range(g, 30, 3)] for g in range(3)}
    assert listed(again)["deadLetters"] == []


def test_a_server_s_redrive_policy_is_a_reason_too(servers):
    server = servers(pools=(POOL + "=1",))
    server.send(POOL, "g", "often")
    for _ in range(11):
        server.answer("ReceiveMessage", {"QueueUrl": POOL, "VisibilityTimeout": 0})
    [letter] = wait_until(lambda: listed(server)["deadLetters"], 30, "a dead letter")
    assert (letter["reason"], letter["attempts"], letter["pool"]) == ("received-too-often", 10, POOL)


@pytest.mark.parametrize("method, path, body, status, kind", [
    ("get", "?limit=0", None, 400, "invalid-field"),
    ("get", "?limit=x", None, 400, "invalid-field"),
    ("get", "?after=x", None, 400, "invalid-field"),
    ("get", "/no-id", None, 400, "invalid-field"),
    ("get", "/5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11", None, 404, "no-such-dead-letter"),
    ("post", "/redrive", {"ids": []}, 400, "invalid-field"),
    ("post", "/redrive", {"ids": ["x"]}, 400, "invalid-field"),
    ("post", "/redrive", {"ids": ["5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11"]}, 400, "invalid-field"),
    ("post", "/redrive", {"ratePerSecond": 0}, 400, "invalid-field"),
    ("post", "/redrive", {"id": "x"}, 400, "invalid-field"),
    ("put", "/redrive", {}, 405, "method-not-allowed"),
])
def test_refusals(server, method, path, body, status, kind):
    answer = requests.request(method, server.url + LETTERS + path, json=body, timeout=10)
    assert answer.status_code == status and answer.json()["type"] == f"urn:queuepool:problem:{kind}", answer.text


def test_the_command_line(full):
    def command(*arguments, check=0):
        return run("dead-letters", *arguments, "--endpoint", full.url, check=check)

    table = command("list", POOL).stdout.splitlines()
    assert len(table) == 13 and "permanent-failure" in table[1]
    first = json.loads(command("list", POOL, "--limit", "1", "--json").stdout)
    assert f"more: --after {first['next']}" in command("list", POOL, "--limit", "1").stdout
    ids = with_bodies(full)
    assert "permanent-failure" in command("show", POOL, "--id", ids["0"]).stdout
    assert "deleted" in command("delete", POOL, "--id", ids["0"]).stdout
    assert "of 2" in command("redrive", POOL, "--id", ids["3"], "--id", ids["5"]).stdout
    wait_until(lambda: "COMPLETED moved 2 of 2" in command("status", POOL).stdout, 30, "the end")
    command("redrive", POOL, "--all", "--rate", "50")
    wait_until(lambda: "COMPLETED moved 9 of 9" in command("status", POOL).stdout, 30, "the end")
    assert len(command("list", POOL).stdout.splitlines()) == 1
    assert run("dead-letters", "redrive", POOL, "--endpoint", full.url).returncode == 64
    assert run("dead-letters", "redrive", POOL, "--all", "--id", ids["1"], "--endpoint", full.url).returncode == 64
    assert command("show", POOL, "--id", ids["0"], check=None).returncode != 0


def test_queues_in_sqs_say_what_to_do_instead(servers, moto, tmp_path):
    control = ("--control", f"sqlite:{tmp_path}/control.sqlite", "--endpoint-url", moto, "--region", "us-east-1")
    run("pool", "create", "letters.fifo", "--backend", "sqs", "--shards", "1", *control, check=0)
    server = servers(*control, pools=())
    for method, path in (("get", ""), ("get", "/5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11"),
                         ("delete", "/5a8b1c0e-5d0f-8a52-9d70-6f0a3f6f0f11")):
        answer = requests.request(method, f"{server.url}/v1/pools/letters.fifo/dead-letters{path}", timeout=20)
        assert answer.status_code == 501 and answer.json()["type"] == "urn:queuepool:problem:not-browsable", answer.text
        assert "AWS console" in answer.json()["detail"] and "queuepool work" in answer.json()["detail"]
    assert server.post("/v1/pools/letters.fifo/dead-letters/redrive", json={}).status_code == 202


@pytest.fixture
def damaged(servers, tmp_path):
    """A server with damaged dead letters, and the ids of all."""
    server = servers(pools=(POOL + "=1",))
    fill(server, tmp_path, groups=12)
    ids = with_bodies(server)
    server.stop()
    # Of one row, which may hold several of them.
    rows = 0
    for path in server.data.glob("shards/store-*.sqlite"):
        with sqlite3.connect(path) as database:
            rows += database.execute(
                "UPDATE log SET body = zeroblob(length(body)) WHERE id = (SELECT id FROM log JOIN shards ON shard = number "
                "WHERE kind = 1 AND name LIKE 'emails-dlq%' ORDER BY id LIMIT 1 OFFSET 1)").rowcount
        database.close()
    assert rows == 1
    return servers(pools=(POOL + "=1",)), ids


def test_letters_that_are_damaged_hide_no_others_and_are_counted(damaged):
    server, ids = damaged
    whole = listed(server, "?limit=500")
    count = whole["unreadable"]
    left = {letter["id"] for letter in whole["deadLetters"]}
    assert 0 < count and count + len(left) == 12 and left < set(ids.values())
    lost = sorted(set(ids.values()) - left)
    # Page by page they are passed by.
    seen, after, unreadable = [], "", 0
    while after is not None:
        page = listed(server, f"?limit=1{after}")
        seen += [letter["id"] for letter in page["deadLetters"]]
        unreadable += page["unreadable"]
        after = f"&after={page['next']}" if "next" in page else None
    assert len(seen) == len(left) and set(seen) == left and unreadable == count
    assert f"{count} more cannot be read" in run("dead-letters", "list", POOL, "--endpoint", server.url, check=0).stdout
    for answer in (server.get(f"{LETTERS}/{lost[0]}"), server.session.delete(f"{server.url}{LETTERS}/{lost[0]}")):
        assert answer.status_code == 500 and answer.json()["type"].endswith(":unreadable-dead-letter"), answer.text
    task = redriven(server, {"ids": [*lost, *left]})
    assert (task["moved"], task["unreadable"], task["skipped"]) == (len(left), count, 0)
    shown = run("dead-letters", "status", POOL, "--endpoint", server.url, check=0).stdout
    assert f"{count} cannot be read" in shown and "not there" not in shown
    assert server.pool(POOL)["backlog"] == len(left) and listed(server) == {
        "queue": DEAD, "deadLetters": [], "unreadable": count}


def test_a_redrive_of_all_counts_letters_that_are_damaged(damaged):
    server, ids = damaged
    count = listed(server)["unreadable"]
    assert count > 0
    # The first one has met and hidden them when the second one comes.
    for moved in (len(ids) - count, 0):
        task = redriven(server, {})
        assert (task["moved"], task["unreadable"], task["skipped"]) == (moved, count, 0)
        shown = run("dead-letters", "status", POOL, "--endpoint", server.url, check=0).stdout
        assert f"COMPLETED moved {moved} of " in shown and f", {count} cannot be read\n" in shown
    assert listed(server) == {"queue": DEAD, "deadLetters": [], "unreadable": count}
