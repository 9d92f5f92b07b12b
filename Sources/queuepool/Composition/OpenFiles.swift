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

    /// The same for two doors, of which the second has the smaller part where there are few descriptors.
    /// - Parameter besides: connections of the second; 0 if there is none.
    static func makeRoom(
        forConnections wanted: Int, besides: Int, logger: Logger
    ) -> (connections: Int, besides: Int) {
        let fitting = makeRoom(forConnections: wanted + besides, logger: logger)
        guard fitting < wanted + besides else { return (wanted, besides) }
        let others = min(besides, max(1, fitting / 4))
        return (max(1, fitting - others), others)
    }

    /// Raises the soft limit as far as the hard one allows, up to what the connections need.
    /// - Returns: how many connections fit, at least 1 and at most `wanted`.
    static func makeRoom(forConnections wanted: Int, logger: Logger) -> Int {
        guard let limit = raise(to: wanted + reserved) else { return wanted }
        let fitting = connections(wanted: wanted, descriptors: limit)
        if fitting < wanted {
            logger.warning(
                "Fewer connections are taken than allowed: the process may not open more files (ulimit -n)",
                metadata: ["connections": "\(fitting)", "wanted": "\(wanted)", "files": "\(limit)"])
        }
        return fitting
    }

    /// A delivery needs a connection, or a command's input and its process: with fewer descriptors it would fail, and what
    /// it was to deliver with it.
    /// - Throws: `CommandFailure` if so many deliveries cannot be under way at one time.
    static func requireRoom(forDeliveries concurrency: Int) throws(CommandFailure) {
        let needed = 2 * concurrency + reserved
        guard let limit = raise(to: needed), limit < needed else { return }
        throw CommandFailure(
            "concurrency \(concurrency) needs \(needed) open files, and this process may have \(limit) (ulimit -n); "
                + "allowed here are 1 to \(max(1, (limit - reserved) / 2))", status: ExitStatus.configuration)
    }

    /// Raises the soft limit as far as the hard one allows, up to what is needed.
    /// - Returns: the limit then; `nil` if the system does not tell.
    private static func raise(to needed: Int) -> Int? {
        var limit = rlimit()
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        guard getrlimit(resource, &limit) == 0 else { return nil }
        if limit.rlim_cur < rlim_t(needed) {
            let before = limit.rlim_cur
            limit.rlim_cur = min(rlim_t(needed), limit.rlim_max)
            if setrlimit(resource, &limit) != 0 { limit.rlim_cur = before }
        }
        return Int(clamping: limit.rlim_cur)
    }

    /// How many connections fit into so many descriptors. Where there are few, connections and files share them.
    static func connections(wanted: Int, descriptors: Int) -> Int {
        max(1, min(wanted, descriptors - min(reserved, descriptors / 2)))
    }
}
