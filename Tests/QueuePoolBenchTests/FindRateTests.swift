// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import Testing

@testable import QueuePoolBench

/// Searches over sockets, against a server with known faults.
@Suite struct FindRateTests {
    private func search(
        _ fault: FakeFault, limit: String = "p50<60s", _ change: (inout BenchOptions) -> Void = { _ in },
        rows: @escaping (String) -> Void = { _ in }
    ) throws -> FindRateReport {
        let server = try FakeServer(fault: fault)
        var options = BenchOptions()
        options.endpoint = "http://127.0.0.1:\(server.port)"
        options.connections = 4
        options.groups = 12
        options.bodyBytes = 200
        options.seconds = 0.1
        options.warmUpSeconds = 0
        options.waitSeconds = 0
        options.drainTimeoutSeconds = 1
        options.seed = 42
        options.findRate = try Threshold(limit)
        change(&options)
        return try findRate(options, row: rows)
    }

    @Test func `each run is a row and a step`() throws {
        var lines: [String] = []
        let report = try search(.none, limit: "p99<1us", { $0.rate = 640 }, rows: { lines.append($0) })
        // Nothing is answered in a microsecond, so that every rate fails.
        #expect(report.steps.map(\.rate) == [640, 320, 80, 10, 10])
        #expect(lines.count == 6)
        #expect(lines.dropFirst().allSatisfy { $0.contains("missed p99<1us") })
        #expect(report.result.rate == nil)
        #expect(report.conclusion == "no rate holds p99<1us, not even 10.0/s")
        #expect(report.checks.holds)
        #expect(report.checks.lost == 0)
    }

    @Test func `further thresholds are judged too`() throws {
        let report = try search(.none) {
            $0.rate = 64
            $0.thresholds = [try? Threshold("rate>1000000")].compactMap { $0 }
        }
        #expect(report.result.rate == nil)
        #expect(report.steps.allSatisfy { $0.reasons == ["missed rate>1000000"] })
    }

    @Test(arguments: [FakeFault.losesOne, .doublesOne, .swapsTwo])
    func `a broken check ends the search`(fault: FakeFault) throws {
        let report = try search(fault) {
            $0.rate = 2_000
            $0.groups = 4
        }
        #expect(!report.checks.holds)
        #expect(report.steps.count == 1)
        #expect(report.conclusion == "a check is broken: no rate is told")
        #expect(report.result.rate == nil)
    }

    @Test func `refused messages are not a rate that holds`() throws {
        let report = try search(.refusesSome) { $0.rate = 400 }
        #expect(report.result.rate ?? 0 < 400)
        let first = try #require(report.steps.first)
        #expect(first.reasons.contains { $0.hasPrefix("errors ") })
    }

    @Test func `without a rate the search begins below what a closed loop reaches`() throws {
        let report = try search(.none, limit: "p99<1us")
        let closed = try #require(report.closedPerSecond)
        #expect(closed > 0)
        #expect(report.steps.first?.rate == closed * 0.7)
        #expect(report.text.contains("a closed loop reaches "))
    }

    @Test func `what cannot be searched is refused`() throws {
        func field(_ limit: String, _ change: (inout BenchOptions) -> Void = { _ in }) throws -> String? {
            var options = BenchOptions()
            options.findRate = try Threshold(limit)
            change(&options)
            do throws(InvalidBenchOption) {
                _ = try options.validated()
                return nil
            } catch {
                return error.field
            }
        }
        #expect(try field("p99<20ms") == nil)
        #expect(try field("max<=1s") == nil)
        for limit in ["p99>20ms", "p99=20ms", "rate>5", "outage<1s", "loss=0"] {
            #expect(try field(limit) == "find-rate")
        }
        #expect(try field("p99<20ms") { $0.mode = .drain } == "find-rate")
        #expect(try field("p99<20ms") { $0.messages = 5 } == "find-rate")
        #expect(try field("p99<20ms") { $0.intervalSeconds = 1 } == "find-rate")
    }
}
