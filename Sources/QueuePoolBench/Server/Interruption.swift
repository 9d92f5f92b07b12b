// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

// Ctrl-C ends a run early, but not before what ran is told, its servers are stopped and their directories removed: the
// signal only leaves a mark, which the loops look at.

/// A run that was ended by SIGINT or SIGTERM.
package struct BenchInterrupted: Error, Hashable {}

/// Whether the run shall end.
package enum Interruption {
    /// Number of the first signal; 0 before it.
    private static let mark = Atomic<Int32>(0)

    /// From now on SIGINT and SIGTERM end the run instead of the process.
    package static func watch() {
        // The mark exists before a signal can ask for it: its first use takes a lock.
        mark.store(0, ordering: .relaxed)
        for number in [SIGINT, SIGTERM] {
            signal(number) { Interruption.request($0) }
        }
    }

    /// Whether a signal came.
    package static var isRequested: Bool { mark.load(ordering: .relaxed) != 0 }

    /// What a shell reports of a program that the signal ended: 130 for SIGINT, 143 for SIGTERM.
    package static var exitStatus: Int32 {
        let number = mark.load(ordering: .relaxed)
        return 128 + (number == 0 ? SIGINT : number)
    }

    /// - Throws: `BenchInterrupted` once a signal came.
    static func check() throws(BenchInterrupted) {
        if isRequested { throw BenchInterrupted() }
    }

    /// Ends the run; may be called by a signal handler.
    private static func request(_ number: Int32) {
        _ = mark.compareExchange(expected: 0, desired: number, ordering: .relaxed)
    }
}
