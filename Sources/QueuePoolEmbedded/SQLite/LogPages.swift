// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

/// How many pages a connection's write-ahead log has, told by SQLite after each commit. Source: sqlite.org, "Write-Ahead
/// Log Commit Hook".
/// - Important: for whoever uses the connection only. It must not end before `stop`, or the connection's own end.
final class LogPages {
    private let pages: UnsafeMutablePointer<Int32>

    /// Begins to count.
    init(of database: Database) {
        pages = .allocate(capacity: 1)
        pages.initialize(to: 0)
        sqlite3_wal_hook(
            database.handle,
            { context, _, _, pages in
                context?.assumingMemoryBound(to: Int32.self).pointee = pages
                return SQLITE_OK
            }, pages)
    }

    deinit { pages.deallocate() }

    /// Since the latest commit, or 0 once it was set so because they were copied into the file.
    var count: Int32 {
        get { pages.pointee }
        set { pages.pointee = newValue }
    }

    /// SQLite tells no more.
    func stop(_ database: Database) { sqlite3_wal_hook(database.handle, nil, nil) }
}
