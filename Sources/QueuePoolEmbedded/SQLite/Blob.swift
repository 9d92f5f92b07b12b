// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite

/// A value in a table that is read or written where it lies, without a copy of the whole. It must be closed, by leaving its
/// scope, before its transaction ends.
struct Blob: ~Copyable {
    private let database: Database
    private let handle: OpaquePointer

    init(
        _ database: Database, table: String, column: String, row: Int64, isWritten: Bool
    ) throws(DatabaseError) {
        var handle: OpaquePointer?
        let code = sqlite3_blob_open(database.handle, "main", table, column, row, isWritten ? 1 : 0, &handle)
        guard code == SQLITE_OK, let handle else { throw database.error(code, "open a value") }
        self.database = database
        self.handle = handle
    }

    deinit { sqlite3_blob_close(handle) }

    var byteCount: Int { Int(sqlite3_blob_bytes(handle)) }

    /// Goes to the same column of another row, which costs less than a new value.
    func move(to row: Int64) throws(DatabaseError) {
        let code = sqlite3_blob_reopen(handle, row)
        guard code == SQLITE_OK else { throw database.error(code, "go to a value") }
    }

    /// Reads from the start, as many bytes as `buffer` has room for.
    func read(into buffer: UnsafeMutableRawBufferPointer) throws(DatabaseError) {
        guard let base = buffer.baseAddress, !buffer.isEmpty else { return }
        let code = sqlite3_blob_read(handle, base, Int32(clamping: buffer.count), 0)
        guard code == SQLITE_OK else { throw database.error(code, "read a value") }
    }

    /// Writes from the start; a value keeps its size.
    func write(_ bytes: UnsafeRawBufferPointer) throws(DatabaseError) {
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        let code = sqlite3_blob_write(handle, base, Int32(clamping: bytes.count), 0)
        guard code == SQLITE_OK else { throw database.error(code, "write a value") }
    }
}
