// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import Dispatch
import Synchronization

/// Copies a WAL's pages into its file beside commits, over a connection of its own.
/// - Important: `database` is touched on `queue` only, or when nothing is under way. That is what makes it Sendable.
final class LogCopying: @unchecked Sendable {
    /// What one time of copying came to.
    struct Copied: Sendable {
        /// Pages of the WAL, from its start, that are in the file now.
        var pages: Int32 = 0
        var failure: DatabaseError?
    }

    private enum State {
        case idle
        case underWay
        case done(Copied)
    }

    /// One file after the other: they share a disk.
    private static let queue = DispatchQueue(label: "queuepool.checkpoints")

    private let database: Database
    private let state = Mutex(State.idle)
    private let end = DispatchSemaphore(value: 0)

    init(path: String, vfs: String) throws(DatabaseError) {
        database = try Database(path: path, vfs: vfs)
        // Flushes the WAL before, and the file after it copied.
        try database.execute("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0;")
        database.closeWithoutCheckpoint()
    }

    /// Begins, unless it is under way.
    func begin() {
        let mustStart = state.withLock { state in
            if case .underWay = state { return false }
            state = .underWay
            return true
        }
        guard mustStart else { return }
        LogCopying.queue.async { [self] in
            let copied = copy()
            state.withLock { $0 = .done(copied) }
            end.signal()
        }
    }

    /// What was copied, once, if that is done.
    func take() -> Copied? {
        let copied: Copied? = state.withLock { state in
            guard case .done(let copied) = state else { return nil }
            state = .idle
            return copied
        }
        if copied != nil { end.wait() }
        return copied
    }

    /// Waits for the end of what is under way.
    func wait() -> Copied? {
        guard state.withLock({ if case .idle = $0 { false } else { true } }) else { return nil }
        end.wait()
        return state.withLock { state in
            defer { state = .idle }
            guard case .done(let copied) = state else { return nil }
            return copied
        }
    }

    /// Closes the connection; the file's other one must still be open.
    func close() {
        _ = wait()
        database.close()
    }

    private func copy() -> Copied {
        var pages: Int32 = 0
        let code = sqlite3_wal_checkpoint_v2(database.handle, nil, SQLITE_CHECKPOINT_PASSIVE, nil, &pages)
        guard code == SQLITE_OK else {
            return Copied(failure: database.error(code, "copy the WAL into the file"))
        }
        return Copied(pages: max(0, pages))
    }
}
