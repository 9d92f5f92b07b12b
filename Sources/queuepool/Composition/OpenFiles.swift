// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Logging

// Each connection takes a file descriptor. Where the system gives fewer than the connections that were asked for, accept
// would fail and shards could not open their files; so the number of connections yields.

/// The descriptors that the process may have.
enum OpenFiles {
    /// Descriptors for shards, the control store, targets and logs, beside those of connections.
    static let reserved = 256

    /// Raises the soft limit as far as the hard one allows, up to what the connections need.
    /// - Returns: how many connections fit, at least 1 and at most `wanted`.
    static func makeRoom(forConnections wanted: Int, logger: Logger) -> Int {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return wanted }
        let needed = rlim_t(wanted + reserved)
        if limit.rlim_cur < needed {
            let before = limit.rlim_cur
            limit.rlim_cur = min(needed, limit.rlim_max)
            if setrlimit(resource, &limit) != 0 { limit.rlim_cur = before }
        }
        let fitting = connections(wanted: wanted, descriptors: Int(clamping: limit.rlim_cur))
        if fitting < wanted {
            logger.warning(
                "Fewer connections are taken than allowed: the process may not open more files (ulimit -n)",
                metadata: ["connections": "\(fitting)", "wanted": "\(wanted)", "files": "\(limit.rlim_cur)"])
        }
        return fitting
    }

    /// How many connections fit into so many descriptors. Where there are few, connections and files share them.
    static func connections(wanted: Int, descriptors: Int) -> Int {
        max(1, min(wanted, descriptors - min(reserved, descriptors / 2)))
    }
}
