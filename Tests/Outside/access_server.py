# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A server that takes requests only from callers who show a key, and the keys of its callers."""

import json

import boto3
import requests
from botocore.config import Config
from conftest import Server, run


def key(place, name, *rules):
    """A new key of a control store: its id, secret and token."""
    flags = [word for rule in rules for word in ("--allow", rule)]
    return json.loads(run("key", "create", name, *flags, *place, check=0).stdout)


class KeyServer(Server):
    """Its own requests carry a key that may do everything."""

    def __init__(self, directory, *arguments, **options):
        self.place = ("--data-dir", directory / "data")
        self.root = key(self.place, "root", "*:send,receive,admin,metrics")
        super().__init__(directory, "--require-keys", *arguments, **options)
        self.session.headers["Authorization"] = f"Bearer {self.root['token']}"

    def key(self, name, *rules):
        return key(self.place, name, *rules)

    def revoke(self, name):
        run("key", "revoke", name, *self.place, check=0)

    def boto(self, of=None, **config):
        of = of or self.root
        return boto3.client(
            "sqs", endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=of["id"],
            aws_secret_access_key=of["secret"], config=Config(retries={"total_max_attempts": 1}, read_timeout=40,
                                                              **config))

    def rest(self, of=None):
        session = requests.Session()
        session.trust_env = False
        if of:
            session.headers["Authorization"] = f"Bearer {of['token']}"
        return session
