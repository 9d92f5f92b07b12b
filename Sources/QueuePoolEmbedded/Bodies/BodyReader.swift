// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import QueuePoolCore

/// The reading connection to the file of bodies: in WAL mode it reads what is committed while another one writes.
/// - Important: used on the serial queue `SQLiteBodies.reading` only. That is what makes it Sendable.
final class BodyReader: @unchecked Sendable {
    private let database: Database
    private let select: Statement

    /// - Important: the file must have been opened by `BodyFile` before, which looks whether it is ours.
    init(path: String, vfs: String?) throws(DatabaseError) {
        database = try Database(path: path, vfs: vfs)
        try database.execute("PRAGMA busy_timeout = 2000; PRAGMA query_only = ON; PRAGMA cache_size = -1024")
        select = try database.prepare("SELECT number, bytes FROM bodies WHERE key = ?")
    }

    /// Closes the connection now.
    func close() {
        select.finalize()
        database.close()
    }

    /// Reads a body.
    func read(key: String, bytesMax: Int) -> Result<[UInt8], BodyStoreError> {
        do throws(DatabaseError) {
            // One transaction: a body that is removed meanwhile is read whole.
            try database.execute("BEGIN")
            defer { try? database.execute("COMMIT") }
            select.bind(1, key)
            guard try select.next("find a body") else { return .failure(.missing) }
            let number = select.integer(0)
            let bytes = Int(select.integer(1))
            select.reset()
            guard bytes <= bytesMax else { return .failure(.tooLarge(bytes: bytes, allowed: bytesMax)) }
            return try parts(of: number, bytes: bytes)
        } catch { return .failure(error.asBodyStoreError) }
    }

    private func parts(of number: Int64, bytes: Int) throws(DatabaseError) -> Result<[UInt8], BodyStoreError> {
        guard bytes > 0 else { return .success([]) }
        var failure: DatabaseError?
        let body = [UInt8](unsafeUninitializedCapacity: bytes) { buffer, count in
            do throws(DatabaseError) {
                try fill(UnsafeMutableRawBufferPointer(buffer), number)
                count = bytes
            } catch { failure = error }
        }
        if let failure { throw failure }
        return .success(body)
    }

    private func fill(_ buffer: UnsafeMutableRawBufferPointer, _ number: Int64) throws(DatabaseError) {
        var row = number << BodyFile.partBits
        let blob = try Blob(database, table: "parts", column: "bytes", row: row, isWritten: false)
        var start = 0
        while start < buffer.count {
            if start > 0 { try blob.move(to: row) }
            let end = min(start + BodyFile.partBytes, buffer.count)
            guard blob.byteCount == end - start else {
                throw DatabaseError(code: SQLITE_CORRUPT, operation: "read a part of another size")
            }
            try blob.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<end]))
            row += 1
            start = end
        }
    }
}

extension DatabaseError {
    /// What a body store says of it.
    var asBodyStoreError: BodyStoreError {
        isFull || isFailedWrite && SystemFile.fileBytesMax < .max ? .full : .unavailable(code: "SQLite-\(code)")
    }
}
