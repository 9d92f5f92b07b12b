// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// How old messages of a remote queue were when they were received. SQS tells nobody the age of its oldest message but
/// CloudWatch; what it gives out of each group is the oldest, so the greatest age of a minute's receives is close to it.
struct ReceivedAges: Sendable {
    /// Receives are remembered for at least one such period, and for less than two.
    static let periodMilliseconds: Int64 = 60_000

    private var from = Timestamp.distantPast
    private var greatest: Int64?
    private var greatestBefore: Int64?

    /// - Parameters:
    ///   - sentAt: by the service's clock, which may be ahead of ours: no age is below 0.
    ///   - wall: the time now, by the clock on the wall.
    mutating func received(sentAt: Timestamp, wall: Timestamp, now: Timestamp) {
        pass(now)
        greatest = max(greatest ?? 0, wall - sentAt)
    }

    /// Milliseconds; `nil` if nothing was received lately.
    mutating func oldest(now: Timestamp) -> Int64? {
        pass(now)
        guard let greatest else { return greatestBefore }
        return max(greatest, greatestBefore ?? 0)
    }

    private mutating func pass(_ now: Timestamp) {
        let passed = now - from
        guard passed >= ReceivedAges.periodMilliseconds else { return }
        greatestBefore = passed < 2 * ReceivedAges.periodMilliseconds ? greatest : nil
        greatest = nil
        from = now
    }
}
