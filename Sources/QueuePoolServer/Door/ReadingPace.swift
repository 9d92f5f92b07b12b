// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// Whether a client reads what it was sent. Pure: figures and the time in.
struct ReadingPace: Hashable, Sendable {
    /// A client that takes nothing for so long, while something waits for it, is taken for gone.
    static let patience = TimeAmount.seconds(10)

    private var written = 0
    private var taken = 0
    private var waitingSince: NIODeadline?

    mutating func wrote(_ bytes: Int) { written += bytes }

    /// - Parameter buffered: bytes that were written and that the system has not taken.
    /// - Returns: whether the client is to be cut.
    mutating func isStalled(buffered: Int, now: NIODeadline) -> Bool {
        guard buffered > 0 else {
            waitingSince = nil
            return false
        }
        let taken = written - buffered
        guard let since = waitingSince, taken == self.taken else {
            self.taken = taken
            waitingSince = now
            return false
        }
        return now - since >= ReadingPace.patience
    }
}
