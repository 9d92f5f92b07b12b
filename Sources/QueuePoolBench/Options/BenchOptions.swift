// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a measurement is asked to do. Plain values with defaults, so that the command line only fills in what was given;
// `validated()` says which field is wrong and what is allowed before anything is started.

/// The parameters of one measurement.
package struct BenchOptions: Hashable, Sendable {
    /// How messages are sent.
    package enum API: String, CaseIterable, Sendable {
        /// One message a request, `POST /v1/pools/P/messages`.
        case rest
        /// SendMessage, or SendMessageBatch when `batch` is above 1.
        case sqs
        /// One request of `batch` lines.
        case ndjson
    }

    /// What is measured.
    package enum Mode: String, CaseIterable, Sendable {
        /// Sends are measured; a drain afterwards checks them.
        case send
        /// A backlog is laid in first, then receive + delete are measured.
        case drain
        /// Both sides at once.
        case both
    }

    /// Which queue the receivers name.
    package enum ReceiveFrom: String, CaseIterable, Sendable {
        case pool
        /// Receiver i names shard i mod N.
        case shards
    }

    package var api = API.rest
    package var mode = Mode.send
    /// `http://HOST:PORT` of a running server; `nil` starts one of our own and removes its data afterwards.
    package var endpoint: String?
    /// Shown to that server.
    package var token: BenchToken?
    /// Process whose CPU and memory are read when `endpoint` is given.
    package var serverPID: Int?
    package var pool = "bench.fifo"
    /// Whether messages of others may be in a given server's pool.
    package var allowsNonempty = false
    /// Shards of the pool when this run creates it, 1...256.
    package var shards = 8
    /// Requests/s per shard and action, of a pool that the run makes; `nil` = no limit.
    package var quota: Int?
    /// Sending connections, each with one request outstanding; 1...4096.
    package var connections = 64
    /// Receiving connections; `nil` = as many as `connections` for a drain, a quarter of them beside sends.
    package var receivers: Int?
    /// Messages a request: rest 1; sqs 1...10; ndjson 1...10000. `nil` = 1, 1, 1000.
    package var batch: Int?
    /// Size of a message body in bytes, 64...262144.
    package var bodyBytes = 1_024
    /// Message groups, 1...10,000,000.
    package var groups = 1_000
    package var skew = GroupSkew.uniform
    /// Messages to send, rounded up to whole requests; `nil` = as many as `seconds` allow (drain: 100,000).
    package var messages: Int?
    /// Length of the measurement when `messages` is `nil`.
    package var seconds = 10.0
    /// Load before the measurement, not counted.
    package var warmUpSeconds = 2.0
    /// Messages/s of an open loop; `nil` = closed loop.
    package var rate: Double?
    /// Seconds between two rows of figures; `nil` = none.
    package var intervalSeconds: Double?
    /// What the run must reach.
    package var thresholds: [Threshold] = []
    /// The latency that the highest rate is looked for with; `nil` = no search. `rate` is then where it begins, and
    /// `seconds` how long each run takes.
    package var findRate: Threshold?
    /// Seed of every random choice; `nil` = from the clock. Always printed.
    package var seed: UInt64?
    package var receiveFrom = ReceiveFrom.pool
    /// WaitTimeSeconds of a receive, 0...20.
    package var waitSeconds = 1
    /// Time that a consumer takes for each message before it deletes it, 1...2000; `nil` = none. Not of a mere `.send`.
    package var handlerMilliseconds: Int?
    /// Whether a drain ends a run of sends, so that a lost message is found.
    package var verify = true
    /// A drain gives up after so many seconds without a message.
    package var drainTimeoutSeconds = 45.0
    /// A request that nothing comes back of for so long is sent again over a new connection, 0.5...600; a receive's wait
    /// comes on top.
    package var answerSecondsMax = 10.0
    /// An outage of a given server that is longer ends the run, 0.1...86,400.
    package var outageSecondsMax = 120.0
    /// Whether a throttled request is sent again after a back-off; `nil` = when there is a quota.
    package var retryThrottled: Bool?
    /// Where an own server's data directory is made; `nil` = `TMPDIR` or `/tmp`.
    package var dataDirectoryParent: String?
    /// The program started as an own server.
    package var executable = "/proc/self/exe"
    /// Further arguments of the own server's `serve`.
    package var serverArguments: [String] = []

    package init() {}

    /// Messages a request, with the API's default.
    package var batchSize: Int { batch ?? (api == .ndjson ? 1_000 : 1) }
    /// Connections that have at least one group to send.
    var senderCount: Int { min(connections, groups) }
    var receiverCount: Int { receivers ?? (mode == .both ? max(1, connections / 4) : connections) }
    var retriesThrottled: Bool { retryThrottled ?? (quota != nil) }
}
