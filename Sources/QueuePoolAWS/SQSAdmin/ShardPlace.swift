// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// A pool may span regions, accounts and endpoints. A redrive policy may not: SQS takes a dead-letter queue of the queue's
// own region and account only. So each place has a dead-letter queue of its own, of the same name, and the pool's
// dead-letter queue is a pool whose shards are these.

/// Where a shard's queue is, and as whom it is used.
package struct ShardPlace: Hashable, Sendable, CustomStringConvertible {
    package var region: String
    /// `nil`: the region's own.
    package var endpoint: String?
    /// `nil`: as this process.
    package var roleARN: String?

    package init(region: String, endpoint: String? = nil, roleARN: String? = nil) {
        self.region = region
        self.endpoint = endpoint
        self.roleARN = roleARN
    }

    package init(_ address: ShardAddress) {
        self.init(region: address.region, endpoint: address.endpoint, roleARN: address.roleARN)
    }

    /// The account of the role: `arn:aws:iam::222222222222:role/x`.
    package var account: String? {
        guard let parts = roleARN?.split(separator: ":", omittingEmptySubsequences: false), parts.count > 5 else {
            return nil
        }
        return String(parts[4])
    }

    /// The address of a queue in this place.
    package func address(_ queueURL: String) -> ShardAddress {
        ShardAddress(endpoint: endpoint, region: region, queueURL: queueURL, roleARN: roleARN, account: account)
    }

    package var description: String {
        region + (endpoint.map { " at \($0)" } ?? "") + (roleARN.map { " as \($0)" } ?? "")
    }
}

/// Where the shards of a pool are: in one place, but for those that say otherwise.
package struct ShardPlaces: Sendable {
    package let base: ShardPlace
    /// By the shard's number.
    package var regions: [Int: String]
    package var endpoints: [Int: String]
    package var roleARNs: [Int: String]

    package init(
        _ base: ShardPlace, regions: [Int: String] = [:], endpoints: [Int: String] = [:],
        roleARNs: [Int: String] = [:]
    ) {
        self.base = base
        self.regions = regions
        self.endpoints = endpoints
        self.roleARNs = roleARNs
    }

    /// The place of a shard that is new.
    package subscript(shard: Int) -> ShardPlace {
        ShardPlace(
            region: regions[shard] ?? base.region, endpoint: endpoints[shard] ?? base.endpoint,
            roleARN: roleARNs[shard] ?? base.roleARN)
    }

    /// Whether nothing was said of single shards.
    private var isPlain: Bool { regions.isEmpty && endpoints.isEmpty && roleARNs.isEmpty }

    /// The places of shards that are stored. What was not asked for is left as it is, and what is stored is never
    /// changed silently: a repetition needs to say nothing of single shards.
    /// - Parameter stored: of the pool's shards, in their order.
    /// - Returns: `nil` if something else was asked for than is stored.
    package func agreed(with stored: [ShardPlace]) -> [ShardPlace]? {
        if isPlain, let first = stored.first, stored.allSatisfy({ $0 == first }), first.roleARN == nil {
            return first == base ? stored : nil
        }
        let agrees = stored.enumerated().allSatisfy { shard, place in
            (regions[shard] ?? place.region) == place.region
                && (endpoints[shard] ?? place.endpoint) == place.endpoint
                && (roleARNs[shard] ?? place.roleARN) == place.roleARN
        }
        return agrees ? stored : nil
    }
}
