// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A scale run over pools whose shards are queues of an SQS service: either servers of our own as that service, one a
// shard, with a router over them, for each number of shards; or a running router and the pool it has.

/// The parameters of such a run.
package struct ProcessScaleOptions: Hashable, Sendable {
    /// Numbers of shards, quota, load and seed. Messages are sent one a request: by `.rest` or by `.sqs`' SendMessage.
    package var scale = ScaleOptions()
    /// A running router, `http://HOST:PORT`; `nil` starts processes of our own.
    package var endpoint: String?
    /// Shown to that router.
    package var token: BenchToken?
    /// Process of that router, whose CPU is read.
    package var serverPID: Int?
    /// The pool; a running router must have it.
    package var pool = "bench.fifo"
    /// Whether messages of others may be in it.
    package var allowsNonempty = false
    /// Shares of N x quota x 10 at which an open loop sends, 0.01...1.
    package var loads = [0.1, 0.5, 0.9]
    /// Receiving connections a shard.
    package var receiversPerShard = 4
    /// Pairs of single sends that the router's latency is read from, 10...100,000.
    package var latencyPairs = 250

    package init() { scale.api = .rest }

    /// - Throws: `InvalidBenchOption` with the first field that is out of range.
    package func validated() throws(InvalidBenchOption) -> ProcessScaleOptions {
        _ = try scale.validated()
        if scale.api == .ndjson {
            throw InvalidBenchOption(field: "api", value: "ndjson", allowed: "rest, sqs: one message a request")
        }
        for load in loads { try require("loads", load, 0.01...1) }
        try require("receiversPerShard", receiversPerShard, 1...64)
        try require("latencyPairs", latencyPairs, 10...100_000)
        for shards in scale.shardCounts { _ = try bench(shards: shards).validated() }
        return self
    }

    /// The load client's options over a pool of so many shards.
    func bench(shards: Int) -> BenchOptions {
        var options = scale.bench(shards: shards)
        options.mode = .both
        options.batch = 1
        options.pool = pool
        options.endpoint = endpoint
        options.token = token
        options.serverPID = serverPID
        // A batch of ten needs ten messages of different groups to wait at each shard at once.
        options.connections = min(4_096, scale.connections * shards)
        options.receivers = min(4_096, receiversPerShard * shards)
        options.verify = true
        return options
    }
}
