# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The operators' port answers while the other one is full, and asks who they are as that one does."""

import contextlib
import re
import socket
import threading

import pytest
import requests

from access_server import KeyServer, key
from certificates import Authority
from conftest import Server, free_port, run, wait_until
from tls_server import TLSServer

PATHS = ["/healthz", "/readyz", "/metrics", "/openapi.json", "/", "/v1/pools", "/v1/pools/emails.fifo"]
UNAVAILABLE = 69


def admin_port(server):
    """Of the line that says where the port is."""
    line = wait_until(lambda: re.search(r"The admin port is open.*", server.text()), 30, "the admin port's line")[0]
    return int(re.search(r"\bport=(\d+)", line)[1])


@pytest.fixture
def start(tmp_path):
    """Starts servers with an admin port on any free port."""
    started = []

    def make(*arguments, kind=Server, **options):
        directory = tmp_path / f"server{len(started)}"
        directory.mkdir()
        server = kind(directory, "--admin-listen", "127.0.0.1:0", *arguments, **options)
        started.append(server)
        return server

    yield make
    for server in started:
        if server.is_running:
            server.kill9()


def get(server, path, **options):
    return requests.get(f"http://127.0.0.1:{admin_port(server)}{path}", timeout=30, **options)


def connect(port):
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def filled(server, connections):
    """Takes every connection of the data port."""
    server.session.close()
    taken = []

    def is_full():
        connection = connect(server.port)
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        said = b""
        with contextlib.suppress(OSError):
            said = connection.recv(4_096)
        if b" 200 " in said:
            taken.append(connection)
            return False
        connection.close()
        return len(taken) >= connections

    wait_until(is_full, 20, "that the port is full")
    return taken


def test_it_answers_all_that_operators_ask_while_the_connections_are_at_their_limit(start):
    server = start("--max-connections", "10")
    taken = filled(server, 10)
    for path in PATHS:
        assert get(server, path).status_code == 200, path
    # Those that were refused are gone.
    wait_until(lambda: "queuepool_connections 10\n" in get(server, "/metrics").text, what="the full port")
    assert re.search(r"^queuepool_admin_connections [1-9]", get(server, "/metrics").text, re.M)
    answer = requests.post(f"http://127.0.0.1:{admin_port(server)}/v1/pools/emails.fifo/purge", timeout=30)
    assert answer.status_code < 300, answer.text
    for connection in taken:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b" 200 " in connection.recv(4_096)
        connection.close()
    wait_until(lambda: "queuepool_connections 0\n" in get(server, "/metrics").text, what="room again")
    assert server.send("emails.fifo", "g", "after")["id"]
    server.stop()


def test_it_answers_while_the_held_bytes_are_at_their_limit(start):
    server = start("--held-bytes-max", str(16 << 20), "--request-bytes-max", str(2 << 20))
    head = (b"POST /v1/pools/emails.fifo/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (2 << 20))
    taken = []

    def is_full():
        taken.append(connection := connect(server.port))
        with contextlib.suppress(OSError):
            # What is one too many is answered and given up: small ones at last fill what is left.
            connection.sendall(head + b" " * ((2 << 20) - 1 if len(taken) < 8 else 256 << 10))
        return server.post("/v1/pools/emails.fifo/messages", data=b" " * (1 << 20),
                           headers={"Content-Type": "application/json"}).status_code == 503

    wait_until(is_full, 10, "that the budget is used up")
    for path in PATHS:
        assert get(server, path).status_code == 200, path
    answer = requests.post(
        f"http://127.0.0.1:{admin_port(server)}/v1/pools", timeout=30,
        json={"name": "more.fifo", "shards": 1, "note": "x" * 10})
    assert answer.status_code != 503, answer.text
    for connection in taken:
        connection.close()
    server.stop()


def test_its_own_connections_are_bounded_and_take_none_of_the_others(start):
    server = start("--max-connections", "10")
    port = admin_port(server)
    served, refused, many = 0, 0, []
    for _ in range(80):
        many.append(connection := connect(port))
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            said = connection.recv(4_096)
            served, refused = served + (b" 200 " in said), refused + (b" 503 " in said or not said)
    assert served == 64 and refused == 16
    assert server.get("/healthz").status_code == 200
    assert server.send("emails.fifo", "g", "meanwhile")["id"]
    for connection in many:
        connection.close()


def test_a_stop_ends_both(start):
    server = start()
    idle = connect(admin_port(server))
    server.stop()
    assert idle.recv(1) == b""


def test_it_stays_while_the_server_finishes_what_it_accepted(start):
    server = start("--drain-seconds", "30", "--inject-latency-ms", "3000")
    port = admin_port(server)
    answers = []
    sender = threading.Thread(target=lambda: answers.append(server.send("emails.fifo", "g", "slow")))
    sender.start()
    wait_until(lambda: re.search(r"^queuepool_waiting_sends\{.*\} 1$", get(server, "/metrics").text, re.M),
               what="that the message waits")
    server.popen.terminate()
    wait_until(lambda: requests.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == 503,
               what="that it says that it stops")
    assert "queuepool_connections 1\n" in requests.get(f"http://127.0.0.1:{port}/metrics", timeout=10).text
    sender.join(30)
    assert answers and answers[0]["id"]
    server.stop()


@pytest.mark.parametrize("value, code, says", [
    ("nowhere", 64, "HOST:PORT"), ("127.0.0.1:99999", 64, "HOST:PORT"),
    ("127.0.0.1:7", 64, "is the address of server.listen"), ("0.0.0.0:0", 64, "off loopback")])
def test_an_address_that_is_none_is_refused(tmp_path, value, code, says):
    done = run("serve", "--listen", "127.0.0.1:7", "--data-dir", tmp_path, f"--admin-listen={value}")
    assert done.returncode == code and "server.admin-listen" in done.stderr and says in done.stderr, done.stderr
    done = run("serve", "--listen", "127.0.0.1:7", "--data-dir", tmp_path,
               env={"QUEUEPOOL_SERVER_ADMIN_LISTEN": value})
    assert done.returncode == 78 and "server.admin-listen" in done.stderr, done.stderr


def test_a_port_in_use_ends_the_start_as_the_other_one_does(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = f"127.0.0.1:{other.getsockname()[1]}"
        free = f"127.0.0.1:{free_port()}"
        for number, (listen, admin) in enumerate([(free, taken), (taken, free)]):
            done = run("serve", "--listen", listen, "--admin-listen", admin, "--data-dir", tmp_path / str(number))
            assert done.returncode == UNAVAILABLE, done.stderr
            assert taken in done.stderr and "Listening" not in done.stderr, done.stderr


def test_keys_are_asked_for_as_on_the_other_port(start):
    server = start(kind=KeyServer)
    weak = server.key("watcher", "*:metrics")
    assert get(server, "/healthz").status_code == 200
    assert get(server, "/v1/pools").status_code == 401
    assert get(server, "/metrics").status_code == 401
    bearer = {"Authorization": f"Bearer {weak['token']}"}
    wait_until(lambda: get(server, "/metrics", headers=bearer).status_code == 200, what="the new key")
    purge = f"http://127.0.0.1:{admin_port(server)}/v1/pools/emails.fifo/purge"
    assert requests.post(purge, headers=bearer, timeout=30).status_code == 403
    bearer = {"Authorization": f"Bearer {server.root['token']}"}
    assert requests.post(purge, headers=bearer, timeout=30).status_code < 300


def test_tls_is_spoken_as_on_the_other_port(tmp_path):
    authority = Authority(tmp_path)
    server = TLSServer(tmp_path / "server", authority, *authority.issue("server")[:2], "--admin-listen", "127.0.0.1:0")
    try:
        url = f"https://127.0.0.1:{admin_port(server)}/v1/pools"
        assert requests.get(url, verify=str(authority.path), timeout=30).status_code == 200
        with pytest.raises(requests.ConnectionError):
            get(server, "/healthz")
    finally:
        server.stop()


def test_off_loopback_it_makes_the_server_ask_for_keys(tmp_path):
    authority = Authority(tmp_path)
    (tmp_path / "server").mkdir()
    root = key(("--data-dir", tmp_path / "server" / "data"), "root", "*:send,receive,admin,metrics")
    server = TLSServer(tmp_path / "server", authority, *authority.issue("server")[:2], "--admin-listen", "0.0.0.0:0")
    try:
        for port in (server.port, admin_port(server)):
            url = f"https://127.0.0.1:{port}/v1/pools"
            assert requests.get(url, verify=str(authority.path), timeout=30).status_code == 401
            bearer = {"Authorization": f"Bearer {root['token']}"}
            assert requests.get(url, verify=str(authority.path), timeout=30, headers=bearer).status_code == 200
    finally:
        server.stop()
