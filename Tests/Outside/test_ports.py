# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The ports that tests give to servers: nobody else gets them first."""

import subprocess
import sys
from pathlib import Path

from conftest import free_port

ASK = "import conftest; print(*[conftest.free_port() for _ in range(50)]); input()"


def test_no_connection_gets_the_port():
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not [port for port in (free_port() for _ in range(50)) if low <= port <= high]


def test_no_port_is_given_twice_in_a_row_or_to_two_processes():
    others = [subprocess.Popen([sys.executable, "-c", ASK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               cwd=Path(__file__).parent) for _ in range(2)]
    try:
        ports = [free_port() for _ in range(50)]
        for other in others:
            ports += map(int, other.stdout.readline().split())
    finally:
        for other in others:
            other.communicate("\n")
    assert len(set(ports)) == len(ports) == 150
