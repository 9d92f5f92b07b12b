# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A wall clock that is set, by libfaketime: over a stop and while the server runs."""

import glob
import time

import pytest

LIBRARY = next(iter(glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")), None)
POOL = "emails.fifo"


@pytest.fixture
def shifted(tmp_path):
    """The environment of a process whose wall clock is off; `set(seconds)` sets it while it runs. Time that only grows
    is left alone, as an operator's `date -s` leaves it."""
    assert LIBRARY, "libfaketime is not installed; infra/test installs it"
    file = tmp_path / "offset"

    def set(seconds):
        # At once: the library reads the file with every look at the clock.
        new = tmp_path / "new"
        new.write_text(f"{seconds:+d}\n")
        new.rename(file)

    set(0)
    # Were FAKETIME_SHARED not set, the library would set it, and with that move what Swift finds the arguments by.
    return set, {"FAKETIME_SHARED": "none none", "LD_PRELOAD": LIBRARY, "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
                 "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def receive(server, wait=0, visibility=60, number=10):
    return server.answer("ReceiveMessage", {
        "QueueUrl": POOL, "WaitTimeSeconds": wait, "VisibilityTimeout": visibility, "MaxNumberOfMessages": number,
        "MessageSystemAttributeNames": ["All"]}).get("Messages", [])


def test_a_clock_that_was_days_ahead_when_the_server_stopped(servers, shifted):
    set, env = shifted
    set(2 * 86_400)
    server = servers(pools=(POOL + "=1",), env=env)
    for number in range(3):
        server.send(POOL, "g", str(number), deduplicationId=str(number))
    assert [m["Body"] for m in receive(server, visibility=3, number=1)] == ["0"]
    server.stop()
    set(0)
    server = servers(pools=(POOL + "=1",), env=env, port=server.port)
    assert server.send(POOL, "g", "2", deduplicationId="2")["duplicate"], "known ids are refused"
    assert not server.send(POOL, "g", "3", deduplicationId="3")["duplicate"], "new ones are taken"
    start, got = time.monotonic(), []
    while not got and time.monotonic() - start < 20:
        got = receive(server, wait=5)
    assert time.monotonic() - start < 15, "in flight for as long as it was meant to, and not for two days"
    assert [m["Body"] for m in got] == ["0", "1", "2", "3"]
    sent = [int(m["Attributes"]["SentTimestamp"]) for m in got]
    assert sent == sorted(sent)
    server.stop()


@pytest.mark.parametrize("jump", [-7_200, 7_200], ids=["back", "ahead"])
def test_a_clock_that_is_set_while_the_server_runs(servers, shifted, jump):
    set, env = shifted
    server = servers(pools=(POOL + "=1",), env=env)
    for number in range(2):
        server.send(POOL, "g", str(number), deduplicationId=str(number))
    assert [m["Body"] for m in receive(server, visibility=600, number=1)] == ["0"]
    server.send(POOL, "h", "short")
    assert [m["Body"] for m in receive(server, visibility=2, number=1)] == ["short"]
    set(jump)
    assert server.send(POOL, "g", "1", deduplicationId="1")["duplicate"], "five minutes have not passed"
    # Without a long poll: when it sets the clock back, the library delays timers by the time since boot as well, which a
    # real step of the clock does not.
    start, got = time.monotonic(), []
    while not got and time.monotonic() - start < 20:
        time.sleep(0.1)
        got = receive(server)
    assert [m["Body"] for m in got] == ["short"], "two seconds have, and ten minutes have not"
    server.stop()
