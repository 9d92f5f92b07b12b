// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Numbers as a page shows them.
enum Quantity {
    /// A number that is read as a whole one, such as `12,345`; with decimal places where it is small.
    static func count(_ value: Double) -> String {
        guard value.isFinite, abs(value) < 1e12 else { return "\(value)" }
        let isWhole = value == value.rounded()
        if abs(value) < 100, !isWhole { return significant(value) }
        let digits = Array(decimal(abs(value), places: 0))
        var text = value < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { text += "," }
            text.append(digit)
        }
        return text
    }

    /// A time in the unit that fits it.
    static func time(microseconds value: Double) -> String {
        switch abs(value) {
        case 999_500...: significant(value / 1_000_000) + " s"
        case 999.5...: significant(value / 1_000) + " ms"
        default: significant(value) + " µs"
        }
    }

    /// Three digits that say something, without zeros behind them.
    static func significant(_ value: Double) -> String {
        let places = abs(value) >= 99.95 ? 0 : abs(value) >= 9.995 ? 1 : abs(value) >= 0.0995 ? 2 : 4
        var text = decimal(value, places: places)
        guard text.contains("."), !text.contains("e") else { return text }
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }

    /// `bodyBytes` as `body bytes`.
    static func words(_ name: String) -> String {
        name.map { $0.isUppercase ? " " + $0.lowercased() : String($0) }.joined()
    }
}
