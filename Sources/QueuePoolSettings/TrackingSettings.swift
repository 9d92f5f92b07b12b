// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

extension Setting {
    package static let trackingHours = Setting(
        "tracking.hours", flag: "tracking-hours", .integer(0...720), fallback: "24", commands: [.serve, .work],
        text: "Hours for which it is kept what became of each message; 0 turns tracking off.")
    package static let trackingBytesMax = Setting(
        "tracking.bytes-max", flag: "tracking-bytes-max", .integer(16_777_216...1_099_511_627_776),
        fallback: "2147483648",
        text:
            "Bytes of the server's file of what became of messages, about 150 each; beyond that the oldest are dropped "
            + "early.")
    package static let outcomesPool = Setting(
        "tracking.outcomes-pool", flag: "outcomes-pool", .text, allowed: "the name of a pool of this server",
        text:
            "Pool to which each final outcome (sent, delivered, dead, expired) of the other pools' messages is sent as "
            + "a message, for a worker to deliver to a webhook.")
}

/// What is kept of messages that were worked on.
package struct TrackingSettings: Hashable, Sendable {
    /// 0: nothing.
    package var hours: Int
    /// Of the server's file.
    package var bytesMax: Int
    /// `nil`: outcomes are sent nowhere.
    package var outcomesPool: PoolName?

    package var isOn: Bool { hours > 0 }
    package var keepMilliseconds: Int64 { Int64(hours) * 3_600_000 }
}

extension SettingsReader {
    /// Those of `serve`.
    mutating func trackingSettings() -> TrackingSettings? {
        let hours = integer(.trackingHours)
        let bytes = integer(.trackingBytesMax)
        let outcomes = text(.outcomesPool)
        let pool = outcomes.flatMap { PoolName($0.value) }
        if let outcomes, pool == nil {
            refuse(outcomes.value, of: .outcomesPool, from: outcomes.source, "is not a pool's name")
        }
        guard let hours, let bytes else { return nil }
        return TrackingSettings(hours: hours, bytesMax: bytes, outcomesPool: pool)
    }
}
