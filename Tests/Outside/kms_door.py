# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""AWS KMS as a server reaches it: moto's, and before it a proxy that refuses what moto lets pass."""

import base64
import json
from http.server import ThreadingHTTPServer
from threading import Thread

import boto3
import pytest
from conftest import free_port
from proxy import PassingProxy

REGION = "us-east-1"


class KMSDoor(PassingProxy):
    """Refuses disabled keys, of which moto knows and makes nothing, and actions of which a test says so."""

    def do_POST(self):
        body = self.body()
        if self.server.is_down:
            # On a connection from before.
            self.close_connection = True
            return
        action = self.headers["X-Amz-Target"].removeprefix("TrentService.")
        said = json.loads(body)
        self.server.asked.append((action, said["KeyId"], said["EncryptionContext"]))
        code = self.server.refusals.get(action)
        if not code and any(word in said["KeyId"] for word in self.server.disabled):
            code = "DisabledException"
        if code:
            self.answer(400, json.dumps({"__type": code, "message": "no"}).encode(), {
                "Content-Type": "application/x-amz-json-1.1"})
        else:
            self.answer(*self.pass_on(body))


class KMS:
    """The service as a server reaches it, and as its owner does."""

    def __init__(self, moto):
        self.owner = boto3.client("kms", endpoint_url=moto, region_name=REGION)
        self.handler = type("Door", (KMSDoor,), {"target": moto})
        self.port = free_port()
        self.up()

    def up(self):
        self.door = ThreadingHTTPServer(("127.0.0.1", self.port), self.handler)
        self.door.asked, self.door.refusals, self.door.disabled, self.door.is_down = [], {}, [], False
        self.door.daemon_threads = True
        Thread(target=self.door.serve_forever, daemon=True).start()

    def down(self):
        self.door.is_down = True
        self.door.shutdown()
        self.door.server_close()

    def key(self):
        """The ARN of a new key."""
        return self.owner.create_key()["KeyMetadata"]["Arn"]

    def flags(self, key):
        return ["--master-key-kms", key, *self.access]

    @property
    def access(self):
        return ["--endpoint-url", f"http://127.0.0.1:{self.port}", "--region", REGION]


@pytest.fixture
def kms(moto):
    service = KMS(moto)
    yield service
    if not service.door.is_down:
        service.down()


def file_of(server):
    return json.loads((server.data / "keys.json").read_text())


def write(server, content):
    (server.data / "keys.json").write_text(json.dumps(content))


def data_keys(kms, server):
    """What is wrapped, opened by somebody else's client in the context that the documentation names."""
    file = file_of(server)
    return {name: kms.owner.decrypt(
        KeyId=file["masterKey"], CiphertextBlob=base64.b64decode(store["wrapped"]), EncryptionContext={
            "application": "queuepool", "purpose": "data key", "file": name,
            "rows": "older than its key" if store["mayHavePlainRows"] else "made sealed"})["Plaintext"]
        for name, store in file["stores"].items()}
