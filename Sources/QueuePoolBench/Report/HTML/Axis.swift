// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// One axis of a plot: which values it spans, and the round ones that it names.
struct Axis: Sendable {
    struct Tick: Hashable, Sendable {
        let value: Double
        let label: String
    }

    let title: String
    let isLogarithmic: Bool
    let low: Double
    let high: Double
    let ticks: [Tick]

    /// Where a value lies between the axis's ends, 0...1.
    func position(_ value: Double) -> Double {
        let inside = min(high, max(low, value))
        guard high > low else { return 0 }
        if isLogarithmic { return log(inside / low) / log(high / low) }
        return (inside - low) / (high - low)
    }

    /// From 0.
    /// - Parameter isTight: ends with the values, not with the next round one.
    static func linear(
        _ title: String, to largest: Double, isTight: Bool = false, label: (Double) -> String
    ) -> Axis {
        let largest = largest.isFinite && largest > 0 ? largest : 1
        let step = roundStep(largest / 5)
        let count = (largest / step - 1e-9).rounded(isTight ? .down : .up)
        let ticks = (0...Int(max(1, min(count, 20)))).map { number in
            Tick(value: Double(number) * step, label: label(Double(number) * step))
        }
        let high = isTight ? largest : max(largest, ticks.last?.value ?? largest)
        return Axis(
            title: title, isLogarithmic: false, low: 0, high: high, ticks: ticks.filter { $0.value <= high })
    }

    /// Between the round values around those that are shown, all above 0.
    static func logarithmic(_ title: String, _ values: [Double], label: (Double) -> String) -> Axis {
        let shown = values.filter { $0 > 0 && $0.isFinite }
        let low = roundBelow(shown.min() ?? 1)
        let high = max(roundAbove(shown.max() ?? 10), low * 10)
        let decades = log10(high / low)
        var ticks: [Tick] = []
        var power = pow(10, floor(log10(low) + 1e-9))
        while power <= high * 1.000_001, ticks.count < 1_000 {
            for factor in decades > 3.5 ? [1.0] : [1.0, 2.0, 5.0] {
                let value = power * factor
                if value >= low * 0.999_999, value <= high * 1.000_001 {
                    ticks.append(Tick(value: value, label: label(value)))
                }
            }
            power *= 10
        }
        return Axis(title: title, isLogarithmic: true, low: low, high: high, ticks: ticks)
    }

    /// Percentiles p by 1 / (1 - p), as the plots of HdrHistogram have them.
    /// - Parameter largest: the highest 1 / (1 - p) that is shown.
    static func percentiles(to largest: Double) -> Axis {
        let named: [(Double, String)] = [
            (1, "0 %"), (2, "50 %"), (4, "75 %"), (10, "90 %"), (100, "99 %"), (1_000, "99.9 %"), (10_000, "99.99 %"),
            (100_000, "99.999 %"), (1_000_000, "99.9999 %"),
        ]
        let high = max(10, min(1_000_000, largest.isFinite ? largest : 1_000_000))
        return Axis(
            title: "percentile of requests, by 1 / (1 - percentile)", isLogarithmic: true, low: 1, high: high,
            ticks: named.filter { $0.0 <= high }.map { Tick(value: $0.0, label: $0.1) })
    }

    /// The smallest of 1, 2 and 5 times a power of ten that is at least `value`.
    static func roundStep(_ value: Double) -> Double { roundAbove(value) }

    private static func roundAbove(_ value: Double) -> Double {
        let power = pow(10, floor(log10(value)))
        return ([1, 2, 5, 10].first { $0 * power >= value * 0.999_999 } ?? 10) * power
    }

    private static func roundBelow(_ value: Double) -> Double {
        let power = pow(10, floor(log10(value)))
        return ([5, 2, 1].first { $0 * power <= value * 1.000_001 } ?? 1) * power
    }
}
