// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Whether a request keeps arriving. It is judged over stretches of time, so that what came fast at first does not pay for
/// a stall later. Pure: bytes and the time in.
struct ArrivalPace: Hashable, Sendable {
    private var began: NIODeadline
    /// Where the stretch began that is being judged.
    private var stretch: NIODeadline
    /// Bytes of this stretch.
    private var bytes = 0

    init(now: NIODeadline) {
        began = now
        stretch = now
    }

    mutating func arrived(_ count: Int) { bytes += count }

    /// Begins the stretch anew: it was not the client who was slow.
    mutating func excuse(now: NIODeadline) {
        stretch = now
        bytes = 0
    }

    /// - Parameters:
    ///   - hasHead: whether the request's head has arrived.
    ///   - mayPause: whether the body is a stream, which may pause as long as an idle connection.
    /// - Returns: whether the client is to be cut.
    mutating func isStalled(hasHead: Bool, mayPause: Bool = false, now: NIODeadline, limits: DoorLimits) -> Bool {
        guard hasHead else { return now - began > .seconds(Int64(limits.headSeconds)) }
        let length = now - stretch
        guard length >= .seconds(Int64(mayPause ? limits.idleSeconds : limits.headSeconds)) else { return false }
        let needed = mayPause ? 1 : Int(length.nanoseconds / 1_000_000_000) * limits.bodyBytesPerSecondMin
        defer { excuse(now: now) }
        return bytes < needed
    }
}
