// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where a receiver takes its messages.
struct ReceiveTarget: Hashable, Sendable {
    let endpoint: Endpoint
    let queue: String
}

/// What a loop needs to know; fixed for its life.
struct LoadPlan {
    let options: BenchOptions
    /// Where messages are sent.
    let endpoint: Endpoint
    let seed: UInt64
    let run: UInt64
    /// Names of the pool's shards by number.
    let shardNames: [String]
    /// Expected shard of each group; empty when the pool was resized.
    let placement: [UInt16]
    /// The server's CPU nanoseconds and resident bytes, if it can be seen.
    let serverUsage: () -> ProcessUsage?
    /// The same of servers behind it that are processes of their own.
    var shardUsage: () -> ProcessUsage? = { nil }
    /// Receiver i takes from target i modulo their number; empty = from `endpoint`, as the options say.
    var receiveTargets: [ReceiveTarget] = []
    /// An outage of the server that is longer ends the load.
    var outageSecondsMax = LoadPlan.ownServerOutageSecondsMax
    /// Told of outages while they go on.
    var tell: (String) -> Void = { _ in }
    /// Takes the rows of figures of each interval.
    var row: (String) -> Void = { _ in }

    /// Nobody starts a server of the run's own again.
    static let ownServerOutageSecondsMax = 2.0

    /// Where receiver `number` takes its messages.
    func receiveTarget(_ number: Int) -> ReceiveTarget {
        if !receiveTargets.isEmpty { return receiveTargets[number % receiveTargets.count] }
        let isPool = options.receiveFrom == .pool || shardNames.isEmpty
        return ReceiveTarget(
            endpoint: endpoint, queue: isPool ? options.pool : shardNames[number % shardNames.count])
    }
}

/// One stretch of load.
struct LoadPhase {
    enum Sends: Hashable {
        case requests(Int)
        case seconds(Double)
    }

    let name: String
    var sends: Sends?
    var receives = false
    /// Whether messages take the handler's time before they are deleted.
    var handles = false
    var warmUpSeconds = 0.0
    var rate: Double?
}
