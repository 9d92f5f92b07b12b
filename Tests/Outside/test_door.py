# This source file is part of the queuepool project
# Licensed under the Apache License, Version 2.0
# SPDX-License-Identifier: Apache-2.0

"""The door: what one connection may ask for, and when it is read."""

import json
import socket

from conftest import Server

POOL = "emails.fifo"


def test_a_large_request_behind_a_waiting_one_is_read_to_its_end(tmp_path):
    """The first waits at the plain door, so the second heaps up behind it until the connection is not read any more; it
    is one for the decoder, which must get the rest of it."""
    server = Server(tmp_path)
    try:
        receive = json.dumps({"QueueUrl": POOL, "WaitTimeSeconds": 1}).encode()
        first = (b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Amz-Target: AmazonSQS.ReceiveMessage\r\n"
                 b"Content-Length: %d\r\n\r\n" % len(receive)) + receive
        message = json.dumps({"group": "g", "body": "x" * 200_000}).encode()
        second = (f"POST /v1/pools/{POOL}/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                  f"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n").encode()
        second += b"%x\r\n%s\r\n0\r\n\r\n" % (len(message), message)
        with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
            connection.sendall(first + second)
            answers = b""
            while data := connection.recv(1 << 16):
                answers += data
        assert answers.count(b"HTTP/1.1 200 OK") == 1
        assert answers.count(b"HTTP/1.1 202") == 1
    finally:
        server.stop()
