# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What a worker shows on a terminal: one line that is drawn over, below whole log lines."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading

import pytest
from conftest import BIN, clean_environment, free_port, wait_until
from receivers import webhook

POOL = "emails.fifo"
LOG = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z [a-z]+ \S+: [A-Z].*")


class Terminal:
    """A terminal wide enough that nothing wraps, and a worker on it."""

    def __init__(self, *arguments, columns=1000):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
        self.popen = subprocess.Popen([BIN, "work", "--pool", POOL, *arguments], stdin=subprocess.DEVNULL, stdout=slave,
                                      stderr=slave, env=clean_environment())
        os.close(slave)
        self.bytes = bytearray()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while True:
            try:
                self.bytes += os.read(self.master, 65536)
            except OSError:  # the other end is closed
                return

    def screen(self):
        """Rows as they stand on the screen."""
        rows, column = [""], 0
        for part in re.findall(r"\r|\n|\x1b\[K|[^\r\n\x1b]+|\x1b", bytes(self.bytes).decode()):
            if part == "\r":
                column = 0
            elif part == "\n":
                rows.append("")
            elif part == "\x1b[K":
                rows[-1] = rows[-1][:column]
            else:
                rows[-1] = rows[-1][:column] + part + rows[-1][column + len(part):]
                column += len(part)
        return rows

    def shows(self, pattern):
        wait_until(lambda: re.search(pattern, self.screen()[-1]), 40, f"a last row with {pattern!r}")

    def stop(self):
        self.popen.send_signal(signal.SIGTERM)
        assert self.popen.wait(40) == 0
        self.reader.join(20)
        os.close(self.master)


@pytest.fixture
def terminal(server):
    server.post(f"/v1/pools/{POOL}/purge")
    started = []

    def start(*arguments, **options):
        started.append(Terminal("--endpoint", server.url, *arguments, **options))
        return started[-1]

    yield start
    for one in started:
        if one.popen.poll() is None:
            one.popen.kill()


def test_one_line_shows_the_progress_and_log_lines_stay_whole(server, terminal):
    def fails_first(request):
        return (200 if request["headers"]["X-Queuepool-Attempt"] != "1" else 503), {}

    with webhook(fails_first) as hook:
        terminal = terminal("--deliver", hook.url)
        terminal.shows(r"^0 delivered  0/s  0 retrying  0 held  0 under way  0 dead letters$")
        for number in range(30):
            server.send(POOL, f"g{number % 10}", f"{number}")
        terminal.shows(r"^30 delivered  \d+/s  0 retrying  0 held  0 under way  0 dead letters$")
        rows = terminal.screen()
        terminal.stop()
    assert sum("Delivery failed" in row for row in rows) == 30
    assert not [row for row in rows[:-1] if not LOG.fullmatch(row)]
    left = terminal.screen()
    assert left[-1] == "" and not [row for row in left[:-1] if not LOG.fullmatch(row)], "nothing is left of the line"
    assert "Worker stopped" in left[-2] and "delivered=30" in left[-2]


def test_targets_that_are_down_are_named(server, terminal):
    port = free_port()
    server.send(POOL, "g", "waits")
    terminal = terminal("--deliver", f"http://127.0.0.1:{port}/path")
    terminal.shows(rf"^0 delivered .* 1 held .*  down: http://127\.0\.0\.1:{port}$")
    terminal.stop()


def test_a_line_is_not_longer_than_the_terminal_is_wide(server, terminal):
    terminal = terminal("--deliver", f"http://127.0.0.1:{free_port()}/", columns=40)
    terminal.shows(r"^0 delivered.*\.\.\.$")
    assert len(terminal.screen()[-1]) < 40
    terminal.stop()


@pytest.mark.parametrize("options", [
    ["--deliver", "http://127.0.0.1:1/", "--log-level", "debug"], ["--deliver", "http://127.0.0.1:1/", "--log-format", "json"],
    ["--deliver", "stdout:"], ["--deliver", "exec:cat"]], ids=["debug", "json", "stdout", "exec"])
def test_no_line_is_drawn_where_others_write(server, terminal, options):
    terminal = terminal(*options)
    wait_until(lambda: b"Working" in terminal.bytes, 20, "the start")
    terminal.stop()
    assert b"\x1b" not in terminal.bytes and b" under way" not in terminal.bytes
