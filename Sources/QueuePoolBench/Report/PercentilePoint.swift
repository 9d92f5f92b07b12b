// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// One point of a distribution of latencies.
package struct PercentilePoint: Hashable, Codable, Sendable {
    /// 0...100.
    package var percentile: Double
    package var microseconds: Double
    /// Whether requests that were never sent make it a time that was waited at least.
    package var isLowerBound: Bool

    package init(percentile: Double, microseconds: Double, isLowerBound: Bool = false) {
        (self.percentile, self.microseconds, self.isLowerBound) = (percentile, microseconds, isLowerBound)
    }

    /// Percentiles that every distribution has.
    static let named = [0, 50, 75, 90, 99, 99.9, 99.99, 100]
    /// Above one in so many a distribution has its maximum only.
    private static let oneInMax = 1_000_000.0

    /// The percentiles of a distribution of `count` values: five steps to half of what is left, and again, as the plots of
    /// HdrHistogram have them, up to one in `count`; and the named ones.
    static func ladder(count: Int) -> [Double] {
        var found = Set(named)
        var left = 100.0
        let leftMin = 100 / min(Double(max(1, count)), oneInMax)
        while left > leftMin {
            for tick in 0..<5 {
                let percentile = 100 - left + left / 10 * Double(tick)
                if 100 - percentile >= leftMin { found.insert(percentile) }
            }
            left /= 2
        }
        return found.sorted()
    }

    var value: JSONValue {
        .object([
            ("percentile", .precise(percentile)), ("microseconds", .number(microseconds)),
            ("isLowerBound", .boolean(isLowerBound)),
        ])
    }
}
