// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import QueuePoolCore
import Synchronization

/// A name for one request, which its answer carries, so that a client and an operator can speak of the same one.
enum RequestNumber {
    /// The header of REST answers; those of the SQS protocol have `x-amzn-RequestId`.
    static let header = "X-Request-Id"

    private static let requests = Atomic<UInt64>(0)
    private static let process = UInt64.random(in: .min ... .max)

    /// In the form of a UUID; no other request of any process has it.
    static func next() -> String { nextID().description }

    /// Appends the next one's text.
    static func writeNext(to out: inout ByteBuffer) { out.writeBytes(nextID().utf8) }

    private static func nextID() -> MessageID {
        MessageID(high: process, low: requests.wrappingAdd(1, ordering: .relaxed).oldValue)
    }
}
