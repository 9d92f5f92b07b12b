# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A proxy before a service that speaks the SQS protocol; tests derive from it what fails on the way."""

from http.server import BaseHTTPRequestHandler

import requests


class PassingProxy(BaseHTTPRequestHandler):
    """Passes requests on. `target` is the service's base URL."""

    protocol_version = "HTTP/1.1"
    target = ""

    def pass_on(self, body):
        """Performs the request at the service: its answer's status, body and headers."""
        headers = {key: value for key, value in self.headers.items() if key.lower() not in ("host", "content-length")}
        got = requests.request(self.command, self.target + self.path, data=body, headers=headers, timeout=40)
        kept = {key: value for key, value in got.headers.items() if key.lower().startswith(("x-amzn", "content-type"))}
        return got.status_code, got.content, kept

    def pass_all(self):
        """Passes the request on as it is."""
        try:
            self.answer(*self.pass_on(self.body() or None))
        except requests.ConnectionError:
            self.close_connection = True

    # A worker's heartbeats and leases.
    do_PUT = do_DELETE = pass_all

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status, body, headers):
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass
