# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What depth.py, latency.py and access.py have in common: servers, loads of `queuepool bench`, the bare disk."""

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = os.environ.get("QUEUEPOOL", str(HERE.parent / ".build/release/queuepool"))
RESULTS = Path(os.environ.get("RESULTS", HERE / "results"))
POOL = "bench.fifo"


def number(name, otherwise):
    """A number out of the environment, written 5000000 or 5_000_000."""
    return type(otherwise)(os.environ.get(name) or otherwise)


def say(text):
    print(text, file=sys.stderr, flush=True)


def need(command, package):
    """Installs a Debian package unless its command is there, as the other scripts do."""
    subprocess.run(["bash", "-c", f". {HERE}/lib.sh && need {command} {package}"], check=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_seconds(pid):
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def status_bytes(pid, name):
    """VmRSS (now) or VmHWM (at most so far) of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return None


class Server:
    """`queuepool serve` over a directory of its own; `start` waits until it is ready and sets `ready_seconds`."""

    def __init__(self, data, *arguments, prefix=(), port=None):
        self.data, self.arguments, self.prefix = Path(data), arguments, list(prefix)
        self.port = port or free_port()
        self.popen = None
        self.ready_seconds = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        return self.data.with_name(self.data.name + ".log")

    def start(self):
        began = time.monotonic()
        with open(self.log, "ab") as file:
            self.popen = subprocess.Popen(
                [*self.prefix, PROGRAM, "serve", "--listen", f"127.0.0.1:{self.port}", "--data-dir", str(self.data),
                 "--pool", f"{POOL}=8", *map(str, self.arguments)],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        while not self.is_ready():
            if self.popen.poll() is not None or time.monotonic() - began > 300:
                raise SystemExit(f"the server does not start: {self.log.read_text()[-500:]}")
            time.sleep(0.005)
        self.ready_seconds = time.monotonic() - began
        return self

    def is_ready(self):
        # Where it speaks TLS there is no plain /readyz to ask.
        if "--tls-certificate" in self.arguments:
            return self.log.exists() and "Listening" in self.log.read_text()
        try:
            with urllib.request.urlopen(self.url + "/readyz", timeout=60) as answer:
                return answer.status == 200
        except OSError:
            return False

    def stop(self):
        if self.popen is None:
            return
        self.popen.terminate()
        code = self.popen.wait(120)
        self.popen = None
        if code:
            raise SystemExit(f"the server ended with exit code {code}: {self.log.read_text()[-500:]}")


@contextlib.contextmanager
def server(data, *arguments, prefix=()):
    """A server that is ready and is stopped with the block."""
    made = Server(data, *arguments, prefix=prefix)
    try:
        yield made.start()
    finally:
        made.stop()


@contextlib.contextmanager
def directory(name):
    """A directory of the run's own under TMPDIR, which should be on the disk that is to be measured."""
    with tempfile.TemporaryDirectory(prefix=f"queuepool-{name}.") as place:
        yield Path(place)


def bench_words(made, file, *arguments):
    """The command line of one measurement of a server that runs."""
    return [PROGRAM, "bench", "run", "--endpoint", made.url, "--server-pid", str(made.popen.pid), "--pool", POOL,
            "--json", str(file), *map(str, arguments)]


def bench(made, place, *arguments, prefix=()):
    """One measurement of a server that runs; its report. A broken check ends the script."""
    file = Path(place) / "bench.json"
    file.unlink(missing_ok=True)
    done = subprocess.run([*prefix, *bench_words(made, file, *arguments)], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(f"bench ended with exit code {done.returncode}: {done.stderr[-500:]}")
    return json.loads(file.read_text())


def phase(report, name=None):
    """The phase of that name, or the one that the mode is named after."""
    name = name or report["parameters"]["mode"]
    return next(one for one in report["phases"] if one["name"] == name)


def percentiles(values):
    """p50, p99, p99.9 and the maximum, in microseconds of values in nanoseconds."""
    values = sorted(values)
    found = {name: values[min(len(values) - 1, int(len(values) * share))] / 1e3
             for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))}
    return {**{name: round(value, 1) for name, value in found.items()}, "max": round(values[-1] / 1e3, 1),
            "count": len(values)}


def bare_fdatasync(place, seconds, block=16_384, blocks=1_024):
    """Latencies of fdatasync after a block was overwritten in a file whose blocks are there, with nothing beside it."""
    file = os.open(Path(place) / "fdatasync", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        data = os.urandom(block)
        for index in range(blocks):
            os.pwrite(file, data, index * block)
        os.fsync(file)
        taken, index, until = [], 0, time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter_ns()
            os.pwrite(file, data, index % blocks * block)
            os.fdatasync(file)
            taken.append(time.perf_counter_ns() - began)
            index += 1
        return taken
    finally:
        os.close(file)
        os.unlink(Path(place) / "fdatasync")


def others_share(seconds=0.3):
    """Share of the processors that is used now; asked while nothing of ours runs, whether the machine is quiet."""
    def read():
        fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]
    (all_before, idle_before), _ = read(), time.sleep(seconds)
    all_after, idle_after = read()
    return round(1 - (idle_after - idle_before) / max(1, all_after - all_before), 3)


def machine():
    """Where it was measured and with what."""
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), "unknown")
    return {"version": version, "cores": os.cpu_count(), "processor": model, "kernel": os.uname().release,
            "memoryBytes": os.sysconf("SC_PHYS_PAGES") * resource.getpagesize(), "measuredAt": int(time.time()),
            "othersShare": others_share()}


def write(name, value):
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text(json.dumps(value, indent=1) + "\n")
    say(f"written to {RESULTS / name}")


def verdict(holds):
    return "holds" if holds else "MISSED"
