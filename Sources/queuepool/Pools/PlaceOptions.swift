// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import QueuePoolAWS
import QueuePoolCore
import QueuePoolSettings

/// Where single shards of a pool are, if not where the others are.
struct PlaceOptions: ParsableArguments {
    @Option(
        name: .customLong("shard-region"),
        help: ArgumentHelp("Region of some shards, such as 4-7=us-west-2; repeatable.", valueName: "shards=region"))
    var regions: [String] = []
    @Option(
        name: .customLong("shard-endpoint"),
        help: ArgumentHelp(
            "Base URL of SQS for some shards, such as 0-3=http://127.0.0.1:9324; repeatable.", valueName: "shards=url"))
    var endpoints: [String] = []
    @Option(
        name: .customLong("shard-role"),
        help: ArgumentHelp(
            "ARN of the role that is taken on for some shards, such as 4-7=arn:aws:iam::222222222222:role/x; repeatable.",
            valueName: "shards=arn"))
    var roles: [String] = []

    /// - Parameters:
    ///   - base: of all shards of which nothing else is said.
    ///   - shards: of the pool.
    /// - Throws: `ValidationError` that names the flag.
    func places(_ base: ShardPlace, shards: Int) throws -> ShardPlaces {
        func read(
            _ flag: String, _ texts: [String], _ allowed: String, _ value: (String) -> String?
        ) throws -> [Int: String] {
            do throws(ShardValuesError) {
                return try shardValues(texts, count: shards, allowed: allowed, value)
            } catch { throw ValidationError("\(flag): \(error)") }
        }
        return ShardPlaces(
            base,
            regions: try read("--shard-region", regions, "the name of a region, such as us-west-2") {
                isRegionName($0) ? $0 : nil
            },
            endpoints: try read("--shard-endpoint", endpoints, "an address such as http://127.0.0.1:9324", baseURL),
            roleARNs: try read("--shard-role", roles, "a role such as arn:aws:iam::222222222222:role/x") {
                isRoleARN($0) ? $0 : nil
            })
    }

    /// Before anything is made.
    func check(shards: Int, backend: PoolBackend) throws {
        _ = try places(ShardPlace(region: ""), shards: shards)
        let given = [("--shard-region", regions), ("--shard-endpoint", endpoints), ("--shard-role", roles)]
        if backend != .sqs, let flag = given.first(where: { !$0.1.isEmpty }) {
            throw ValidationError("\(flag.0): is for queues of SQS; give --backend sqs")
        }
    }
}
