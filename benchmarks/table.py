# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Prints a result directory of run.sh as ratios to ceilings beside floors and goals."""
import json
import pathlib
import sys

directory = pathlib.Path(sys.argv[1])


def load(name):
    path = directory / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def measured(report):
    mode = report["parameters"]["mode"]
    return next(phase for phase in report["phases"] if phase["name"] == mode)


ceilings = load("ceilings")
nginx = ceilings["nginxRequestsPerSecond"]
inserts = ceilings["raw"]["insertsPerSecond"]
deletes = ceilings["raw"]["readDeletesPerSecond"]
print(f"ceilings: nginx {nginx:,.0f} requests/s; raw SQLite {inserts:,.0f} inserts/s, {deletes:,.0f} read+deletes/s;"
      f" fdatasync {ceilings['raw']['fdatasyncsPerSecond']:,.0f}/s")
line = "{:<26} {:>11} {:>7} {:>7} {:>6} {:>8} {:>8} {:>9} {:>6}  {}"
print(line.format("row", "messages/s", "ratio", "floor", "goal", "p50 us", "p99 us", "CPU us", "limit", "verdict"))

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
for name, side, ceiling, floor, goal, cpu_floor, cpu_goal in rows:
    report = load(name)
    if report is None:
        print(line.format(f"{name} {side}", "-", "-", floor, goal, "-", "-", "-", "-", "NOT MEASURED"))
        failed = True
        continue
    phase = measured(report)
    action = phase[side]
    ratio = action["messagesPerSecond"] / ceiling
    cpu = phase["serverCPUMicrosecondsPerMessage"]
    verdict = "goal" if ratio >= goal else "above floor" if ratio >= floor else "BELOW FLOOR"
    if cpu_floor and cpu is not None:
        verdict += ", CPU " + ("goal" if cpu <= cpu_goal else "within limit" if cpu <= cpu_floor else "OVER LIMIT")
    if not report["checks"]["holds"]:
        verdict += ", CHECK BROKEN"
    if phase["errors"]:
        verdict += f", {sum(phase['errors'].values())} errors"
    failed |= any(word in verdict for word in ("BELOW", "OVER", "BROKEN"))
    latency = action["latencyMicroseconds"]
    print(line.format(
        f"{name} {side}", f"{action['messagesPerSecond']:,.0f}", f"{ratio:.2f}", floor, goal, f"{latency['p50']:,.0f}",
        f"{latency['p99']:,.0f}", "-" if cpu is None else f"{cpu:.1f}", cpu_floor or "-", verdict))

scale = load("scale")
for step in scale["steps"] if scale else []:
    verdict = "reached" if step["ratio"] >= 0.95 else "BELOW 0.95"
    failed |= step["ratio"] < 0.95
    print(f"scale N={step['report']['parameters']['shards']:<4} {step['messagesPerSecond']:>12,.0f} messages/s of "
          f"{step['allowedPerSecond']:,.0f} allowed, ratio {step['ratio']:.3f}  {verdict}")
sys.exit(1 if failed else 0)
