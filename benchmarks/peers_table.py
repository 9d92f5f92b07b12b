# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Prints the measurements of peers.sh as a table in Markdown, and writes them to a file.

    peers_table.py DIRECTORY FILE
"""
import json
import os
import pathlib
import platform
import statistics
import sys

directory, target = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
PEERS = {"redis1": "Redis, 1 process", "redis2": "Redis, 2 processes", "postgres": "PostgreSQL"}
# Row, side that counts, its name. Of sends and a drain at once it is what went right through.
ROWS = [("send", "send", "single sends"), ("batch", "send", "batches of 10"),
        ("drain", "receive", "drain, 8 consumers"),
        ("drain64", "receive", "drain, queuepool with 64 consumers"),
        ("both", "receive", "send and drain at once")]


def load(name):
    paths = directory.glob(f"{name}.*.json")
    found = {int(path.stem.rsplit(".", 1)[1]): json.loads(path.read_text()) for path in paths}
    return [found[number] for number in sorted(found)]


def figures(name, row, side):
    """Messages a second and CPU us a message of each round."""
    reports = load(f"{name}.{row}")
    if not reports or not all(report["checks"]["holds"] for report in reports):
        sys.exit(f"{name}, {row}: not measured, or its check does not hold")
    if name == "queuepool":
        phases = [next(phase for phase in report["phases"] if phase["name"] == report["parameters"]["mode"])
                  for report in reports]
        return ([phase["delete" if side == "receive" else side]["messagesPerSecond"] for phase in phases],
                [phase["serverCPUMicrosecondsPerMessage"] for phase in phases])
    return ([report["sentPerSecond" if side == "send" else "receivedPerSecond"] for report in reports],
            [report["serverCPUMicrosecondsPerMessage"] for report in reports])


loads = {name: float(load) for name, load in (line.split() for line in (directory / "loads").read_text().splitlines())}
rows = []
print("| row | queuepool | " + " | ".join(PEERS.values()) + " |")
print("|---|---|" + "---|" * len(PEERS))
for row, side, title in ROWS:
    rates, cpus = figures("queuepool", row, side)
    rate, cpu = statistics.median(rates), statistics.median(cpus)
    entry = {"row": row, "queuepool": {"messagesPerSecond": rates, "serverCPUMicrosecondsPerMessage": cpus}}
    cells = [f"{rate:,.0f}/s, {cpu:.1f} us"]
    for peer in PEERS:
        peer_rates, peer_cpus = figures(peer, "drain" if row == "drain64" else row, side)
        # Of each round its own ratio, since the machine's mood is one within a round; then their median.
        ratios = [ours / theirs for ours, theirs in zip(rates, peer_rates)]
        cpu_ratios = [ours / theirs for ours, theirs in zip(cpus, peer_cpus)]
        entry[peer] = {"messagesPerSecond": peer_rates, "serverCPUMicrosecondsPerMessage": peer_cpus,
                       "ratios": ratios, "cpuRatios": cpu_ratios}
        cells.append(f"{statistics.median(peer_rates):,.0f}/s, {statistics.median(peer_cpus):.1f} us: "
                     f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f}), "
                     f"CPU {statistics.median(cpu_ratios):.2f}")
    rows.append(entry)
    print(f"| {title} | " + " | ".join(cells) + " |")
print(f"\nProcessors used by others just before each measurement: median {statistics.median(loads.values()):.0%}, "
      f"from {min(loads.values()):.0%} to {max(loads.values()):.0%}")
names = ("QUEUEPOOL", "REDIS", "POSTGRES")
target.write_text(json.dumps({
    "kind": "peers",
    "machine": {"cores": os.cpu_count(), "kernel": platform.release()},
    "versions": {name.lower(): os.environ[f"{name}_VERSION"] for name in names},
    "flags": {name.lower(): os.environ[f"{name}_FLAGS"] for name in names},
    "backlog": int(os.environ["BACKLOG"]),
    "sharesUsedByOthersBefore": loads,
    "rows": rows,
}, indent=2) + "\n")
