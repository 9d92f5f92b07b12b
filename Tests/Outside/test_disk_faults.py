# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What an operator's hand and a broken disk do to the files of a server."""

import os

import pytest

POOL = "emails.fifo"


def stores(server):
    return sorted((server.data / "shards").glob("store-*.sqlite"))


@pytest.mark.parametrize("end", ["stop", "kill9"])
def test_a_store_that_is_missing_stops_the_start_with_its_name(servers, end):
    server = servers(pools=(POOL + "=4",))
    sent = sorted(server.send(POOL, f"g{i}", str(i))["id"] for i in range(40))
    getattr(server, end)()
    files = stores(server)
    assert len(files) > 1
    for file in files:
        away = file.with_name("away")
        file.rename(away)
        with pytest.raises(AssertionError, match="the server ended with [1-9]") as ended:
            servers(pools=(POOL + "=4",), port=server.port)
        assert f"{file} is missing" in str(ended.value)
        assert not file.exists(), "another one was made in its place"
        away.rename(file)
    first, second = files[:2]
    both = first.with_name("away")
    os.rename(first, both), os.rename(second, first), os.rename(both, second)
    with pytest.raises(AssertionError, match="the server ended with [1-9]") as ended:
        servers(pools=(POOL + "=4",), port=server.port)
    assert str(first) in str(ended.value) and str(second) in str(ended.value)
    os.rename(first, both), os.rename(second, first), os.rename(both, second)
    again = servers(pools=(POOL + "=4",), port=server.port)
    assert sorted(m["MessageId"] for m in again.drain(POOL)) == sent
    again.stop()
