// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// How often each message group is sent.
package enum GroupSkew: Hashable, Sendable, CustomStringConvertible {
    case uniform
    /// Group g is sent in proportion to 1 / (g + 1)^exponent; 0.01...5.
    case zipf(Double)
    /// Group 0 has this share of the messages, the others are sent alike; between 0 and 1.
    case hot(Double)

    /// Reads `uniform` or `zipf:S`.
    /// - Throws: `InvalidBenchOption` for anything else.
    package init(_ text: String) throws(InvalidBenchOption) {
        if text == "uniform" {
            self = .uniform
        } else if text.hasPrefix("zipf:"), let exponent = Double(text.dropFirst(5)) {
            self = .zipf(exponent)
        } else {
            throw InvalidBenchOption(field: "skew", value: text, allowed: "uniform or zipf:S with S in 0.01...5")
        }
    }

    /// Reads the share of one group, such as `5%`.
    /// - Throws: `InvalidBenchOption` for anything else.
    package init(hotGroup text: String) throws(InvalidBenchOption) {
        guard text.hasSuffix("%"), let percent = Double(text.dropLast()), percent > 0, percent < 100 else {
            throw InvalidBenchOption(field: "hot-group", value: text, allowed: "a percentage between 0% and 100%")
        }
        self = .hot(percent / 100)
    }

    package var description: String {
        switch self {
        case .uniform: "uniform"
        case .zipf(let exponent): "zipf:\(exponent)"
        case .hot(let share): "hot:\(share)"
        }
    }
}
