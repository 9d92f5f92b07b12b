// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A thread of the operating system's. SQLite blocks while it flushes, and a blocked thread of Swift's own pool would
/// stop unrelated tasks; so shards are written by threads of their own.
enum SystemThread {
    /// Processors that this machine has online.
    static var processorCount: Int { max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))) }

    private final class Start {
        let body: () -> Void
        init(body: @escaping () -> Void) { self.body = body }
    }

    /// Runs `body` on a new, detached thread.
    /// - Returns: whether the system gave one.
    static func start(_ body: sending @escaping () -> Void) -> Bool {
        let start = Unmanaged.passRetained(Start(body: body))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<Start>.fromOpaque(argument).takeRetainedValue().body()
                return nil
            }, start.toOpaque())
        guard code == 0 else {
            start.release()
            return false
        }
        pthread_detach(thread)
        return true
    }
}
