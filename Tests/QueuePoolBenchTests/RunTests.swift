// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import Testing

@testable import QueuePoolBench

/// Whole runs over sockets against a server with known faults.
@Suite struct RunTests {
    private func report(_ fault: FakeFault, _ change: (inout BenchOptions) -> Void = { _ in }) throws -> BenchReport {
        let server = try FakeServer(fault: fault)
        var options = BenchOptions()
        options.endpoint = "http://127.0.0.1:\(server.port)"
        options.connections = 4
        options.groups = 12
        options.bodyBytes = 200
        options.messages = 300
        options.warmUpSeconds = 0
        options.waitSeconds = 0
        options.drainTimeoutSeconds = 1
        options.seed = 42
        change(&options)
        return try runBench(options)
    }

    @Test(arguments: [BenchOptions.Mode.send, .drain, .both])
    func `a faultless server passes in every mode`(mode: BenchOptions.Mode) throws {
        let report = try report(.none) { $0.mode = mode }
        #expect(report.checks.holds)
        #expect(report.checks.acknowledged == 300)
        #expect(report.checks.delivered == 300)
        #expect(report.checks.lost == 0)
        #expect(report.seed == 42)
        let measured = try #require(report.measured)
        #expect((mode == .drain ? measured.delete : measured.send).messages == 300)
        #expect(measured.errors.isEmpty)
    }

    @Test func `a lost message is found`() throws {
        let checks = try report(.losesOne).checks
        #expect(checks.lost == 1)
        #expect(!checks.holds)
    }

    @Test func `a doubled message is found`() throws {
        let checks = try report(.doublesOne).checks
        #expect(checks.duplicated == 1)
        #expect(checks.lost == 0)
    }

    @Test func `reordered messages are found`() throws {
        let checks = try report(.swapsTwo).checks
        #expect(checks.reordered > 0)
        #expect(checks.lost == 0)
    }

    @Test func `refused sends are errors and not losses`() throws {
        let report = try report(.refusesSome)
        #expect(report.checks.holds)
        #expect(report.checks.refused > 0)
        #expect(report.measured?.errors["500"] == report.checks.refused)
    }

    @Test func `throttled sends go out again`() throws {
        let report = try report(.throttlesSome) { $0.retryThrottled = true }
        #expect(report.checks.holds)
        #expect(report.checks.acknowledged == 300)
        #expect((report.measured?.throttled ?? 0) > 0)
    }

    @Test func `a closed connection leaves its send unknown and the run goes on`() throws {
        let report = try report(.closesSome)
        #expect(report.checks.holds)
        #expect(report.checks.outcomeUnknown > 0)
        #expect(report.checks.acknowledged + report.checks.outcomeUnknown == 300)
        #expect((report.measured?.reconnects ?? 0) > 0)
    }

    @Test func `an open loop keeps its rate`() throws {
        let report = try report(.none) {
            $0.messages = nil
            $0.seconds = 0.5
            $0.rate = 400
        }
        let sent = try #require(report.measured).send.messages
        #expect((150...201).contains(sent), "\(sent) of 200")
        #expect(report.checks.holds)
    }

    @Test func `a report shows every figure and no body`() throws {
        let report = try report(.none)
        #expect(report.text.contains("check: holds"))
        #expect(report.json.contains("\"seed\": 42"))
        let filler = String(decoding: Payload.filler(bodyBytes: 200, seed: 42).prefix(12), as: UTF8.self)
        #expect(!report.text.contains(filler))
        #expect(!report.json.contains(filler))
    }

    @Test func `a server that does not start is named`() {
        var options = BenchOptions()
        options.executable = "/bin/false"
        #expect(throws: BenchFailure.self) { try runBench(options) }
    }
}
