# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Ports that stay free until somebody listens on them, whatever else the tests do at the same time.

A port that the kernel chose is of the range that it takes the near ends of connections from: between its choice and its
use, and while a server is away and comes back, a connection may get it. Ports below that range are given to nobody who
does not name them, and each process of tests has a stretch of them to itself."""

import itertools
import socket
from pathlib import Path

FIRST = 12_000
"""Browsers refuse some ports below."""
LENGTH = 400
KERNELS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def stretches():
    end = int(KERNELS.read_text().split()[0])
    return [range(first, first + LENGTH) for first in range(FIRST, end - LENGTH + 1, LENGTH)]


class Stretch:
    """What one process has claimed for as long as it lives."""

    def __init__(self):
        self.claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.ports = itertools.cycle(next(filter(self.is_claimed, stretches()), [0]))

    def is_claimed(self, stretch):
        """The name of a socket belongs to one process, and to the network that its ports are of."""
        try:
            self.claim.bind(f"\0queuepool-tests-{stretch.start}")
            return True
        except OSError:
            return False

    def free(self):
        while True:
            with socket.socket() as probe:
                try:
                    probe.bind(("", next(self.ports)))
                    return probe.getsockname()[1]
                except OSError:
                    pass  # somebody else's, or closed a moment ago


OWN = Stretch()


def free_port():
    return OWN.free()
