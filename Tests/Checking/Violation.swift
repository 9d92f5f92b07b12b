// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// What a pool promises, by the names of the design.
package enum Promise: String, Hashable, Sendable, CaseIterable {
    /// What was acknowledged is stored.
    case durable = "I1"
    /// A group's messages are delivered in one order.
    case order = "I2"
    /// One message is accepted once within the deduplication interval.
    case noDuplicate = "I3"
    /// A group has one shard per epoch.
    case placement = "I4"
    /// A group or shard that fails delays itself only.
    case isolation = "I5"
    /// No content is seen where only ids and counts belong.
    case secrecy = "I6"
    /// Every accepted message comes to an end that can be told.
    case nothingLost = "I7"
    /// Once the faults have stopped, what is queued is delivered.
    case liveness = "liveness"
    /// What is delivered or answered was sent.
    case authenticity = "corrupted"
}

/// One broken promise: which, when, of what, in one line that a person can follow.
package struct Violation: Hashable, Sendable, CustomStringConvertible {
    package let promise: Promise
    package let time: Timestamp
    /// -1 where none is known.
    package let group: Int
    /// -1 where none is known.
    package let message: Int
    package let text: String

    package init(promise: Promise, time: Timestamp, group: Int, message: Int, text: String) {
        self.promise = promise
        self.time = time
        self.group = group
        self.message = message
        self.text = text
    }

    package var description: String {
        let subject = message < 0 ? "" : group < 0 ? "message \(message) " : "message \(message) of group \(group) "
        return "\(promise.rawValue) at \(time.milliseconds) ms: \(subject)\(text)"
    }
}
