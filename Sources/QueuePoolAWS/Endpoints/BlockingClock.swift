// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore

extension Clock {
    /// Blocks the calling thread, which must be one of its own.
    package func block(milliseconds: Int64) {
        let isOver = DispatchSemaphore(value: 0)
        schedule(afterMilliseconds: milliseconds) { isOver.signal() }
        isOver.wait()
    }
}
