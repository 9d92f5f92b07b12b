// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolChecking

// The highest rate of an open loop at which a server keeps a latency. Every run is a measurement like any other: one load
// loop and one checker see all of them, the pool is emptied after each, so that no run has the backlog of the one before,
// and a broken check ends the search, for a rate at which messages get lost is none.

/// One run of the search.
package struct FindRateStep: Sendable {
    /// So many of the messages that are due may be left at the end; the last moment's are, by nobody's fault.
    static let neverSentMax = 0.01

    /// Messages a second that were asked for.
    package let rate: Double
    package let phase: PhaseReport
    package let verdicts: [ThresholdVerdict]
    /// Why the rate is not held; empty when it is.
    package let reasons: [String]

    package var holds: Bool { reasons.isEmpty }

    init(rate: Double, phase: PhaseReport, verdicts: [ThresholdVerdict], batch: Int) {
        self.rate = rate
        self.phase = phase
        self.verdicts = verdicts
        var reasons = verdicts.filter { !$0.isMet }.map { "missed \($0.threshold.text)" }
        if phase.neverSent > max(batch, Int(Double(phase.due) * FindRateStep.neverSentMax)) {
            let share = Double(phase.neverSent) / Double(max(1, phase.due)) * 100
            reasons.append("never sent \(decimal(share, places: 1)) %")
        }
        if !phase.errors.isEmpty { reasons.append("errors \(phase.errors.values.reduce(0, +))") }
        self.reasons = reasons
    }
}

/// What a search found.
package struct FindRateReport: Sendable {
    package let options: BenchOptions
    package let machine: Machine
    package let version: String
    package let seed: UInt64
    package let run: UInt64
    package let threshold: Threshold
    /// Messages a second of the closed loop that the search began with; `nil` when a rate was given.
    package let closedPerSecond: Double?
    package let steps: [FindRateStep]
    package let result: RateSearch.Result
    package let lowestRate: Double?
    package let checks: CheckReport
    package let outages: OutageReport
    package let isInterrupted: Bool
    /// Exit code of an own server; `nil` without one or when a signal ended it.
    package let serverExitCode: Int32?
}

/// Looks for the highest rate of `options.findRate`. Blocks the calling thread until it is over.
/// - Parameters:
///   - version: written into the report.
///   - progress: told what begins, and of outages.
///   - row: takes a row of figures as each run ends, the header first.
/// - Throws: `InvalidBenchOption`, `PoolUnfit`, `BenchFailure` when the server cannot be started or reached.
package func findRate(
    _ options: BenchOptions, version: String = "unknown", progress: @escaping (String) -> Void = { _ in },
    row: @escaping (String) -> Void = { _ in }
) throws -> FindRateReport {
    guard let threshold = options.findRate else {
        throw InvalidBenchOption(field: "find-rate", value: "nothing", allowed: "a latency such as p99<20ms")
    }
    do {
        let options = try options.validated()
        let server = options.endpoint == nil ? try ServerProcess(options) : nil
        let session = try BenchSession(options, server: server, tell: progress, row: row)
        row(FindRateReport.header)
        var runner = RateFinder(session: session, threshold: threshold, progress: progress, row: row)
        try runner.run()
        return runner.report(version: version, exitCode: server?.stop())
    } catch let error as SocketError {
        throw BenchFailure(error.description)
    }
}

/// The search at a server that is up.
private struct RateFinder {
    let session: BenchSession
    let threshold: Threshold
    let progress: (String) -> Void
    let row: (String) -> Void
    private var search: RateSearch?
    private var closedPerSecond: Double?
    private var steps: [FindRateStep] = []
    private var checks: CheckReport
    private var isInterrupted = false

    init(
        session: BenchSession, threshold: Threshold, progress: @escaping (String) -> Void,
        row: @escaping (String) -> Void
    ) {
        self.session = session
        self.threshold = threshold
        self.progress = progress
        self.row = row
        checks = session.loop.checker.report
    }

    private var options: BenchOptions { session.options }
    private var isOver: Bool { isInterrupted || session.loop.outages.isAway || !checks.holds }

    mutating func run() throws(BenchFailure) {
        guard let first = try firstRate() else { return }
        var search = RateSearch(first: first)
        self.search = search
        while !isOver, case .run(let rate) = search.next {
            progress("\(decimal(rate, places: rate < 100 ? 1 : 0)) messages/s")
            let phase = load(rate: rate, seconds: options.seconds)
            guard !isInterrupted, !session.loop.outages.isAway else { break }
            var options = options
            options.thresholds = [threshold] + options.thresholds
            let judged = session.report([phase], version: "", exitCode: nil, options: options, checks: checks)
            let step = FindRateStep(
                rate: rate, phase: phase, verdicts: judged.verdicts, batch: options.batchSize)
            steps.append(step)
            row(FindRateReport.row(step))
            if checks.holds { search.record(rate: rate, holds: step.holds) }
            self.search = search
        }
    }

    /// A given rate, or somewhat less than what a closed loop reaches; `nil` when the search is over already.
    private mutating func firstRate() throws(BenchFailure) -> Double? {
        if let rate = options.rate { return rate }
        progress("closed loop")
        let phase = load(rate: nil, seconds: min(2, options.seconds))
        guard !isOver else { return nil }
        let reached = phase.send.messagesPerSecond
        guard reached > 0 else { throw BenchFailure("no message was accepted in a closed loop") }
        closedPerSecond = reached
        return reached * 0.7
    }

    /// One measurement; then the pool is emptied, unless losses shall not be looked for.
    private mutating func load(rate: Double?, seconds: Double) -> PhaseReport {
        let isBoth = options.mode == .both
        let outcome = session.loop.run(
            LoadPhase(
                name: options.mode.rawValue, sends: .seconds(seconds), receives: isBoth,
                handles: isBoth && options.handlerMilliseconds != nil, warmUpSeconds: min(1, options.warmUpSeconds),
                rate: rate))
        isInterrupted = outcome.isInterrupted
        var isDrained = false
        if options.verify, !isOver {
            let drain = session.loop.run(LoadPhase(name: "verify", receives: true))
            isInterrupted = drain.isInterrupted
            isDrained = !isInterrupted && !session.loop.outages.isAway
        }
        checks = session.loop.checker.finished(drained: isDrained)
        return PhaseReport(options.mode.rawValue, outcome, batch: options.batchSize)
    }

    func report(version: String, exitCode: Int32?) -> FindRateReport {
        FindRateReport(
            options: options, machine: session.machine, version: version, seed: session.plan.seed,
            run: session.plan.run, threshold: threshold, closedPerSecond: closedPerSecond, steps: steps,
            result: search?.result ?? RateSearch.Result(rate: nil, isConfirmed: false, failedRate: nil),
            lowestRate: search?.lowest, checks: checks,
            outages: OutageReport(session.loop.outages, now: monotonicNanoseconds()), isInterrupted: isInterrupted,
            serverExitCode: exitCode)
    }
}
