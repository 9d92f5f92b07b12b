# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The order in which processes take files of tests."""

from pathlib import Path
from types import SimpleNamespace

import schedule

HERE = Path(__file__).parent


def ordered(*places):
    pairs = (place.split("/") for place in places)
    items = [SimpleNamespace(path=Path(f"{file}.py"), name=name) for file, name in pairs]
    schedule.pytest_collection_modifyitems(SimpleNamespace(workerinput={}), items)
    return [f"{item.path.stem}/{item.name}" for item in items]


def test_long_files_begin_first_and_each_keeps_its_tests_together_and_in_order():
    found = ordered("test_a/1", "test_b/2", "test_b/1", "test_stops/1", "test_send/2", "test_a/0", "test_send/1",
                    "test_c/1", "test_a/2")
    assert found == ["test_send/2", "test_send/1", "test_stops/1", "test_a/1", "test_a/0", "test_a/2", "test_b/2",
                     "test_b/1", "test_c/1"]


def test_every_file_that_is_named_is_there():
    assert [name for name in schedule.SECONDS if not (HERE / f"{name}.py").exists()] == []
