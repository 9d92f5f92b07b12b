// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSettings

// `pool show`. A server knows how full a pool's shards are; the control store knows where they are, also when no server
// runs.

extension PoolCommand {
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a pool and its shards.",
            discussion: """
                Example:
                  queuepool pool show emails.fifo
                  queuepool pool show emails.fifo --control dynamodb:queuepool
                The server at --endpoint says how full the shards are. With --control no server is asked: the control \
                store says where they are; region, endpoint, role and account of a shard where they are not the pool's, \
                which are those of most shards.
                """)
        @Argument(help: "The pool's name.", transform: poolName) var name: PoolName
        @OptionGroup(title: "Control store (instead of a server)") var control: ControlOptions
        @OptionGroup var output: PoolOutput

        func validate() throws {
            if control.control != nil, output.client.endpoint != nil {
                throw ValidationError("--control and --endpoint: allowed is one of them")
            }
        }

        func run() async throws {
            if control.control != nil { return try await showPlaces() }
            try await output.run(.get("/v1/pools/\(name)"), as: PoolDetail.self) { TextTable($0).text }
        }

        private func showPlaces() async throws {
            try await reportingFailures { [name, json = output.json] in
                let store = try openControlStore(
                    try await control.settings(config: output.client.config), clock: SystemClock())
                try await onOwnThread {
                    do {
                        guard let pool = try store.pool(name), !pool.isDeleting else {
                            throw CommandFailure("there is no pool \(name) in the control store")
                        }
                        let shown = StoredPool(pool)
                        print(json ? try shown.json() : shown.text, terminator: "")
                    } catch let error as ControlStoreError {
                        throw CommandFailure(
                            "the control store: \(describe(error))", status: ExitStatus.unavailable)
                    }
                }
            }
        }
    }
}

/// A pool as the control store has it.
struct StoredPool: Encodable, Hashable, Sendable {
    struct Shard: Encodable, Hashable, Sendable {
        var name: String
        var index: Int
        var slots: Int
        /// The physical queue's; `nil` for a file of a server.
        var queue: String?
        // Each only where it is not the pool's.
        var region: String?
        var endpoint: String?
        var role: String?
        var account: String?
    }

    var name: String
    var backend: String
    var epoch: Int
    var quota: Int?
    // What most shards have.
    var region: String?
    var endpoint: String?
    var role: String?
    var account: String?
    /// Where bodies lie that are too large for the queues.
    var bodies: String?
    var shards: [Shard]

    init(_ pool: PoolDefinition) {
        let usual = StoredPool.usual(pool.queueAddresses.map(ShardPlace.init))
        let slots = pool.topology.slots.counts()
        name = pool.name.text
        backend = pool.backend.rawValue
        epoch = pool.topology.epoch.number
        quota = pool.quota
        region = usual?.region
        endpoint = usual?.endpoint
        role = usual?.roleARN
        account = usual?.account
        bodies = pool.bodies?.address
        shards = pool.topology.shards.map { entry in
            let address = pool.addresses[entry.index]
            let place = address.map(ShardPlace.init)
            func other(_ value: (ShardPlace) -> String?, orElse absent: String? = nil) -> String? {
                guard let place, let usual, value(place) != value(usual) else { return nil }
                return value(place) ?? absent
            }
            return Shard(
                name: entry.name, index: entry.index.number, slots: slots[entry.index] ?? 0, queue: address?.queueName,
                region: other(\.region), endpoint: other(\.endpoint, orElse: "the region's own"),
                role: other(\.roleARN, orElse: "none"), account: other(\.account))
        }
    }

    /// What most shards have; of several, what the first of them has.
    private static func usual(_ places: [ShardPlace]) -> ShardPlace? {
        var counts: [ShardPlace: Int] = [:]
        for place in places { counts[place, default: 0] += 1 }
        let most = counts.values.max()
        return places.first { counts[$0] == most }
    }

    var text: String { TextTable(self).text + (bodies.map { "large bodies: \($0)\n" } ?? "") }

    func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }
}

extension TextTable {
    /// Columns that no shard has anything in are left out.
    init(_ pool: StoredPool) {
        let places: [(head: String, pool: String?, shard: (StoredPool.Shard) -> String?)] = [
            ("REGION", pool.region, \.region), ("ENDPOINT", pool.endpoint, \.endpoint),
            ("ACCOUNT", pool.account, \.account), ("ROLE", pool.role, \.role),
        ]
        let shown = places.filter { column in
            column.pool != nil || pool.shards.contains { column.shard($0) != nil }
        }
        self.init(
            head: ["SHARD", "SLOTS", "QUEUE"] + shown.map(\.head),
            rows: pool.shards.map { shard in
                [shard.name, "\(shard.slots)", shard.queue ?? "-"] + shown.map { $0.shard(shard) ?? "" }
            } + [
                [pool.name, "\(pool.shards.reduce(0) { $0 + $1.slots })", pool.backend] + shown.map { $0.pool ?? "-" }
            ])
    }
}
