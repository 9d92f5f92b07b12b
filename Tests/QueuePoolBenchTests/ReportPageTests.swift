// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolChecking
import Testing

@testable import QueuePoolBench

/// The page of a report and what it is drawn with.
@Suite struct ReportPageTests {
    private func report(
        _ checks: CheckReport, shards: [(String, Int)] = [("shard 0", 3)], errors: [String: Int] = [:],
        _ change: (inout PhaseOutcome) -> Void = { _ in }
    ) -> BenchReport {
        var outcome = PhaseOutcome()
        outcome.nanoseconds = 1_000_000_000
        outcome.statistics.send.record(nanoseconds: 2_000_000, messages: 3)
        outcome.statistics.errors = errors
        change(&outcome)
        return BenchReport(
            options: BenchOptions(), machine: Machine(), version: "1 < 2", seed: 7, run: 8,
            phases: [PhaseReport("send", outcome, batch: 1)], checks: checks,
            outages: OutageReport(Outages(), now: 0), shards: shards.map { (name: $0.0, messages: $0.1) },
            shardsFromAnswers: true, serverExitCode: nil)
    }

    private func checked(lost: Int?) -> CheckReport {
        var checker = LoadChecker(groups: 1)
        let sequences = (0..<3).map { _ in checker.nextSequence(group: 0) }
        checker.acknowledged(count: 3)
        for sequence in sequences.dropFirst(lost ?? 0) {
            checker.delivered(group: 0, sequence: sequence, receiveCount: 1)
        }
        return checker.finished(drained: lost != nil)
    }

    @Test func `what comes from elsewhere is text`() {
        let name = "<script>alert(\"1\")</script>&\u{1B}[31m\u{202E}'"
        let html = report(checked(lost: 0), shards: [(name, 3)], errors: ["<img src=x>": 2]).html
        #expect(!html.contains("<script") && !html.contains("<img") && !html.contains("1 < 2"))
        #expect(!html.contains("\u{1B}") && !html.contains("\u{202E}"))
        #expect(html.contains("&lt;img src=x&gt;") && html.contains("1 &lt; 2") && html.contains("&#39;"))
        #expect(HTML(escaping: "a&b<c>\"d'").text == "a&amp;b&lt;c&gt;&quot;d&#39;")
    }

    @Test func `a breach comes before everything else`() throws {
        let broken = report(checked(lost: 1)).html
        let verdict = try #require(broken.range(of: "Check BROKEN: 1 lost"))
        let machine = try #require(broken.range(of: "<h2>Machine</h2>"))
        #expect(verdict.lowerBound < machine.lowerBound)
        #expect(broken.contains("class=\"verdict bad\""))
        #expect(report(checked(lost: 0)).html.contains("class=\"verdict good\""))
        #expect(report(checked(lost: nil)).html.contains("class=\"verdict warn\""))
        #expect(report(checked(lost: 0)) { $0.isInterrupted = true }.html.contains("class=\"verdict warn\""))
        #expect(report(CheckReport.nothing).html.contains("nothing is shown"))
    }

    private static let axes: [(Double, [Double])] = [
        (9.3, [0, 2, 4, 6, 8, 10]), (100, [0, 20, 40, 60, 80, 100]), (0.04, [0, 0.01, 0.02, 0.03, 0.04]),
        (21_200, [0, 5_000, 10_000, 15_000, 20_000, 25_000]), (0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
    ]

    @Test(arguments: axes)
    func `a linear axis has round ticks around its values`(largest: Double, expected: [Double]) {
        let axis = Axis.linear("", to: largest) { Quantity.count($0) }
        #expect(axis.ticks.count == expected.count)
        #expect(zip(axis.ticks, expected).allSatisfy { abs($0.value - $1) < 1e-9 })
        #expect(axis.position(0) == 0 && axis.position(largest * 2 + 10) == 1)
    }

    @Test func `an axis of time ends with the run`() {
        let axis = Axis.linear("", to: 9.3, isTight: true) { Quantity.count($0) }
        #expect(axis.high == 9.3 && axis.ticks.map(\.value) == [0, 2, 4, 6, 8])
    }

    @Test func `a logarithmic axis has a place for each of its values`() {
        let axis = Axis.logarithmic("", [230, 0, 4_100]) { Quantity.time(microseconds: $0) }
        #expect(axis.ticks.map(\.label) == ["200 µs", "500 µs", "1 ms", "2 ms", "5 ms"])
        #expect(axis.position(200) == 0 && abs(axis.position(5_000) - 1) < 1e-9)
        let wide = Axis.logarithmic("", [1, 90_000_000]) { Quantity.time(microseconds: $0) }
        #expect(wide.ticks.map(\.label).starts(with: ["1 µs", "10 µs", "100 µs", "1 ms"]))
        let empty = Axis.logarithmic("", []) { Quantity.time(microseconds: $0) }
        #expect(empty.high > empty.low && !empty.ticks.isEmpty)
    }

    @Test func `percentiles lie by the share that is above them`() {
        let axis = Axis.percentiles(to: 1_000)
        #expect(axis.ticks.map(\.label) == ["0 %", "50 %", "75 %", "90 %", "99 %", "99.9 %"])
        #expect(abs(axis.position(100) - 2.0 / 3) < 1e-9)
    }

    @Test func `numbers are shown with their unit and without noise`() {
        #expect(Quantity.count(1_234_567) == "1,234,567" && Quantity.count(-1_000) == "-1,000")
        #expect(Quantity.count(0.5) == "0.5")
        #expect(Quantity.time(microseconds: 999.6) == "1 ms" && Quantity.time(microseconds: 12_345) == "12.3 ms")
        #expect(Quantity.time(microseconds: 999_600) == "1 s" && Quantity.time(microseconds: 0) == "0 µs")
        #expect(Quantity.words("bodyBytes") == "body bytes")
    }

    @Test func `a line has a gap where nothing is known`() {
        let series = PlotSeries(
            name: "p50", style: 1,
            points: [.init(x: 0, y: 1), .init(x: 1, y: 2), .init(x: 2, y: nil), .init(x: 3, y: 4), .init(x: 4, y: 5)])
        let time = Axis.linear("", to: 4) { Quantity.count($0) }
        let html = Plot(title: "", xAxis: time, yAxis: Plot.latencyAxis([series]), series: [series]).html.text
        let path = html.firstMatch(of: /<path class="line s1" d="(M[^"H]*)"/)?.1 ?? ""
        #expect(path.count(where: { $0 == "M" }) == 2 && path.count(where: { $0 == "L" }) == 2)
    }

    @Test func `a sliver at the end of a run is no interval like the others`() {
        func rows(_ lengths: [Double]) -> [IntervalReport] {
            lengths.map { length in
                var row = IntervalReport()
                row.seconds = length
                return row
            }
        }
        #expect(rows([1, 1, 0.1]).comparable.count == 2)
        #expect(rows([1, 1, 0.6]).comparable.count == 3)
        #expect(rows([0.1]).comparable.count == 1)
    }

    @Test func `a difference counts when the middle halves lie apart on its side`() {
        let (low, high) = ([10.0, 11, 12, 13, 14, 90], [20.0, 21, 22, 23, 24, 1])
        #expect(BenchComparison.difference(12, 22, low, high) == .beyond)
        #expect(BenchComparison.difference(22, 12, high, low) == .beyond)
        #expect(BenchComparison.difference(22, 12, low, high) == .within)
        #expect(BenchComparison.difference(12, 12.5, low, low) == .within)
        #expect(BenchComparison.difference(12, 22, Array(low.prefix(3)), high) == .unknown)
        #expect(BenchComparison.quartiles([4, 1, 3, 2, 5]) == (2, 4))
    }

    @Test func `a result is read back and equals itself`() throws {
        let data = Data(report(checked(lost: 0)).json.utf8)
        let result = try JSONDecoder().decode(BenchResult.self, from: data)
        #expect(result.isComparable && result.seed == 7)
        let comparison = BenchComparison(result, result, names: ("a", "b"))
        #expect(comparison.unfair.isEmpty && comparison.below(1).isEmpty && comparison.hasThroughput)
        #expect(comparison.rows.allSatisfy { $0.ratio == nil || $0.ratio == 1 })
        #expect(comparison.below(1.01).map(\.name) == ["sent messages/s"])
    }
}

extension CheckReport {
    /// Of a run in which nothing was acknowledged.
    fileprivate static var nothing: CheckReport {
        let checker = LoadChecker(groups: 1)
        return checker.finished(drained: true)
    }
}
