# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""Sources of credentials that end, and queues that let nobody in with others."""

import contextlib
import json
import math
import re
import threading
import time
from datetime import datetime, timezone
from http.server import ThreadingHTTPServer
from xml.sax.saxutils import escape

import requests
from proxy import PassingProxy


class Guard:
    """An endpoint for everything of AWS: credentials of a container, an instance and STS, each good for a while, and
    queues, which let nobody in with others. The queues are those of a server behind it.

    `stated` is the life that credentials come with, `life` that after which the queues refuse them; both in seconds.
    """

    def __init__(self, target, stated, life):
        self.stated, self.life, self.lock, guard = stated, life, threading.Lock(), self
        self.keys, self.refused, self.strangers, self.issued = {}, 0, [], []
        "By access key: when it ends, by the monotonic clock."
        self.is_open, self.missed = True, 0

        class Handler(PassingProxy):
            def do_GET(self):
                if not guard.gives():
                    return self.answer(503, b"", {})
                if self.path.endswith("/security-credentials/"):
                    return self.answer(200, b"role", {})
                # Others ask an instance's metadata, too: whether it will be taken away.
                if self.path not in ("/container", "/latest/meta-data/iam/security-credentials/role"):
                    return self.answer(404, b"", {})
                self.answer(200, json.dumps(guard.issue(self.path)).encode(), {"Content-Type": "application/json"})

            def do_PUT(self):
                self.body()
                self.answer(200, b"token", {})

            def do_POST(self):
                data = self.body()
                if data.startswith(b"Action="):
                    return self.sts(data.decode())
                key = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization", ""))
                if guard.lets_in(key and key[1]):
                    try:
                        return self.answer(*self.pass_on(data))
                    except requests.ConnectionError:
                        self.close_connection = True
                        return
                self.answer(403, b'{"__type":"com.amazon.coral.service#ExpiredTokenException","message":"expired"}', {
                    "Content-Type": "application/x-amz-json-1.0", "x-amzn-query-error": "ExpiredToken;Sender"})

            def sts(self, form):
                if not guard.gives():
                    return self.answer(503, b"", {})
                new, name = guard.issue(form.split("&")[0].removeprefix("Action=")), {"Token": "SessionToken"}
                fields = "".join(f"<{name.get(k, k)}>{escape(v)}</{name.get(k, k)}>" for k, v in new.items())
                self.answer(200, f"<R><Credentials>{fields}</Credentials></R>".encode(), {"Content-Type": "text/xml"})

        Handler.target = target
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def gives(self):
        """Whether it has credentials for anybody."""
        with self.lock:
            self.missed += not self.is_open
            return self.is_open

    def issue(self, way):
        with self.lock:
            key = f"ASIA{len(self.keys):016}"
            self.keys[key] = time.monotonic() + self.life
            self.issued.append(way)
        end = datetime.fromtimestamp(math.ceil(time.time() + self.stated), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"AccessKeyId": key, "SecretAccessKey": "s", "Token": "t", "Expiration": end}

    def lets_in(self, key):
        with self.lock:
            if key not in self.keys:
                self.strangers.append(key)
            if self.keys.get(key, 0) > time.monotonic():
                return True
            self.refused += 1
            return False


@contextlib.contextmanager
def guarded(target, stated, life):
    guard = Guard(target, stated, life)
    threading.Thread(target=guard.server.serve_forever, daemon=True).start()
    try:
        yield guard
    finally:
        guard.server.shutdown()
        guard.server.server_close()
