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
    private let sealing: BodySealing?

    /// - Important: the file must have been opened by `BodyFile` before, which looks whether it is ours.
    init(path: String, vfs: String?, of file: BodyFile) throws(DatabaseError) {
        sealing = file.sealing
        database = try Database(path: path, vfs: vfs)
        try database.execute("PRAGMA busy_timeout = 2000; PRAGMA query_only = ON; PRAGMA cache_size = -1024")
        select = try database.prepare("SELECT number, bytes, \(file.sealedColumn) FROM bodies WHERE key = ?")
    }

    /// Closes the connection now.
    func close() {
        select.finalize()
        database.close()
    }

    /// Reads a body.
    /// - Parameter reportDamaged: called with the body's number if it is not as it was sealed.
    func read(
        key: String, bytesMax: Int, reportDamaged: (_ number: Int64) -> Void = { _ in }
    ) -> Result<[UInt8], BodyStoreError> {
        var number: Int64 = 0
        do throws(DatabaseError) {
            // One transaction: a body that is removed meanwhile is read whole.
            try database.execute("BEGIN")
            defer { try? database.execute("COMMIT") }
            select.bind(1, key)
            guard try select.next("find a body") else { return .failure(.missing) }
            number = select.integer(0)
            let bytes = Int(select.integer(1))
            let form = select.integer(2)
            select.reset()
            guard bytes <= bytesMax else { return .failure(.tooLarge(bytes: bytes, allowed: bytesMax)) }
            return try parts(of: Found(number: number, key: key, opening: try opening(form, number)), bytes: bytes)
        } catch {
            if error.isUnopenedRow { reportDamaged(number) }
            return .failure(error.asBodyStoreError)
        }
    }

    private struct Found {
        let number: Int64
        let key: String
        /// What opens its parts; `nil` if they lie as they are.
        let opening: BodySealing?
    }

    private func opening(_ form: Int64, _ number: Int64) throws(DatabaseError) -> BodySealing? {
        switch (form, sealing) {
        case (0, nil): return nil
        case (0, let sealing?) where sealing.mayHavePlainBodies: return nil
        case (BodySealing.form, let sealing?): return sealing
        // Whoever may write the file must not bring in a body by saying that it is an older one.
        default: throw .unopened(number << BodyFile.partBits)
        }
    }

    private func parts(of found: Found, bytes: Int) throws(DatabaseError) -> Result<[UInt8], BodyStoreError> {
        guard bytes > 0 || found.opening != nil else { return .success([]) }
        var failure: DatabaseError?
        let body = [UInt8](unsafeUninitializedCapacity: bytes) { buffer, count in
            do throws(DatabaseError) {
                try fill(UnsafeMutableRawBufferPointer(buffer), bytes, found)
                count = bytes
            } catch { failure = error }
        }
        if let failure { throw failure }
        return .success(body)
    }

    private func fill(
        _ buffer: UnsafeMutableRawBufferPointer, _ byteCount: Int, _ found: Found
    ) throws(DatabaseError) {
        var row = found.number << BodyFile.partBits
        let blob = try Blob(database, table: "parts", column: "bytes", row: row, isWritten: false)
        var start = 0
        while start < byteCount || start == 0 {
            if start > 0 { try blob.move(to: row) }
            let end = min(start + BodyFile.partBytes, byteCount)
            if let opening = found.opening {
                let part = UnsafeMutableRawBufferPointer(rebasing: buffer[start..<end])
                try open(blob, row, found.key, byteCount, opening, into: part)
                row += 1
                start = max(1, end)
                continue
            }
            guard blob.byteCount == end - start else {
                throw DatabaseError(code: SQLITE_CORRUPT, operation: "read a part of another size")
            }
            try blob.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[start..<end]))
            row += 1
            start = end
        }
    }

    private func open(
        _ blob: borrowing Blob, _ row: Int64, _ key: String, _ bodyBytes: Int, _ opening: BodySealing,
        into part: UnsafeMutableRawBufferPointer
    ) throws(DatabaseError) {
        guard blob.byteCount == part.count + opening.overheadBytes(key: key) else { throw .unopened(row) }
        var stored = [UInt8](repeating: 0, count: blob.byteCount)
        let read = stored.withUnsafeMutableBytes { bytes -> Result<Void, DatabaseError> in
            do throws(DatabaseError) { return .success(try blob.read(into: bytes)) } catch { return .failure(error) }
        }
        try read.get()
        let opened = try opening.open(stored, row: row, key: key, bodyBytes: bodyBytes)
        guard opened.count == part.count else { throw .unopened(row) }
        part.copyBytes(from: opened)
    }
}

extension DatabaseError {
    /// What a body store says of it.
    var asBodyStoreError: BodyStoreError {
        // It will not open the next time either: its message is held back as one whose body is missing.
        if isUnopenedRow { return .refused(code: "Damaged") }
        return isFull || isFailedWrite && SystemFile.fileBytesMax < .max
            ? .full : .unavailable(code: "SQLite-\(code)")
    }
}
