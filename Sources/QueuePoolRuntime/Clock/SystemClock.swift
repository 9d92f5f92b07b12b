// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
package import QueuePoolCore

/// The system's clock: real time at the start, carried on by the clock of the time since boot, so that a step of the
/// wall clock moves neither a timeout nor a sequence number, and a machine that was suspended finds its timeouts over.
package final class SystemClock: Clock {
    private let offsetMilliseconds: Int64
    private let queue = DispatchQueue(label: "queuepool.timers")
    /// Dispatch's timers stand still while the machine is suspended: a long one looks at the clock now and then.
    private static let sliceMilliseconds: Int64 = 10_000

    package init() { offsetMilliseconds = SystemClock.read(CLOCK_REALTIME) - SystemClock.read(CLOCK_BOOTTIME) }

    package func now() -> Timestamp {
        Timestamp(milliseconds: SystemClock.read(CLOCK_BOOTTIME) + offsetMilliseconds)
    }

    package func wallTime() -> Timestamp { Timestamp(milliseconds: SystemClock.read(CLOCK_REALTIME)) }

    package func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void) {
        let delay = min(max(0, time - now()), SystemClock.sliceMilliseconds)
        queue.asyncAfter(deadline: .now() + .milliseconds(Int(delay))) {
            if self.now() < time { self.schedule(at: time, body) } else { body() }
        }
    }

    private static func read(_ clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000
    }
}
