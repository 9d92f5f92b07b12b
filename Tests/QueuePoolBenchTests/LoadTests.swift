// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import QueuePoolBench

@Suite struct LoadTests {
    private static let seed: UInt64 = 20_260_101

    @Test func `zipf draws in proportion to the rank`() {
        let chooser = GroupChooser(groups: 1_000, connection: 0, connections: 1, skew: .zipf(1))
        var random = SplitMix64(seed: Self.seed)
        var counts = Array(repeating: 0, count: 1_000)
        let draws = 400_000
        for _ in 0..<draws { counts[chooser.next(&random)] += 1 }
        let harmonic = (1...1_000).reduce(0.0) { $0 + 1 / Double($1) }
        for rank in [1, 2, 3, 10, 50] {
            let expected = Double(draws) / harmonic / Double(rank)
            let deviation = abs(Double(counts[rank - 1]) - expected) / expected.squareRoot()
            #expect(deviation < 5, "rank \(rank), seed \(Self.seed)")
        }
        #expect(counts.allSatisfy { $0 > 0 })
    }

    @Test func `uniform draws every group alike`() {
        let chooser = GroupChooser(groups: 100, connection: 0, connections: 1, skew: .uniform)
        var random = SplitMix64(seed: Self.seed)
        var counts = Array(repeating: 0, count: 100)
        for _ in 0..<100_000 { counts[chooser.next(&random)] += 1 }
        #expect(counts.allSatisfy { abs($0 - 1_000) < 160 }, "seed \(Self.seed)")
    }

    @Test func `a group that is sent like all others has one sender`() {
        var owners = Array(repeating: -1, count: 50)
        var random = SplitMix64(seed: Self.seed)
        for connection in 0..<7 {
            let chooser = GroupChooser(groups: 50, connection: connection, connections: 7, skew: .uniform)
            for _ in 0..<2_000 {
                let group = chooser.next(&random)
                #expect(owners[group] == -1 || owners[group] == connection)
                owners[group] = connection
            }
        }
        #expect(owners.enumerated().allSatisfy { $0 % 7 == $1 }, "seed \(Self.seed)")
    }

    @Test(arguments: [1, 10])
    func `a group is in one request at a time and keeps its share`(batch: Int) throws {
        var options = BenchOptions()
        (options.api, options.batch, options.groups, options.connections) = (.sqs, batch, 100, 8)
        options.skew = .hot(0.4)
        var lines = GroupLines(options)
        var random = SplitMix64(seed: Self.seed)
        var underWay: [[Int]] = Array(repeating: [], count: 8)
        var counts = Array(repeating: 0, count: 100)
        for turn in 0..<20_000 {
            let connection = turn % 8
            lines.release(
                underWay[connection].map { Connection.Entry(group: $0, sequence: 0) }, connection: connection)
            underWay[connection] = []
            guard lines.take(batch, connection: connection, &random) else { continue }
            let groups = Set(lines.taken)
            #expect(underWay.allSatisfy { groups.isDisjoint(with: $0) }, "turn \(turn), seed \(Self.seed)")
            underWay[connection] = lines.taken
            for group in lines.taken { counts[group] += 1 }
        }
        let sent = counts.reduce(0, +)
        #expect(sent >= 2_000 * batch)
        #expect(abs(Double(counts[0]) / Double(sent) - 0.4) < 0.05, "seed \(Self.seed)")
    }

    @Test func `a group's messages are handled in their order, beside those of other groups`() {
        let entries = [1, 1, 2, 1, 2, 3].enumerated().map { Connection.Entry(group: $1, sequence: UInt32($0)) }
        #expect(HandlerRound.indices(entries) == [[0, 2, 5], [1, 4], [3]])
        #expect(HandlerRound.indices([]).isEmpty)
    }

    @Test func `the same seed draws the same`() {
        var (a, b) = (SplitMix64(seed: 1), SplitMix64(seed: 1))
        #expect((0..<100).allSatisfy { _ in a.next() == b.next() })
        // The generator's published first value for seed 0.
        var zero = SplitMix64(seed: 0)
        #expect(zero.next() == 0xE220_A839_7B1D_CDAF)
    }

    @Test func `arrivals do not drift`() {
        let schedule = OpenLoopSchedule(start: 1_000, messagesPerSecond: 3_000, batch: 1)
        #expect(schedule.due(0) == 1_000)
        #expect(schedule.due(3) == 1_001_000)
        #expect(schedule.due(3_000_000) == 1_000_000_001_000)
    }

    @Test func `a batch takes the place of its messages in the rate`() {
        let schedule = OpenLoopSchedule(start: 0, messagesPerSecond: 1_000, batch: 10)
        #expect(schedule.due(100) == 1_000_000_000)
    }

    @Test(arguments: [0, 1, 999, 1_000, 1_001, 334_333, 334_334, 1_000_001_000] as [UInt64])
    func `what is due before a moment is counted`(now: UInt64) {
        let schedule = OpenLoopSchedule(start: 1_000, messagesPerSecond: 3_000, batch: 1)
        let count = schedule.count(before: now)
        #expect(count == 0 || schedule.due(count - 1) < now)
        #expect(schedule.due(count) >= now)
    }

    @Test func `percentiles that the never sent reach are lower bounds`() {
        var action = PhaseStatistics.Action()
        for milliseconds in 1...80 as ClosedRange<UInt64> {
            action.record(nanoseconds: milliseconds * 1_000_000, messages: 1)
        }
        var waits = action
        for _ in 0..<20 { waits.recordLate(nanoseconds: 200_000_000) }
        let report = ActionReport(action, seconds: 1, neverSent: 20, waits: waits.latency)
        #expect(report.latencies.filter(\.isLowerBound).map(\.name) == ["p90", "p99", "p99.9", "max"])
        #expect(abs(report.p50 - 50_000) < 1_100, "the 50th of 100, of which 80 have a latency")
        #expect(abs(report.p90 - 200_000) < 300)
        #expect(report.requests == 80)
    }

    @Test func `latencies are recorded to three digits`() {
        var action = PhaseStatistics.Action()
        for microseconds in 1...1_000 as ClosedRange<UInt64> {
            action.record(nanoseconds: microseconds * 1_000_000, messages: 10)
        }
        action.recordLate(nanoseconds: 5_000_000_000)
        let report = ActionReport(action, seconds: 2)
        #expect(report.requests == 1_000)
        #expect(report.messagesPerSecond == 5_000)
        #expect(abs(report.p50 - 500_000) < 2_000)
        #expect(abs(report.p99 - 990_000) < 3_000)
        #expect(abs(report.max - 5_000_000) < 10_000)
    }

    @Test func `process figures are read behind a name with blanks`() throws {
        let stat = "12 (a (b) c) S 1 12 12 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 9 0 1 2 3"
        let usage = try #require(ProcessUsage(stat: stat, statm: "1000 25 3 4 0 5 0"))
        #expect(usage.cpuNanoseconds == 2_000_000_000)
        #expect(usage.residentBytes % 25 == 0)
        #expect(ProcessUsage(stat: "nonsense", statm: "") == nil)
    }

    @Test func `a machine's processors are busy with all but idling and waiting for disks`() {
        #expect(
            MachineUsage.busyNanoseconds(stat: "cpu  100 20 30 4000 500 6 7 8 9 0\ncpu0 1 2\n")
                == 171 * (1_000_000_000 / UInt64(sysconf(Int32(_SC_CLK_TCK)))))
        #expect(MachineUsage.busyNanoseconds(stat: "cpu 1 2\n") == nil)
        #expect(MachineUsage.busyNanoseconds(stat: "") == nil)
    }
}
