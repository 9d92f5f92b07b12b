// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import Synchronization

/// A name for one request, which its answer carries, so that a client and an operator can speak of the same one.
enum RequestNumber {
    /// The header of REST answers; those of the SQS protocol have `x-amzn-RequestId`.
    static let header = "X-Request-Id"

    private static let requests = Atomic<UInt64>(0)
    private static let process = UInt64.random(in: .min ... .max)

    /// In the form of a UUID; no other request of any process has it.
    static func next() -> String {
        var text: [UInt8] = []
        text.reserveCapacity(36)
        MessageID(high: process, low: requests.wrappingAdd(1, ordering: .relaxed).oldValue).write(to: &text)
        return String(decoding: text, as: UTF8.self)
    }
}
