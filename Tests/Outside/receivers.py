# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Receivers that deliveries go to: a webhook and a mail server, both in the test's own process."""

import contextlib
import http.server
import threading

from aiosmtpd.controller import Controller
from conftest import free_port


class Hook:
    """An HTTP server that notes each request and answers what `answer(request)` says."""

    def __init__(self, answer, port=0):
        self.requests, self.lock, hook = [], threading.Lock(), self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                request = {"body": body, "headers": dict(self.headers)}
                with hook.lock:
                    hook.requests.append(request)
                status, headers = answer(request)
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        class Server(http.server.ThreadingHTTPServer):
            request_queue_size = 1_024

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def bodies(self):
        with self.lock:
            return [request["body"] for request in self.requests]


@contextlib.contextmanager
def webhook(answer=lambda request: (200, {}), port=0):
    hook = Hook(answer, port)
    thread = threading.Thread(target=hook.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.server.shutdown()
        hook.server.server_close()


class Mailbox:
    """Mails as the server took them: sender, recipients, bytes."""

    def __init__(self, refuse=None):
        self.mails, self.refuse, self.lock = [], refuse or (lambda envelope: None), threading.Lock()

    async def handle_DATA(self, server, session, envelope):
        if answer := self.refuse(envelope):
            return answer
        with self.lock:
            self.mails.append((envelope.mail_from, list(envelope.rcpt_tos), envelope.original_content))
        return "250 OK"


@contextlib.contextmanager
def mail_server(refuse=None, **options):
    mailbox = Mailbox(refuse)
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), data_size_limit=2**26, **options)
    controller.start()
    mailbox.port = controller.port
    try:
        yield mailbox
    finally:
        controller.stop()
