// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolChecking
import Testing

@testable import QueuePoolBench

/// What a report keeps for its plots.
@Suite struct TimelineTests {
    @Test func `an interval has what was counted since the last one`() throws {
        var statistics = PhaseStatistics()
        var timeline = Timeline(now: 1_000, LoadPhase(name: "send", sends: .seconds(20)))
        #expect(timeline.due == 1_000_001_000)
        statistics.send.record(nanoseconds: 2_000_000, messages: 10)
        timeline.record(nanoseconds: 2_000_000)
        statistics.errors = ["503": 2]
        timeline.close(timeline.due, statistics, backlog: 10)
        statistics.send.record(nanoseconds: 5_000_000, messages: 4)
        statistics.throttled = 3
        timeline.close(timeline.due, statistics, backlog: -1)
        timeline.close(timeline.due - 1_000_000_000, statistics, backlog: 0)
        #expect(timeline.intervals.map(\.sent) == [10, 4])
        #expect(timeline.intervals.map(\.requests) == [1, 1])
        #expect(timeline.intervals.map(\.errors) == [2, 0])
        #expect(timeline.intervals.map(\.throttled) == [0, 3])
        #expect(timeline.intervals.map(\.backlog) == [10, 0])
        #expect(timeline.intervals.map(\.from) == [0, 1])
        #expect(timeline.intervals.map(\.seconds) == [1, 1])
        let p50 = try #require(timeline.intervals[0].p50)
        #expect((1_990...2_010).contains(p50))
        #expect(timeline.intervals[1].p50 == nil, "no answer was recorded in it")
    }

    @Test func `a stall is one long interval and those of a long run become longer`() {
        var timeline = Timeline(now: 0, LoadPhase(name: "send", sends: .seconds(3_600)))
        timeline.close(7_500_000_000, PhaseStatistics(), backlog: 0)
        #expect(timeline.intervals.map(\.seconds) == [7.5])
        #expect(timeline.due == 8_000_000_000)
        while timeline.due < 3_600_000_000_000 { timeline.close(timeline.due, PhaseStatistics(), backlog: 0) }
        #expect(timeline.intervals.count < 1_500)
        #expect(timeline.intervals.last?.seconds == 8)
    }

    @Test func `a distribution has the named percentiles and ends at one in its count`() {
        let points = PercentilePoint.ladder(count: 1_000)
        #expect(points == points.sorted() && Set(points).count == points.count)
        #expect(Set(PercentilePoint.named).isSubset(of: points))
        #expect(points.starts(with: [0, 10, 20, 30, 40, 50, 55]))
        let finest = points.filter { !PercentilePoint.named.contains($0) }.last ?? 0
        #expect(finest > 99.8 && finest <= 99.9)
        #expect(PercentilePoint.ladder(count: .max).count < 130)
        #expect(PercentilePoint.ladder(count: 0) == PercentilePoint.named)
    }

    @Test(arguments: [BenchOptions.Mode.send, .drain, .both])
    func `a run keeps its intervals and distributions and says them in JSON`(mode: BenchOptions.Mode) throws {
        let server = try FakeServer(fault: .none)
        var options = BenchOptions()
        options.endpoint = "http://127.0.0.1:\(server.port)"
        (options.connections, options.groups, options.bodyBytes, options.messages) = (4, 12, 200, 300)
        (options.warmUpSeconds, options.waitSeconds, options.drainTimeoutSeconds) = (0, 0, 1)
        options.mode = mode
        let report = try runBench(options)
        let measured = try #require(report.measured)
        #expect(measured.intervals.reduce(0) { $0 + $1.sent } == measured.send.messages)
        #expect(measured.intervals.reduce(0) { $0 + $1.received } == measured.receive.messages)
        #expect(measured.intervals.reduce(0) { $0 + $1.deleted } == measured.delete.messages)
        let action = mode == .drain ? measured.receive : measured.send
        #expect(action.distribution.map(\.microseconds) == action.distribution.map(\.microseconds).sorted())
        #expect(action.distribution.first { $0.percentile == 99 }?.microseconds == action.p99)
        #expect(action.distribution.last?.microseconds == action.max)

        let whole = try JSONSerialization.jsonObject(with: Data(report.json.utf8)) as? [String: Any]
        let phases = try #require(whole?["phases"] as? [[String: Any]])
        let phase = try #require(phases.first { $0["name"] as? String == mode.rawValue })
        #expect((phase["intervals"] as? [[String: Any]])?.count == measured.intervals.count)
        let named = try #require(phase[mode == .drain ? "receive" : "send"] as? [String: Any])
        let points = try #require(named["latencyDistribution"] as? [[String: Any]])
        #expect(points.map { $0["percentile"] as? Double }.contains(99.99))
    }
}
