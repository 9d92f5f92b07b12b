// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
package import QueuePoolCurl

/// All that a worker is told: where its messages are, where they go, and how it is run.
@dynamicMemberLookup
package struct WorkerOptions: Hashable, Sendable {
    /// `http://HOST:PORT` of a queuepool server, without a slash at its end.
    package var endpoint: String
    /// Towards that server; `nil`: as usual.
    package var tls: TransferTLS?
    /// The pool's name, e.g. `emails.fifo`.
    package var pool: String
    /// Targets in fallback order, at least one.
    package var deliver: [String]
    /// Whether it tells what becomes of messages, where somebody keeps that.
    package var isTracking = true
    /// How it is run.
    package var tuning = Worker.Options()

    /// What must be said; the rest has its defaults.
    package init(endpoint: String, pool: String, deliver: [String]) {
        self.endpoint = endpoint
        self.pool = pool
        self.deliver = deliver
    }

    /// An option by which it is run.
    package subscript<Value>(dynamicMember member: WritableKeyPath<Worker.Options, Value>) -> Value {
        get { tuning[keyPath: member] }
        set { tuning[keyPath: member] = newValue }
    }

    /// Numbers of the shards that are worked on, as a text such as `0-3,5`; `nil`: all.
    package var shards: String? {
        get { tuning.shards?.sorted().map(String.init).joined(separator: ",") }
        set { tuning.shards = newValue.flatMap(WorkerOptions.shardNumbers) }
    }

    /// The numbers of a selection such as `0-3,5`.
    /// - Returns: `nil` if the text is none.
    static func shardNumbers(_ text: String) -> Set<Int>? {
        var numbers: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard let first = ends.first.flatMap({ $0 }), let last = ends.last.flatMap({ $0 }), ends.count <= 2,
                (0...last).contains(first), last < 10_000
            else { return nil }
            numbers.formUnion(first...last)
        }
        return numbers.isEmpty ? nil : numbers
    }
}

/// What a message has before it goes to the dead-letter queue: it goes when both its attempts and its time are over.
/// Attempts alone are over in seconds, and a provider's bad minute would empty the queue into the dead-letter queue.
public struct WorkerBudget: Hashable, Sendable {
    /// Attempts that were answered, or may have arrived; earlier deliveries by the queue count as attempts. 1...1,000
    public let maxAttempts: Int
    /// Since the first receive; 0...1,209,600.
    public let retrySeconds: Int
    /// Deliveries by the queue after which it goes untried: a message that kills its workers never fails. More than the
    /// attempts, because a worker that stops gives back what it did not try, and that counts too.
    public let maxReceives: Int

    /// - Parameters:
    ///   - maxAttempts: 5 unless given.
    ///   - retrySeconds: unless given four hours, and 0 if `maxAttempts` is given: who counts attempts means them.
    public init(maxAttempts: Int? = nil, retrySeconds: Int? = nil) {
        self.maxAttempts = maxAttempts ?? 5
        self.retrySeconds = retrySeconds ?? (maxAttempts == nil ? 14_400 : 0)
        maxReceives = maxAttempts.map { max(5, 2 * $0) } ?? 20
    }
}
