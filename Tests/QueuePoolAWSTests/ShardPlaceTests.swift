// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolAWS

@Suite("Where the shards of a pool are")
struct ShardPlaceTests {
    private let role = "arn:aws:iam::222222222222:role/x"
    private let base = ShardPlace(region: "us-east-1", endpoint: "http://127.0.0.1:1")

    @Test func `a shard is where the others are, but for what is said of it`() {
        let places = ShardPlaces(base, regions: [1: "us-west-2"], endpoints: [2: "http://h"], roleARNs: [1: role])
        #expect(places[0] == base)
        #expect(places[1] == ShardPlace(region: "us-west-2", endpoint: base.endpoint, roleARN: role))
        #expect(places[2] == ShardPlace(region: "us-east-1", endpoint: "http://h"))
    }

    @Test func `an address has the account of its role`() {
        let address = ShardPlace(region: "us-west-2", roleARN: role).address("http://h/2/a.fifo")
        #expect(address.account == "222222222222" && address.roleARN == role)
        #expect(ShardPlace(address) == ShardPlace(region: "us-west-2", roleARN: role))
        #expect(base.address("u").account == nil)
    }

    @Test func `a repetition need not say again where single shards are`() {
        let stored = [base, ShardPlace(region: "us-west-2", endpoint: base.endpoint)]
        #expect(ShardPlaces(base).agreed(with: stored) == stored)
        #expect(ShardPlaces(base, regions: [1: "us-west-2"]).agreed(with: stored) == stored)
    }

    @Test func `a repetition that says something else is refused`() {
        let stored = [base, ShardPlace(region: "us-west-2", endpoint: base.endpoint)]
        #expect(ShardPlaces(base, regions: [1: "eu-west-1"]).agreed(with: stored) == nil)
        #expect(ShardPlaces(base, endpoints: [0: "http://h"]).agreed(with: stored) == nil)
        #expect(ShardPlaces(base, roleARNs: [0: role]).agreed(with: stored) == nil)
        #expect(ShardPlaces(ShardPlace(region: "eu-west-1")).agreed(with: [base, base]) == nil)
    }

    @Test func `two roles of one account share a dead-letter queue, two regions and two endpoints do not`() {
        let one = ShardPlace(region: "us-east-1", roleARN: role)
        let other = ShardPlace(region: "us-east-1", roleARN: role + "y")
        let west = ShardPlace(region: "us-west-2")
        let near = ShardPlace(region: "us-east-1", endpoint: "http://h")
        var queues = DeadLetterQueues()
        queues.add("http://h/2/d.fifo", "arn:west", in: west)
        queues.add("http://h/2/d.fifo", "arn:east", in: one)
        queues.add("http://h/2/d.fifo", "arn:east", in: other)
        queues.add("http://h/2/d.fifo", "arn:east", in: near)
        let addresses = queues.addresses([one, other, west, one, near])
        #expect(addresses.map(ShardPlace.init) == [one, west, near])
    }
}
