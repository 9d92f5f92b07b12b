// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The machine a figure was measured on; a figure without it says nothing.
package struct Machine: Hashable, Sendable {
    package var cores = 0
    package var processor = ""
    package var memoryBytes = 0
    package var kernel = ""
    /// Seconds since 1970 at the start of the run.
    package var measuredAt = 0

    /// Reads `/proc` and `uname`.
    package static func current() -> Machine {
        var machine = Machine()
        machine.cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        machine.memoryBytes = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        machine.measuredAt = time(nil)
        machine.kernel = (SmallFile.read("/proc/sys/kernel/osrelease") ?? "").filter { $0 != "\n" }
        let lines = (SmallFile.read("/proc/cpuinfo") ?? "").split(separator: "\n")
        if let line = lines.first(where: { $0.hasPrefix("model name") }), let colon = line.firstIndex(of: ":") {
            machine.processor = String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        return machine
    }
}
