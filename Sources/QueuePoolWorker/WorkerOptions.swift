// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// How a worker is run.
public struct WorkerOptions: Hashable, Sendable {
    /// `http://HOST:PORT` of a queuepool server.
    public var endpoint: String
    public var pool: String
    /// Targets in fallback order, at least one.
    public var deliver: [String]
    /// Numbers of the shards that are worked on, e.g. `0-3,5`; `nil`: all.
    public var shards: String?
    /// Deliveries under way at one time, 1...10,000.
    public var concurrency = Defaults.workerConcurrency
    /// 10...43,200; begun anew while a message is worked on.
    public var visibilitySeconds = Defaults.visibilitySeconds
    /// What a message has before it is given up.
    public var budget = WorkerBudget()
    /// Time for deliveries under way when the worker is stopped, 0...3,600.
    public var graceSeconds = Defaults.workerGraceSeconds

    public init(endpoint: String, pool: String, deliver: [String]) {
        self.endpoint = endpoint
        self.pool = pool
        self.deliver = deliver
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
