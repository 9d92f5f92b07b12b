# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Passwords of mail servers: from a file, a variable or the configuration, never in the list of processes."""

from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult
from conftest import Process, run, wait_until
from receivers import mail_server

POOL = "emails.fifo"
PASSWORD = "canary password: 50% & more"
ENCODED = "canary%20password%3A%2050%25%20%26%20more"
EMAIL = {"from": "a@example.com", "to": "b@example.com", "subject": "s", "text": "t"}


@pytest.fixture
def secret(tmp_path):
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    file.chmod(0o600)
    return file


def accepts(server, session, envelope, mechanism, data):
    return AuthResult(success=(data.login, data.password) == (b"ada@example.com", PASSWORD.encode()), handled=True)


def guarded():
    """A mail server that takes mails after ada@example.com's password only."""
    return mail_server(authenticator=accepts, auth_required=True, auth_require_tls=False)


@pytest.mark.parametrize("way", ["file", "variable", "deliver variable", "configuration"])
def test_a_mail_server_gets_the_password_and_the_list_of_processes_does_not(server, tmp_path, secret, way):
    server.post(f"/v1/pools/{POOL}/purge")
    with guarded() as mailbox:
        place = f"ada%40example.com@127.0.0.1:{mailbox.port}"
        whole = f"smtp://ada%40example.com:{ENCODED}@127.0.0.1:{mailbox.port}?tls=off"
        (tmp_path / "config.yaml").write_text(f'worker:\n  deliver: "{whole}"\n')
        arguments, env = {
            "file": (["--deliver", f"smtp://{place}?tls=off&password-file={secret}"], {}),
            "variable": (["--deliver", f"smtp://{place}?password-env=MAIL_PASSWORD&tls=off"], {"MAIL_PASSWORD": PASSWORD}),
            "deliver variable": ([], {"QUEUEPOOL_WORKER_DELIVER": whole}),
            "configuration": (["--config", tmp_path / "config.yaml"], {}),
        }[way]
        assert server.post(f"/v1/pools/{POOL}/emails", json=EMAIL).status_code == 202
        worker = Process(["work", "--endpoint", server.url, "--pool", POOL, "--log-level", "trace", *arguments],
                         tmp_path / "log", env=env)
        wait_until(lambda: mailbox.mails or not worker.is_running, 30, "the mail")
        assert "canary" not in Path(f"/proc/{worker.pid}/cmdline").read_text()
        worker.stop()
    assert len(mailbox.mails) == 1
    assert "canary" not in worker.text()


@pytest.mark.parametrize("target", [
    "smtp://ada:canary@127.0.0.1:25", "smtps://ada:canary@mail.example.com:465", "smtp://ada:canary@127.0.0.1:25?tls=off",
    "https://ada:canary@example.com/hook", "SMTP://ada:canary@h:25", "smtp://ada:can@ary@h:25",
])
@pytest.mark.parametrize("command", [("work", "--pool", POOL), ("serve", "--listen", "127.0.0.1:0")])
def test_a_password_on_the_command_line_is_refused_with_the_other_ways(tmp_path, command, target):
    place = ("--data-dir", tmp_path / "data") if command[0] == "serve" else ()
    done = run(*command, *place, "--deliver", target, timeout=20)
    assert done.returncode == 64
    said = done.stdout + done.stderr
    assert "canary" not in said and "can@ary" not in said
    if not target.startswith("SMTP"):
        for way in ("password-file=PATH", "password-env=NAME", "_DELIVER", "configuration file"):
            assert way in said


@pytest.mark.parametrize("target, says", [
    ("smtp://ada@mail.example.com:25?tls=off&password-file={file}", "off loopback"),
    ("smtp://ada@127.0.0.1.example.com:25?tls=off&password-file={file}", "off loopback"),
    ("smtp://127.0.0.1:25?password-file={file}", "a user"),
    ("smtp://ada@127.0.0.1:25?password-file={file}.missing", "cannot be read"),
    ("smtp://ada@127.0.0.1:25?password-file={empty}", "is empty"),
    ("smtp://ada@127.0.0.1:25?password-file=/dev/zero", "too long"),
    ("smtp://ada@127.0.0.1:25?password-env=NO_SUCH_VARIABLE", "is not set"),
    ("smtp://ada@127.0.0.1:25?password-env=MAIL_PASSWORD&password-file={file}", "one way"),
    ("smtp://ada@127.0.0.1:25?tls=maybe", "tls=off"),
    ("smtps://ada@127.0.0.1:25?tls=off", "tls=off"),
    ("smtp://ada@127.0.0.1:25?pass=canary", "not known"),
])
def test_a_password_that_cannot_be_had_or_kept_is_refused_at_the_start(tmp_path, secret, target, says):
    (tmp_path / "empty").write_text("\n")
    done = run("work", "--pool", POOL, "--deliver", target.format(file=secret, empty=tmp_path / "empty"),
               env={"MAIL_PASSWORD": PASSWORD}, timeout=20)
    assert done.returncode == 64, done.stderr
    assert says in done.stderr and "canary" not in done.stderr


def test_a_password_in_a_variable_goes_off_loopback_with_tls_only(tmp_path):
    done = run("work", "--pool", POOL, timeout=20,
               env={"QUEUEPOOL_WORKER_DELIVER": "smtp://ada:canary@mail.example.com:25?tls=off"})
    assert done.returncode == 64
    assert "off loopback" in done.stderr and "canary" not in done.stderr
