# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A store's file belongs to its server while it runs, and to whoever looks at it afterwards."""

import sqlite3

import pytest

POOL = "emails.fifo"


def look(path):
    """How many rows another process sees in a store."""
    connection = sqlite3.connect(f"file:{path}?mode=rw", uri=True, timeout=0)
    try:
        return connection.execute("SELECT count(*) FROM log").fetchone()[0]
    finally:
        connection.close()


def test_no_other_process_reads_or_writes_a_store_that_is_in_use(servers):
    server = servers(pools=(POOL + "=2",))
    for number in range(5):
        server.send(POOL, f"g{number}", "body")
    store = server.data / "shards" / "store-0.sqlite"
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        look(store)
    # What another process keeps beside a file in use would be a second truth of its log.
    assert not store.with_name("store-0.sqlite-shm").exists()
    server.send(POOL, "g", "body")
    server.stop()
    assert look(store) > 0
