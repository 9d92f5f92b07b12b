# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""A server whose door speaks TLS."""

import socket
import ssl

import boto3
from botocore.config import Config
from conftest import Server, wait_until


class TLSServer(Server):
    """A server whose certificate its authority signed."""

    def __init__(self, directory, authority, certificate, key, *arguments, **options):
        self.authority = authority
        super().__init__(directory, "--tls-certificate", certificate, "--tls-key", key, *arguments, ready=False,
                         **options)
        self.url = f"https://127.0.0.1:{self.port}"
        # Else a bundle that the environment names would win over the authority.
        self.session.trust_env = False
        self.session.verify = str(authority.path)
        self.wait_listening()

    def wait_listening(self):
        def listens():
            assert self.is_running, self.text()[-3000:]
            return "Listening" in self.text()
        wait_until(listens, 30, "the line that says where the server listens")

    def boto(self, **config):
        return boto3.client("sqs", endpoint_url=self.url, region_name="us-east-1", verify=str(self.authority.path),
                            config=Config(retries={"total_max_attempts": 1}, read_timeout=40, **config))

    def context(self, *client):
        context = ssl.create_default_context(cafile=str(self.authority.path))
        if client:
            context.load_cert_chain(*map(str, client))
        return context

    def connect(self, *client, timeout=20):
        """A connection whose handshake is over."""
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        return self.context(*client).wrap_socket(plain, server_hostname="127.0.0.1")

    def serial(self):
        """Of the certificate that a new connection is shown."""
        with self.connect() as connection:
            return int(connection.getpeercert()["serialNumber"], 16)
