# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A mail server in a process of its own, which can be killed and started again on its port.

It writes a line to a file for each mail before it answers the final dot: a mail whose answer was lost is in the file.
Each client has an address of its own, 127.0.0.1 or 127.0.0.2, so that it is known who handed a mail over.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from email.parser import BytesHeaderParser
from typing import NamedTuple

from aiosmtpd.smtp import SMTP
from conftest import wait_until

HOSTS = ("127.0.0.1", "127.0.0.2")


class Arrival(NamedTuple):
    """A mail as a server wrote it down. All processes of the machine have the same clock."""

    at: float
    server: str
    life: int
    """Which process of the server took it: its id."""
    client: int
    """Place of the client's address in HOSTS."""
    connection: int
    subject: str


class MailProcess:
    """A mail server; `start` and `kill` as often as a test likes."""

    def __init__(self, name, directory, port, pause=0.05):
        self.name, self.port, self.pause, self.file = name, port, pause, directory / f"{name}.mails"
        self.file.touch()
        self.log, self.popen = open(directory / f"{name}.log", "ab"), None

    def url(self, client):
        return f"smtp://{HOSTS[client]}:{self.port}?tls=off"

    def start(self):
        ready = self.file.with_suffix(".ready")
        ready.unlink(missing_ok=True)
        self.popen = subprocess.Popen(
            [sys.executable, __file__, self.name, str(self.port), str(self.file), str(ready), str(self.pause)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        wait_until(ready.exists, 30, "a mail server's start")
        return self.popen.pid

    def kill(self):
        """SIGKILL. Returns the id of the process that is no more."""
        self.popen.kill()
        self.popen.wait(20)
        return self.popen.pid

    def close(self):
        if self.popen and self.popen.poll() is None:
            self.kill()
        self.log.close()

    def arrivals(self):
        return [Arrival(*json.loads(line)) for line in self.file.read_text().splitlines(keepends=True)
                if line.endswith("\n")]

    def count(self, client=None, life=None):
        return sum(client in (None, a.client) and life in (None, a.life) for a in self.arrivals())


class Recorder:
    def __init__(self, name, file, pause):
        self.name, self.file, self.pause, self.connections = name, file, pause, {}

    async def handle_DATA(self, server, session, envelope):
        subject = BytesHeaderParser().parsebytes(envelope.original_content)["subject"]
        connection = self.connections.setdefault(id(server), len(self.connections))
        client = HOSTS.index(server.transport.get_extra_info("sockname")[0])
        arrival = Arrival(time.monotonic(), self.name, os.getpid(), client, connection, subject)
        os.write(self.file, json.dumps(arrival).encode() + b"\n")
        await asyncio.sleep(self.pause)
        return "250 OK"


async def serve(name, port, file, ready, pause):
    recorder = Recorder(name, os.open(file, os.O_WRONLY | os.O_APPEND), float(pause))
    sessions = []  # keeps each from being collected: its id names its connection

    def session():
        sessions.append(SMTP(recorder, hostname=name, enable_SMTPUTF8=True))
        return sessions[-1]

    listener = await asyncio.get_running_loop().create_server(session, HOSTS, int(port))
    open(ready, "w").close()
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*sys.argv[1:]))
