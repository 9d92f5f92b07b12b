// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import Synchronization

/// A clock on which nobody waits: a timer rings at once, on another thread, and it is that time then.
package final class HastyClock: Clock {
    private let time: Mutex<Timestamp>
    private let queue = DispatchQueue(label: "queuepool.tests.hasty-clock")

    package init(_ now: Timestamp = Timestamp(milliseconds: 1_800_000_000_000)) { time = Mutex(now) }

    package func now() -> Timestamp { time.withLock { $0 } }
    package func wallTime() -> Timestamp { now() }

    package func schedule(at time: Timestamp, _ body: @escaping @Sendable () -> Void) {
        queue.async {
            self.time.withLock { $0 = max($0, time) }
            body()
        }
    }
}
