# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Prints a result directory of run.sh as ratios to ceilings beside floors and goals."""
import json
import pathlib
import statistics
import sys

directory = pathlib.Path(sys.argv[1])


def load(name):
    path = directory / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def measured(report):
    mode = report["parameters"]["mode"]
    return next(phase for phase in report["phases"] if phase["name"] == mode)


rounds = sorted(int(path.stem.split("-")[1]) for path in directory.glob("ceilings-*-start.json"))
order = ["start", "single-rest", "single-sqs", "ndjson", "batch-sqs", "drain", "both"]


def ceiling(round, name, *path):
    """The mean of the ceilings before and after a row."""
    values = []
    for neighbour in (order[order.index(name) - 1], name):
        value = load(f"ceilings-{round}-{neighbour}")
        for key in path:
            value = value[key]
        values.append(value)
    return statistics.mean(values)


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


nginx = ("nginxRequestsPerSecond",)
inserts = ("raw", "insertsPerSecond")
deletes = ("raw", "readDeletesPerSecond")
for name, path in (("nginx requests", nginx), ("raw SQLite inserts", inserts), ("raw SQLite read+deletes", deletes),
                   ("fdatasyncs", ("raw", "fdatasyncsPerSecond"))):
    values = [ceiling(round, row, *path) for round in rounds for row in order[1:]]
    print(f"ceiling: {name} {median(values):,.0f}/s (from {min(values):,.0f} to {max(values):,.0f})")
line = "{:<18} {:>11} {:>7} {:>15} {:>6} {:>5} {:>8} {:>8} {:>7} {:>6}  {}"
print(line.format(
    "row", "messages/s", "ratio", "of each round", "floor", "goal", "p50 us", "p99 us", "CPU us", "limit", "verdict"))

# name, side, ceiling, floor, goal, CPU floor, CPU goal
rows = [
    ("single-rest", "send", nginx, 0.30, 0.55, 60, 35),
    ("single-sqs", "send", nginx, 0.30, 0.55, 60, 35),
    ("ndjson", "send", inserts, 0.40, 0.95, 25, 12),
    ("batch-sqs", "send", inserts, 0.40, 0.95, 25, 12),
    ("drain", "delete", deletes, 0.30, 0.45, 25, 14),
    ("both", "send", nginx, 0.35, 0.65, None, None),
    ("both", "delete", nginx, 0.35, 0.65, None, None),
]
failed = False
for name, side, path, floor, goal, cpu_floor, cpu_goal in rows:
    reports = {round: report for round in rounds if (report := load(f"{name}-{round}"))}
    if not reports:
        print(line.format(f"{name} {side}", "-", "-", "-", floor, goal, "-", "-", "-", "-", "NOT MEASURED"))
        failed = True
        continue
    phases = {round: measured(report) for round, report in reports.items()}
    actions = {round: phase[side] for round, phase in phases.items()}
    ratios = [action["messagesPerSecond"] / ceiling(round, name, *path) for round, action in actions.items()]
    ratio = median(ratios)
    cpu = median([phase["serverCPUMicrosecondsPerMessage"] for phase in phases.values()])
    verdict = "goal" if ratio >= goal else "above floor" if ratio >= floor else "BELOW FLOOR"
    if cpu_floor and cpu is not None:
        verdict += ", CPU " + ("goal" if cpu <= cpu_goal else "within limit" if cpu <= cpu_floor else "OVER LIMIT")
    if not all(report["checks"]["holds"] for report in reports.values()):
        verdict += ", CHECK BROKEN"
    errors = sum(sum(phase["errors"].values()) for phase in phases.values())
    if errors:
        verdict += f", {errors} errors"
    failed |= any(word in verdict for word in ("BELOW", "OVER", "BROKEN"))
    print(line.format(
        f"{name} {side}", f"{median([a['messagesPerSecond'] for a in actions.values()]):,.0f}", f"{ratio:.2f}",
        " ".join(f"{value:.2f}" for value in ratios), floor, goal,
        *(f"{median([a['latencyMicroseconds'][p] for a in actions.values()]):,.0f}" for p in ("p50", "p99")),
        "-" if cpu is None else f"{cpu:.1f}", cpu_floor or "-", verdict))

scale = load("scale")
for step in scale["steps"] if scale else []:
    verdict = "reached" if step["ratio"] >= 0.95 else "BELOW 0.95"
    failed |= step["ratio"] < 0.95
    print(f"scale N={step['report']['parameters']['shards']:<4} {step['messagesPerSecond']:>12,.0f} messages/s of "
          f"{step['allowedPerSecond']:,.0f} allowed, ratio {step['ratio']:.3f}  {verdict}")
sys.exit(1 if failed else 0)
