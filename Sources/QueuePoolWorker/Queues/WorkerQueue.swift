// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// Why a request to a queue came to nothing.
package enum WorkerQueueError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Nobody answered, or not in time, or what answered was no SQS.
    case unreachable(String)
    /// TLS does not hold, and will not before somebody changes a file or an address.
    case untrusted(String)
    /// The server does not let the worker in.
    case notAdmitted(AccessRefusal)
    /// An error of SQS by its code.
    case refused(code: String)
    /// There is no such pool.
    case noPool
    /// Whoever answers there knows nothing of what was asked: an older server, or plain SQS.
    case notServed

    package var description: String {
        switch self {
        case .unreachable(let why), .untrusted(let why): why
        case .notAdmitted(let refusal): "\(refusal)"
        case .refused(let code): "it answers \(code)"
        case .noPool: "there is no such pool"
        case .notServed: "it knows no such request"
        }
    }

    /// Whether another try changes nothing before somebody changes a file or an address.
    var isUntrusted: Bool { if case .untrusted = self { true } else { false } }
}

/// The queue as a worker needs it.
/// A shard as a worker knows it.
package struct WorkerShard: Hashable, Sendable {
    package let index: ShardIndex
    /// The name of its queue, e.g. `emails-0003.fifo`.
    package let name: String

    package init(index: ShardIndex, name: String) {
        self.index = index
        self.name = name
    }
}

package protocol WorkerQueue: Sendable {
    /// The pool's shards, in order.
    func shards(ofPool pool: String) async throws(WorkerQueueError) -> [WorkerShard]
    /// Up to ten messages, waiting for the first.
    func receive(
        from queue: String, visibilitySeconds: Int, waitSeconds: Int
    ) async throws(WorkerQueueError) -> [WorkMessage]
    /// - Returns: which were lost (their visibility had run out), and which failed otherwise.
    func delete(
        _ messages: [WorkMessage], from queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage])
    /// - Returns: which were lost (they are not held any more), and which failed otherwise.
    func changeVisibility(
        _ messages: [WorkMessage], seconds: Int, in queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage])
    /// Sends a message with these attributes instead of its own.
    func send(
        _ message: WorkMessage, attributes: [MessageAttribute], deduplicationID: String, to queue: String
    ) async throws(WorkerQueueError)
}
