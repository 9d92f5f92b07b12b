// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

// Ctrl-C ends a run early, but not before its servers are stopped and their directories removed: the signal only leaves
// a mark, which the loops look at.

/// A run that was ended by SIGINT or SIGTERM.
package struct BenchInterrupted: Error, Hashable {}

/// Whether the run shall end.
package enum Interruption {
    private static let mark = Atomic<Bool>(false)

    /// From now on SIGINT and SIGTERM end the run instead of the process.
    package static func watch() {
        // The mark exists before a signal can ask for it: its first use takes a lock.
        mark.store(false, ordering: .relaxed)
        for number in [SIGINT, SIGTERM] {
            signal(number) { _ in Interruption.request() }
        }
    }

    /// Whether a signal came.
    package static var isRequested: Bool { mark.load(ordering: .relaxed) }

    /// - Throws: `BenchInterrupted` once a signal came.
    static func check() throws(BenchInterrupted) {
        if isRequested { throw BenchInterrupted() }
    }

    /// Ends the run; may be called by a signal handler.
    private static func request() { mark.store(true, ordering: .relaxed) }
}
