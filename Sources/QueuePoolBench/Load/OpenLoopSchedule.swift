// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// When requests are meant to start. In an open loop the load does not wait for the server: request i is due at start +
// i x period whatever happened to the one before, and its latency counts from that moment, so that a stall is felt by
// every request that it held up (Tene, "How NOT to measure latency": coordinated omission). Arrival i belongs to
// connection i mod C; a connection that is late sends at once when its answer comes.

/// The arrivals of an open loop.
struct OpenLoopSchedule: Hashable, Sendable {
    /// Monotonic nanoseconds of arrival 0.
    let start: UInt64
    /// Nanoseconds between two requests over all connections.
    let period: Double

    init(start: UInt64, messagesPerSecond: Double, batch: Int) {
        self.start = start
        period = Double(batch) * 1e9 / messagesPerSecond
    }

    /// Arrivals that are due before a moment.
    func count(before now: UInt64) -> Int {
        guard now > start else { return 0 }
        var count = Int(Double(now - start) / period)
        while count > 0, due(count - 1) >= now { count -= 1 }
        while due(count) < now { count += 1 }
        return count
    }

    /// When arrival `index` is due. Computed from the index, so that rounding does not add up.
    func due(_ index: Int) -> UInt64 { start + UInt64((Double(index) * period).rounded()) }
}
