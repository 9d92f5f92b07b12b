// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolBench

@Suite struct RateSearchTests {
    /// A queue at a server: the nearer the rate to what it can do, the longer the wait. Noise and, now and then, a
    /// hiccup that has nothing to do with the rate.
    private struct SimulatedServer {
        let capacity: Double
        /// The wait at no load, and the limit, milliseconds.
        let base: Double
        let limit: Double
        var noise = 0.05
        var hiccups = 0.0
        var random: SplitMix64

        /// The highest rate whose wait, without noise, is below the limit.
        var truth: Double { capacity * (1 - base / limit) }

        mutating func holds(_ rate: Double) -> Bool {
            let isHiccup = random.nextFraction() < hiccups
            guard rate < capacity else { return false }
            let wait = base / (1 - rate / capacity) * (1 + noise * (2 * random.nextFraction() - 1))
            return !isHiccup && wait < limit
        }
    }

    private func server(_ seed: UInt64) -> SimulatedServer {
        var random = SplitMix64(seed: seed)
        return SimulatedServer(
            capacity: 50 * Double(1 << random.next(below: 10)) * (1 + random.nextFraction()), base: 1,
            limit: 1.5 + 20 * random.nextFraction(), random: random)
    }

    /// - Returns: what was found, and the rates of the runs.
    private func search(
        _ server: inout SimulatedServer, first: Double
    ) -> (result: RateSearch.Result, rates: [Double]) {
        var search = RateSearch(first: first)
        var rates: [Double] = []
        while case .run(let rate) = search.next, rates.count < 100 {
            rates.append(rate)
            search.record(rate: rate, holds: server.holds(rate))
        }
        return (search.result, rates)
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func `what is found is the highest rate that holds`(seed: UInt64) throws {
        var server = server(seed)
        // What a closed loop reaches is somewhere near the capacity.
        let closed = server.capacity * (0.6 + 0.6 * server.random.nextFraction())
        let (result, rates) = search(&server, first: 0.7 * closed)
        let found = try #require(result.rate)
        #expect(found <= server.truth * 1.05 && found >= server.truth * 0.9, "\(found) of \(server.truth)")
        #expect(result.isConfirmed)
        #expect(rates.count <= RateSearch.runsMax)
        #expect(rates.filter { $0 == found }.count >= 2)
    }

    @Test(arguments: 0..<200 as Range<UInt64>)
    func `hiccups never make it too high`(seed: UInt64) {
        var server = server(seed)
        server.hiccups = 0.1
        let (result, rates) = search(&server, first: 0.7 * server.capacity)
        #expect(result.rate ?? 0 <= server.truth * 1.05, "\(result) of \(server.truth)")
        #expect(rates.count <= RateSearch.runsMax)
    }

    @Test func `the runs are enough, but for bad luck`() {
        var wide = 0
        for seed in 0..<200 as Range<UInt64> {
            var server = server(seed)
            if !search(&server, first: 0.7 * server.capacity).result.isNarrow { wide += 1 }
        }
        #expect(wide <= 4, "\(wide) of 200")
    }

    @Test func `a hiccup seldom makes it much too low`() {
        var low = 0
        for seed in 0..<200 as Range<UInt64> {
            var server = server(seed)
            server.hiccups = 0.05
            if search(&server, first: 0.7 * server.capacity).result.rate ?? 0 < 0.85 * server.truth { low += 1 }
        }
        #expect(low <= 10, "\(low) of 200")
    }

    /// Runs the search over runs whose ends are given, and tells what it asks for.
    private func rates(first: Double, _ ends: [Bool]) -> (rates: [Double], next: RateSearch.Next) {
        var search = RateSearch(first: first)
        var rates: [Double] = []
        for end in ends {
            guard case .run(let rate) = search.next else { break }
            rates.append(rate)
            search.record(rate: rate, holds: end)
        }
        return (rates, search.next)
    }

    @Test func `when nothing holds the lowest rate is tried twice`() {
        let (rates, next) = rates(first: 6_400, Array(repeating: false, count: 20))
        #expect(rates == [6_400, 3_200, 800, 100, 100])
        #expect(next == .done(RateSearch.Result(rate: nil, isConfirmed: false, failedRate: 100)))
    }

    @Test func `a failure that does not repeat is a hiccup`() {
        // 1,000 holds, 1,500 fails once, and so do neither the rates between them nor 1,500 again.
        let (rates, next) = rates(first: 1_000, [true, false] + Array(repeating: true, count: 3) + [true, true, true])
        #expect(Array(rates.prefix(2)) == [1_000, 1_500])
        #expect(rates.filter { $0 == 1_500 }.count == 3, "again, and once more as one of each does not decide")
        #expect(next == .run(1_500 * 4))
    }

    @Test func `a found rate that does not hold again is given up`() {
        // The rates between 1,000 and 1,500 fail but the one next to 1,000, which held by luck.
        var search = RateSearch(first: 1_000)
        var lucky: Double?
        while case .run(let rate) = search.next {
            let isLucky = rate > 1_000 && rate < 1_040 && lucky == nil
            if isLucky { lucky = rate }
            search.record(rate: rate, holds: rate <= 1_000 || isLucky)
        }
        #expect(search.result.rate == 1_000)
        #expect(search.result.isConfirmed)
    }

    @Test func `a search that is out of runs says how far it came`() throws {
        // Far above the first rate: too far to get near in so many runs.
        var server = SimulatedServer(
            capacity: 4_000_000, base: 1, limit: 10, noise: 0, random: SplitMix64(seed: 1))
        let (result, rates) = search(&server, first: 1)
        #expect(rates.count == RateSearch.runsMax)
        #expect(try #require(result.rate) <= server.truth)
        #expect(!result.isNarrow)
    }

    @Test func `rates beyond what can be asked for are not asked for`() {
        let (rates, next) = rates(first: 9_000_000, [true, true, true])
        #expect(rates == [9_000_000, 10_000_000, 10_000_000])
        #expect(next == .done(RateSearch.Result(rate: 10_000_000, isConfirmed: true, failedRate: nil)))
        #expect(RateSearch(first: 0).lowest == 0.1)
    }
}
