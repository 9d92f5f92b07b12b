# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""In which order files of tests begin when several processes share them: those that take long come first, since one
that begins last keeps everybody waiting. Then those with many tests."""

import collections

import pytest

SECONDS = {
    "test_isolation_queues": 166, "test_worker_faults": 121, "test_worker_mail": 102, "test_send": 99,
    "test_worker_restarts": 94, "test_bench_report": 90, "test_worker_targets": 79, "test_bench_find_rate": 61,
    "test_bounds": 60, "test_localstack": 52, "test_bench_trouble": 50, "test_leases": 48,
    "test_failover": 46, "test_quota": 46, "test_leases_direct": 44, "test_places": 42, "test_readme": 41,
    "test_disk": 39, "test_redrive_places": 39, "test_sqs_shards": 37, "test_target_limits": 36,
    "test_bench_report_steps": 35, "test_console": 35, "test_key_clients": 34, "test_worker_metrics": 34,
    "test_cli": 33, "test_bodies": 32, "test_key_limits": 31, "test_permissions": 31, "test_sqs_edges": 30,
    "test_administration": 29, "test_limits": 29, "test_outages": 29, "test_worker": 29, "test_bench_scale": 27,
    "test_pool": 27, "test_restart": 27, "test_hostile": 26, "test_sqs_query": 26, "test_stops": 26,
}
"""Those of 25 s or more on a machine that is busy with other things. Only their order matters."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        counts = collections.Counter(item.path.stem for item in items)
        # Sorting keeps the order of what is equal: that of a file's own tests.
        items.sort(key=lambda item: (-SECONDS.get(item.path.stem, 0), -counts[item.path.stem], item.path.stem))
