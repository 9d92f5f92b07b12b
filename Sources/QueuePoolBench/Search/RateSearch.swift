// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Looks for the highest rate that holds. Runs at a rate hold or fail with some luck, so no single run decides: between
// the highest rate that held and the lowest that failed the search halves (by ratio) until they are near, and only then
// runs both again, for one hiccup early on would otherwise cost either a repetition of every failure or a far too low
// result. A rate that held once and failed once is run a third time. Pure, so that it is tried on simulated servers.

/// Which rate to try next.
package struct RateSearch: Hashable, Sendable {
    /// What to do.
    package enum Next: Hashable, Sendable {
        /// Measure at this rate, messages a second.
        case run(Double)
        case done(Result)
    }

    /// What was found.
    package struct Result: Hashable, Sendable {
        /// The highest rate that held; `nil` when none did.
        package let rate: Double?
        /// Whether it held more than once.
        package let isConfirmed: Bool
        /// The lowest rate above it that failed; `nil` when none did.
        package let failedRate: Double?

        /// Whether the two are so near that the found rate is the highest one, as far as runs can tell.
        package var isNarrow: Bool {
            guard let rate, let failedRate else { return false }
            return failedRate <= rate * RateSearch.ratioMax * 1.000_001
        }
    }

    /// How often runs at one rate held and failed.
    private struct Trial: Hashable {
        let rate: Double
        var held = 0
        var failed = 0

        var holds: Bool { held > failed }
        var fails: Bool { failed > held }
    }

    /// Runs of a search, repetitions too.
    package static let runsMax = 12
    /// So near are the found rate and a rate that fails.
    package static let ratioMax = 1.05
    /// Rates that can be asked for.
    package static let rates = 0.1...10_000_000.0

    /// The lowest rate that is tried: a 64th of the first, as a server whose limit is further below was never near it.
    package let lowest: Double
    /// Runs so far.
    package private(set) var runs = 0
    private var trials: [Trial] = []
    private let first: Double

    /// - Parameter first: the first rate, near the expected result.
    package init(first: Double) {
        self.first = min(max(first, RateSearch.rates.lowerBound), RateSearch.rates.upperBound)
        lowest = max(RateSearch.rates.lowerBound, self.first / 64)
    }

    /// What to do after the runs so far.
    package var next: Next {
        guard runs < RateSearch.runsMax else { return .done(result) }
        if let undecided = trials.first(where: { $0.held == $0.failed }) { return .run(undecided.rate) }
        guard let low else { return below }
        let isLast = runs == RateSearch.runsMax - 1
        // A figure of one run is worth less than a lower one of two.
        if isLast, low.held == 1 { return .run(low.rate) }
        guard let high else {
            if low.rate < RateSearch.rates.upperBound { return .run(above(low.rate)) }
            return low.held == 1 ? .run(low.rate) : .done(result)
        }
        if high.rate > low.rate * RateSearch.ratioMax { return .run((low.rate * high.rate).squareRoot()) }
        if high.failed == 1 { return .run(high.rate) }
        return low.held == 1 ? .run(low.rate) : .done(result)
    }

    /// What is known now, also in the middle of a search.
    package var result: Result {
        let proven = trials.last { $0.held > 1 && $0.holds && $0.rate < high?.rate ?? .infinity }
        let best = proven ?? low
        return Result(rate: best?.rate, isConfirmed: proven != nil, failedRate: high?.rate)
    }

    /// A run ended.
    package mutating func record(rate: Double, holds: Bool) {
        runs += 1
        let index = trials.firstIndex { $0.rate >= rate } ?? trials.count
        if index == trials.count || trials[index].rate != rate { trials.insert(Trial(rate: rate), at: index) }
        if holds { trials[index].held += 1 } else { trials[index].failed += 1 }
    }

    /// The lowest rate that fails: what holds above it did so by luck.
    private var high: Trial? { trials.first { $0.fails } }
    /// The highest rate below that which holds.
    private var low: Trial? { trials.last { $0.holds && $0.rate < high?.rate ?? .infinity } }

    /// Nothing held so far: further down by larger and larger steps.
    private var below: Next {
        guard let high else { return .run(first) }
        if high.rate > lowest {
            let divisor = [2.0, 4.0][min(trials.count, 2) - 1]
            return .run(max(lowest, trials.count > 2 ? lowest : high.rate / divisor))
        }
        return high.failed == 1 ? .run(high.rate) : .done(result)
    }

    /// Nothing failed so far: further up by larger and larger steps.
    private func above(_ rate: Double) -> Double {
        let factor = [1.5, 2, 4][min(trials.count, 3) - 1]
        return min(RateSearch.rates.upperBound, rate * factor)
    }
}
