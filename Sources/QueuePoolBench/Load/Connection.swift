// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// One connection with at most one request outstanding. Used by the load loop's thread only.
final class Connection {
    /// What it does.
    enum Role {
        case sender
        case receiver
    }

    /// Where its request is.
    enum Step {
        case idle
        case sending
        case receiving
        /// Messages are being handled; no request is outstanding.
        case handling
        case deleting
    }

    /// One entry of the outstanding request.
    struct Entry {
        var group: Int
        var sequence: UInt32
    }

    let index: Int
    let role: Role
    /// The server at its other end.
    let endpoint: Endpoint
    let reader = ResponseReader()
    var descriptor: Int32 = -1
    var step = Step.idle
    /// Monotonic nanoseconds from which the latency counts.
    var startedAt: UInt64 = 0
    /// When to go on: an arrival of the open loop or the end of a back-off; `.max` for nothing.
    var wakeAt = UInt64.max
    /// The outstanding request was throttled and goes out again unchanged.
    var isRetry = false
    var written = 0
    var awaitsWritable = false
    /// Something went out or came in since the last look at late answers, and when that look was.
    var isFresh = false
    var seenAt: UInt64 = 0
    /// False while it is being made, and when it is broken.
    var isConnected = false
    /// Requests and attempts to connect that failed since the last answer.
    var failures = 0
    /// When the first of them failed.
    var brokenAt: UInt64 = 0
    var entries: [Entry] = []
    // Sender
    var template: SendTemplate?
    var chooser: GroupChooser?
    /// Index of the next arrival of the open loop.
    var arrival: Int
    // Receiver
    var requests: ReceiveRequests?
    var deleteOutput: [UInt8] = []
    /// What is still to be deleted after it was handled, in its order.
    var rounds: [HandlerRound] = []
    /// When the messages of the first round are handled.
    var handledAt: UInt64 = 0

    init(index: Int, role: Role, endpoint: Endpoint) {
        self.index = index
        self.role = role
        self.endpoint = endpoint
        arrival = index
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Writes as much of the current request as the socket takes.
    /// - Returns: whether all of it is written; `nil` when the connection is broken.
    func flush() -> Bool? {
        switch step {
        case .idle, .handling: true
        case .sending: template.map { write($0.bytes) } ?? nil
        case .receiving: requests.map { write($0.receive) } ?? nil
        case .deleting: write(deleteOutput)
        }
    }

    private func write(_ bytes: [UInt8]) -> Bool? {
        bytes.withUnsafeBytes { raw -> Bool? in
            while written < raw.count {
                let count = send(
                    descriptor, raw.baseAddress.map { $0 + written }, raw.count - written, Int32(MSG_NOSIGNAL))
                if count > 0 {
                    written += count
                } else if errno == EAGAIN {
                    return false
                } else if errno != EINTR {
                    return nil
                }
            }
            return true
        }
    }
}
