// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// How often each message group is sent.
package enum GroupSkew: Hashable, Sendable, CustomStringConvertible {
    case uniform
    /// Group g is sent in proportion to 1 / (g + 1)^exponent; 0.01...5.
    case zipf(Double)

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

    package var description: String {
        switch self {
        case .uniform: "uniform"
        case .zipf(let exponent): "zipf:\(exponent)"
        }
    }
}
