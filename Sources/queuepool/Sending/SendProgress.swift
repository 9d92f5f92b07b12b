// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Counts of a send, and how they are shown.
struct SendProgress: Hashable, Sendable {
    var sent = 0
    var duplicates = 0
    var refused = 0
    /// Lines that an earlier run had sent.
    var alreadySent = 0
    var bytesRead = 0
    /// `nil`: unknown, as with standard input.
    var bytesTotal: Int?

    /// One line for a terminal, without a line feed.
    func bar(elapsedSeconds: Double) -> String {
        let rate = elapsedSeconds > 0 ? Int(Double(sent) / elapsedSeconds) : 0
        let counts = "\(grouped(sent)) sent  \(grouped(rate))/s  \(grouped(refused)) refused"
        guard let bytesTotal, bytesTotal > 0 else { return counts }
        let share = min(1, Double(bytesRead) / Double(bytesTotal))
        let width = 24
        let full = Int(share * Double(width))
        let bar = String(repeating: "#", count: full) + String(repeating: ".", count: width - full)
        return "[\(bar)] \(Int(share * 100))%  " + counts
    }

    /// The last word of a send.
    func summary(elapsedSeconds: Double) -> String {
        let seconds = Double(Int(elapsedSeconds * 10)) / 10
        return "sent \(grouped(sent)) (of which duplicates: \(grouped(duplicates))), sent by an earlier run "
            + "\(grouped(alreadySent)), refused \(grouped(refused)), in \(seconds) s"
    }

    /// `1234567` -> `1,234,567`.
    private func grouped(_ number: Int) -> String {
        var digits = String(number)
        var place = digits.count - 3
        while place > 0 {
            digits.insert(",", at: digits.index(digits.startIndex, offsetBy: place))
            place -= 3
        }
        return digits
    }
}
