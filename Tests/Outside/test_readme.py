# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Every command of README.md, in its order, against the server that its first command starts; the lines that infra/run
prints to paste; and the table of settings.

A block marked `run-until-stopped` is started, and stopped by SIGTERM: it must then end with exit code 0. Only the port is
replaced. `./infra/test` is what runs this."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from conftest import AWS, BIN, ROOT, clean_environment, free_port, run, wait_until

README = (ROOT / "README.md").read_text()
BLOCKS = [(kind.split(), text) for kind, text in re.findall(r"^```(sh[^\n]*)\n(.*?)^```", README, re.S | re.M)]


class Shell:
    """Runs blocks in an empty directory, with the program in the path and the server at its port."""

    def __init__(self, directory):
        self.directory, self.port = directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        (directory / "bin").mkdir()
        (directory / "bin" / "queuepool").symlink_to(BIN)
        (directory / "infra").symlink_to(ROOT / "infra")
        path = os.pathsep.join([str(directory / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        self.env = clean_environment({**AWS, "PATH": path, "TEST_BINARY": BIN, "HOME": str(directory), "AWS_PAGER": ""})
        self.running = []

    def command(self, text, **more):
        return {"args": ["bash", "-euo", "pipefail", "-c", text.replace("127.0.0.1:9324", f"127.0.0.1:{self.port}")],
                "cwd": self.directory, "stdin": subprocess.DEVNULL, "text": True, "env": {**self.env, **more}}

    def run(self, text):
        done = subprocess.run(**self.command(text, QUEUEPOOL_ENDPOINT=self.url), capture_output=True, timeout=120)
        assert done.returncode == 0, f"exit {done.returncode} of\n{text}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
        return done.stdout

    def start(self, text, **more):
        output = open(self.directory / f"output{len(self.running)}", "w+")
        self.running.append(subprocess.Popen(
            **self.command("exec " + text, **more), stdout=output, stderr=subprocess.STDOUT))
        return self.running[-1], Path(output.name)

    def stop(self, process, output):
        process.send_signal(signal.SIGTERM)
        assert process.wait(40) == 0, output.read_text()[-1500:]


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    shell = Shell(tmp_path_factory.mktemp("readme"))
    kind, first = BLOCKS[0]
    assert (kind, first) == (["sh", "run-until-stopped"], "./infra/run\n"), "README begins with the one command"
    process, output = shell.start(
        first, QUEUEPOOL_SERVER_LISTEN=f"127.0.0.1:{shell.port}", QUEUEPOOL_STORAGE_DATA_DIR=str(shell.directory / "data"))
    wait_until(lambda: "Ctrl-C" in output.read_text() or process.poll() is not None, 60, "infra/run's start")
    assert process.poll() is None, output.read_text()
    shell.printed = output.read_text()
    yield shell
    shell.stop(process, output)
    for left in shell.running:
        if left.poll() is None:
            left.kill()


def pool_is_empty(shell):
    pool = requests.get(shell.url + "/v1/pools/emails.fifo", timeout=10).json()
    return pool["backlog"] + pool["inFlight"] == 0


def test_every_command_of_the_readme_works(shell):
    ran = 0
    for kind, text in BLOCKS[1:]:
        if text.strip() == "./infra/test" or "on-aws" in kind:
            continue
        if kind[1:] == ["run-until-stopped"]:
            process, output = shell.start(text, QUEUEPOOL_ENDPOINT=shell.url)
            wait_until(lambda: pool_is_empty(shell) or process.poll() is not None, 60, f"an empty pool by {text}")
            shell.stop(process, output)
        else:
            shell.run(text)
        ran += 1
    assert ran >= 10
    worker = (shell.directory / "output1").read_text()
    for body in ("It works.", "from a pipe", "hello from boto3", "hello from the CLI", "number 1000"):
        assert body in worker, "what the commands sent was delivered"


def test_the_commands_for_aws_work(tmp_path, moto):
    """Against moto, which AWS's own variable for endpoints names."""
    shell = Shell(tmp_path)
    aws = {"AWS_ENDPOINT_URL": moto, "QUEUEPOOL_SERVER_LISTEN": f"127.0.0.1:{shell.port}"}
    shell.env.update(aws, AWS_REGION="eu-central-1")
    setting_up, serving, working = [text for kind, text in BLOCKS if "on-aws" in kind]
    assert "as it should be" in shell.run(setting_up)
    process, output = shell.start(serving)
    wait_until(lambda: "Listening" in output.read_text() or process.poll() is not None, 30, "the router")
    sent = requests.post(f"{shell.url}/v1/pools/emails.fifo/messages", timeout=20, json={"group": "g", "body": "on AWS"})
    assert sent.status_code == 202, sent.text
    assert requests.get(f"{shell.url}/v1/pools/emails.fifo", timeout=10).json()["shards"][3]["name"] == "emails-0003.fifo"
    shell.stop(process, output)
    worker, output = shell.start(working.replace("smtp://mail.internal:587", "stdout:"))
    wait_until(lambda: "on AWS" in output.read_text() or worker.poll() is not None, 30, "delivery without a router")
    shell.stop(worker, output)


def test_what_infra_run_prints_can_be_pasted(shell):
    blocks = re.findall(r"^  (\S[^\n]*)\n((?:    [^\n]*\n)+)", shell.printed, re.M)
    assert [title.split()[0] for title, _ in blocks] == ["Send", "Send", "Send", "Run", "Measure"]
    for title, text in blocks:
        text = re.sub(r"^    ", "", text, flags=re.M)
        if title.startswith("Run"):
            process, output = shell.start(text)
            wait_until(lambda: pool_is_empty(shell), 60, "an empty pool")
            shell.stop(process, output)
            assert "It works." in output.read_text()
        else:
            shell.run(text)


def test_the_table_has_every_setting_and_no_other():
    rows = re.findall(r"^\| `([a-z.-]+)` \| `(.+?) --([a-z-]+)` \| `(QUEUEPOOL_[A-Z_]+)` \| (?:`(.*?)`)? ?\|", README, re.M)
    assert len(rows) > 25
    shown = {}
    for command in ("serve", "work", "send", "pool list"):
        text = " ".join(run(*command.split(), "--help", check=0).stdout.split())
        shown[command.split()[0]] = text
    for key, commands, flag, variable, fallback in rows:
        assert variable == "QUEUEPOOL_" + re.sub(r"[.-]", "_", key).upper()
        for command in commands.split("`, `"):
            assert f"--{flag} " in shown[command] or f"--{flag}]" in shown[command], f"{command} has no --{flag}"
            if fallback and f"--{flag} <" in shown[command]:
                after = shown[command].rsplit(f" --{flag} <", 1)[1]
                assert f"default: {fallback})" in after[:600], f"--{flag}: the default is not {fallback}"
    documented = {flag for _, _, flag, _, _ in rows}
    for command in ("serve", "work"):
        flags = set(re.findall(r" --([a-z-]+)", shown[command].split("OPTIONS:")[0] + shown[command])) - {
            "help", "version", "data-dir"} - documented
        assert not {flag for flag in flags if f" --{flag} <" in shown[command]}, flags


def test_files_that_the_readme_names_exist():
    for path in re.findall(r"`((?:Tests|Sources|benchmarks|infra)/[\w./-]*)`", README) + re.findall(
            r"\]\(([\w./-]+)\)", README):
        assert (ROOT / path).exists(), path


def test_every_module_of_sources_is_in_the_file_map():
    for folder in (ROOT / "Sources").iterdir():
        assert f"`{folder.name}`" in README, folder.name
