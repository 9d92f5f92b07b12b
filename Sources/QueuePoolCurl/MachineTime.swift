// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Milliseconds that never step back: the project's one clock, for deadlines that are decided here and not by libcurl.
package typealias TransferTime = @Sendable () -> Int64

/// The time of a program that passes no clock, because no deadline but those of its transfers is its own.
enum MachineTime {
    /// Milliseconds since the machine started, and like libcurl's own timeouts without those that it was suspended.
    static let now: TransferTime = {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
