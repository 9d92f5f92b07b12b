# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Handshakes that are begun and not finished take nothing from those who are in, and no place from those who come."""

import contextlib
import re
import socket
import ssl
import threading

import pytest

from conftest import wait_until
from test_tls import authority, is_answered, tls  # noqa: F401, the servers' fixtures


def half_open(server, hello):
    """A connection that says nothing, or a client's first words and nothing more."""
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(hello)
    return connection


def client_hello():
    out = ssl.MemoryBIO()
    machine = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        machine.do_handshake()
    return out.read()


def cut(server, reason):
    page = server.get("/metrics").text
    return int(re.search(rf'queuepool_http_connections_cut_total\{{reason="{reason}"\}} (\d+)', page)[1])


@pytest.mark.parametrize("hello", ["", "hello"], ids=["silent", "after the first words"])
def test_those_that_are_not_finished_never_take_all_places(tls, hello):
    server = tls("--max-connections", "40", "--header-timeout-seconds", "300")
    before = server.connect()
    assert is_answered(before)
    flood = [half_open(server, client_hello() if hello else b"") for _ in range(80)]
    # Whoever was in goes on, and whoever comes gets in.
    assert is_answered(before)
    for _ in range(5):
        with server.connect() as honest:
            assert is_answered(honest)
    # A quarter of the places, of which the honest had one each for a moment.
    wait_until(lambda: cut(server, "too-many-handshakes") >= 70, what="the count")
    # The oldest went first: what the server said to it, if anything, has an end.
    with contextlib.suppress(ConnectionResetError):
        while flood[0].recv(65_536):
            pass
    for connection in flood:
        connection.close()
    before.close()
    server.stop()


def test_a_flood_of_handshakes_leaves_the_loop_to_those_who_are_in(tls):
    server = tls()
    hello, over = client_hello(), threading.Event()
    before = server.connect()
    assert is_answered(before)

    def flood():
        while not over.is_set():
            connections = []
            with contextlib.suppress(OSError):
                for _ in range(20):
                    connections.append(half_open(server, hello))
            for connection in connections:
                connection.close()

    threads = [threading.Thread(target=flood) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(100):
            assert is_answered(before)
        for _ in range(5):
            with server.connect() as honest:
                assert is_answered(honest)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    server.stop()
