# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""What the README tells a reader to paste works, and its table of settings is the program's."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BIN, ROOT, clean_environment, run

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", README, re.M | re.S)
ADDRESS = "127.0.0.1:9324"
# What an answer must hold for a block with these words to have done its work.
EXPECTED = {
    "order-17\"": '"duplicate":false', "x-ndjson": '"line":2', "/emails ": '"sequenceNumber"', "queuepool send": "sent",
    "boto3": "0", "receive-message --queue-url emails.fifo": "ReceiptHandle", "pool show": "emails-0007.fifo",
    "queuepool bench": "messages/s",
}


def paste(block, server, tmp_path):
    """Runs a block as a user's shell would, against the test's own server."""
    programs = tmp_path / "bin"
    programs.mkdir(exist_ok=True)
    if not (programs / "queuepool").exists():
        (programs / "queuepool").symlink_to(Path(BIN).resolve())
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block.replace(ADDRESS, server.url.removeprefix("http://"))],
        capture_output=True, text=True, timeout=60, cwd=tmp_path, env={**clean_environment(), "PATH": path})


@pytest.mark.parametrize("block", BLOCKS, ids=[str(number) for number in range(len(BLOCKS))])
def test_a_block_that_is_pasted_works(server, tmp_path, block):
    done = paste(block, server, tmp_path)
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    for words, answer in EXPECTED.items():
        if words in block:
            assert answer in done.stdout + done.stderr, f"{block}\n{done.stdout}\n{done.stderr}"


def test_every_expectation_belongs_to_a_block():
    assert len(BLOCKS) >= 8
    for words in EXPECTED:
        assert any(words in block for block in BLOCKS), words


def test_the_table_names_every_setting_of_serve_and_work_and_no_other():
    rows = re.findall(r"^\| `[a-z.-]+` \| `([a-z`, ]+) --([a-z-]+)` \| `(QUEUEPOOL_[A-Z_]+)` \|", README, re.M)
    for command in ("serve", "work"):
        text = run(command, "--help", check=0).stdout
        flags = set(re.findall(r"^  (?:-h, )?--([a-z-]+)", text, re.M)) - {"help", "version"}
        assert {flag for commands, flag, _ in rows if command in commands} == flags


def test_the_table_shows_the_defaults_that_help_shows():
    text = " ".join(run("serve", "--help", check=0).stdout.split())
    row = r"^\| `[a-z.-]+` \| `serve[a-z`, ]* --([a-z-]+)` \| `\w+` \| `([^`]+)` \|"
    for flag, default in re.findall(row, README, re.M):
        own = text[text.rindex(f" --{flag} "):]
        assert re.search(r"default: ([^)]*)\)", own).group(1).rstrip(".") == default.rstrip("."), flag


PATHS = re.findall(r"\]\(([A-Za-z./-]+)\)", README) + re.findall(r"`((?:Tests|benchmarks)/[\w./]+)`", README)


@pytest.mark.parametrize("path", PATHS)
def test_a_file_that_is_named_exists(path):
    assert (ROOT / path).exists()


def test_every_module_of_sources_is_in_the_file_map():
    for folder in (ROOT / "Sources").iterdir():
        assert f"`{folder.name}`" in README, folder.name
