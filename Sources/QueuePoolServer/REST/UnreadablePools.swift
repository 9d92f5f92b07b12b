// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolRuntime
import QueuePoolSQS

// A pool that is stored and can't be read is not missing: who is told so may make it anew, or drop what it had
// to send.

extension PoolRegistry {
    /// Why there is no pool of this name to be had, over REST.
    func absence(of name: String) -> Problem {
        guard isUnreadable(name) else { return .noSuchPool() }
        return Problem(
            "unreadable-pool", status: 503, title: "The pool cannot be served",
            detail: "What the control store has of it cannot be read. Its messages are where they were.",
            retryAfterSeconds: 60)
    }

    /// Why there is no queue of this name to be had, over the SQS protocol.
    func queueAbsence(of name: String) -> SQSError {
        guard isUnreadable(name) else { return .noSuchQueue }
        return SQSError(.serviceUnavailable, "What the control store has of the queue cannot be read.")
    }
}
