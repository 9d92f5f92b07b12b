// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking

/// What a handler's time does to one group, whose messages are handled one after the other.
package struct HandlerReport: Hashable, Sendable, CustomStringConvertible {
    package let milliseconds: Int
    /// Messages/s of the group with the most messages: sent, or of a drain consumed; `nil` when not known.
    package let hottestGroupPerSecond: Double?

    /// Messages/s that a group cannot go beyond.
    package var groupCeilingPerSecond: Double { 1_000 / Double(milliseconds) }
    /// Above 1 its backlog grows, however many workers there are.
    package var hottestGroupShareOfCeiling: Double? { hottestGroupPerSecond.map { $0 / groupCeilingPerSecond } }

    /// The line of a report.
    package var description: String {
        var line = "handler: \(milliseconds) ms a message, so a group goes "
        line += "\(decimal(groupCeilingPerSecond, places: 1)) messages/s at most"
        if let rate = hottestGroupPerSecond, let share = hottestGroupShareOfCeiling {
            line += "; the hottest goes \(decimal(rate, places: 1)), \(decimal(share * 100, places: 1)) % of that"
            if share > 1 { line += ": BEYOND it, its backlog grows whatever the number of workers" }
        }
        return line
    }
}

extension BenchReport {
    /// `nil` without a handler.
    package var handler: HandlerReport? {
        guard let milliseconds = options.handlerMilliseconds else { return nil }
        return HandlerReport(milliseconds: milliseconds, hottestGroupPerSecond: hottestGroupPerSecond)
    }

    private var hottestGroupPerSecond: Double? {
        guard let sending, let measured, let share = sending.hottestShare, measured.seconds > 0 else { return nil }
        // A drain that left something behind may have left more of one group than of another.
        if options.mode == .drain, measured.delete.messages < sending.send.messages { return nil }
        return share * Double(sending.send.messages) / measured.seconds
    }
}

extension HandlerReport {
    var value: JSONValue {
        .object([
            ("milliseconds", .integer(milliseconds)), ("groupCeilingPerSecond", .number(groupCeilingPerSecond)),
            ("hottestGroupPerSecond", .optional(hottestGroupPerSecond)),
            ("hottestGroupShareOfCeiling", .optional(hottestGroupShareOfCeiling)),
        ])
    }
}
