// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import Logging
import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime

extension Worker {
    /// How a worker is run. What is not said has the defaults of `queuepool work`.
    public struct Options: Hashable, Sendable {
        /// Deliveries under way at one time, 1...10,000.
        public var concurrency = Defaults.workerConcurrency
        /// How long a queue hides what it gives out, 10...43,200; begun anew for as long as the worker holds a message.
        public var visibilitySeconds = Defaults.visibilitySeconds
        /// What a message has before it is given up.
        public var budget = WorkerBudget()
        /// Time for deliveries under way when the worker is told to stop, 0...3,600.
        public var graceSeconds = Defaults.workerGraceSeconds
        /// The places of the shards that are worked on, from 0, without leases; `nil`: all, and of a queuepool server
        /// those of which the worker has the lease.
        public var shards: Set<Int>?

        /// The defaults.
        public init() {}
    }

    /// A worker of a pool of a queuepool server, whose workers share the pool's shards out by leases.
    /// - Parameters:
    ///   - pool: e.g. `emails.fifo`.
    ///   - endpoint: `http://HOST:PORT` of the server.
    ///   - deliver: delivers one message, as ``MessageTarget/deliver(_:)`` does.
    /// - Throws: `WorkerOptionError`
    public init(
        pool: String, endpoint: String, options: Options = Options(), logger: Logger = Logger(label: "queuepool"),
        deliver: @escaping @Sendable (Message) async throws -> Void
    ) throws {
        try self.init(
            pool: pool, endpoint: endpoint, options: options, logger: logger, target: ClosureTarget(body: deliver))
    }

    /// A worker of a pool of a queuepool server that delivers to a target of your own.
    /// - Throws: `WorkerOptionError`
    public init(
        pool: String, endpoint: String, options: Options = Options(), logger: Logger = Logger(label: "queuepool"),
        target: some MessageTarget
    ) throws {
        let options = try WorkerOptions(checking: options, pool: pool, endpoint: endpoint)
        let clock = SystemClock()
        let engine = CurlEngine(deliveriesMax: options.concurrency, now: { clock.now().milliseconds })
        self.init(
            options, source: WorkerSource(endpoint: options.endpoint, engine: engine, clock: clock),
            handler: HandlerTarget(target), engine: engine, logger: logger, clock: clock)
    }

    /// A worker of a pool of a queuepool server that delivers to the targets of `queuepool work --deliver`.
    /// - Parameter deliver: targets in fallback order, at least one, e.g. `smtps://mail.example.com`.
    /// - Throws: `WorkerOptionError`, or `DeliveryURLError` for a target that is none.
    public init(
        pool: String, endpoint: String, deliver: [String], options: Options = Options(),
        logger: Logger = Logger(label: "queuepool")
    ) throws {
        var options = try WorkerOptions(checking: options, pool: pool, endpoint: endpoint)
        guard !deliver.isEmpty else { throw WorkerOptionError("deliver is empty; at least one target is needed") }
        options.deliver = deliver
        try self.init(options, logger: logger, clock: SystemClock())
    }

    /// A worker of a queue of your own.
    /// - Parameters:
    ///   - pool: what logs and dead letters call the queue, e.g. `emails.fifo`.
    ///   - deliver: delivers one message, as ``MessageTarget/deliver(_:)`` does.
    /// - Throws: `WorkerOptionError`
    public init(
        pool: String, queue: some MessageQueue, options: Options = Options(),
        logger: Logger = Logger(label: "queuepool"), deliver: @escaping @Sendable (Message) async throws -> Void
    ) throws {
        try self.init(
            pool: pool, queue: queue, options: options, logger: logger, target: ClosureTarget(body: deliver))
    }

    /// A worker of a queue of your own that delivers to a target of your own.
    /// - Throws: `WorkerOptionError`
    public init(
        pool: String, queue: some MessageQueue, options: Options = Options(),
        logger: Logger = Logger(label: "queuepool"), target: some MessageTarget
    ) throws {
        try self.init(
            pool: pool, queue: queue, options: options, logger: logger, clock: SystemClock(), target: target)
    }

    /// - Parameter clock: of every wait and timeout of the worker's own.
    init(
        pool: String, queue: some MessageQueue, options: Options, logger: Logger, clock: any Clock,
        target: some MessageTarget
    ) throws {
        self.init(
            try WorkerOptions(checking: options, pool: pool),
            source: WorkerSource(queue: MessageQueueAdapter(queue: queue), leases: nil, label: "queue:"),
            handler: HandlerTarget(target), engine: nil, logger: logger, clock: clock)
    }
}

/// An option of a worker that cannot be, and what is allowed.
public struct WorkerOptionError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The option's name, its value and what is allowed.
    public let description: String

    init(_ description: String) { self.description = description }
}

extension WorkerOptions {
    init(checking options: Worker.Options, pool: String) throws(WorkerOptionError) {
        guard PoolName(pool) != nil else {
            throw WorkerOptionError(
                "pool is no name of a pool; allowed are letters, digits, - and _, and .fifo behind them")
        }
        func require(_ name: String, _ value: Int, _ allowed: ClosedRange<Int>) throws(WorkerOptionError) {
            guard !allowed.contains(value) else { return }
            throw WorkerOptionError(
                "\(name) is \(value); allowed are \(allowed.lowerBound) to \(allowed.upperBound)")
        }
        try require("concurrency", options.concurrency, 1...10_000)
        try require("visibilitySeconds", options.visibilitySeconds, 10...QueueLimits.visibilitySecondsMax)
        try require("graceSeconds", options.graceSeconds, 0...3_600)
        try require("budget.maxAttempts", options.budget.maxAttempts, 1...1_000)
        try require("budget.retrySeconds", options.budget.retrySeconds, 0...1_209_600)
        if let shards = options.shards {
            guard !shards.isEmpty else { throw WorkerOptionError("shards is empty; nil means all") }
            for shard in shards.sorted() { try require("shards", shard, 0...9_999) }
        }
        self.init(endpoint: "", pool: pool, deliver: ["handler:"])
        tuning = options
    }

    init(checking options: Worker.Options, pool: String, endpoint: String) throws(WorkerOptionError) {
        try self.init(checking: options, pool: pool)
        let base = endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint
        let host = ["http://", "https://"].first { base.hasPrefix($0) }.map { base.dropFirst($0.count) }
        // The address itself is not shown: it may hold a password.
        guard let host, !host.isEmpty, !host.contains(where: { $0 == "/" || $0 == "?" || $0 == "#" || $0 == " " })
        else { throw WorkerOptionError("endpoint is no address of a server; allowed are http(s)://HOST:PORT") }
        self.endpoint = base
    }
}
