// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
package import QueuePoolCore

extension StoreKeys {
    /// What seals the file at a path. It must be asked for before the file is made: a file that is there already may have
    /// rows that are not sealed.
    /// - Throws: `DatabaseError` if the file has no data key and one cannot be stored.
    package func sealing(ofFileAt path: String) throws(DatabaseError) -> StoreSealing {
        let name = path.split(separator: "/").last.map(String.init) ?? path
        do throws(StoreKeysFault) { return try sealing(of: name, exists: SystemFile.mark(of: path) != nil) } catch {
            throw DatabaseError(code: SQLITE_IOERR | (3 << 8), operation: "store its data key")
        }
    }
}

/// What the rows of files other than logs hold. Each such file has a data key of its own; the kinds tell in the files, too,
/// what is what.
enum SealedKind {
    /// A part of a large body.
    static let bodyPart: UInt8 = 32
    /// What is known of a message.
    static let tracking: UInt8 = 33
    /// An idempotency key with its answer.
    static let idempotency: UInt8 = 34
}

extension DatabaseError {
    /// SQLITE_IOERR_DATA, what SQLite itself says of a page with a wrong checksum. It says nothing of the file's other
    /// rows, so the file stays in use.
    static let unopenedRow: Int32 = SQLITE_IOERR | (32 << 8)

    /// A row that does not open; what it holds is given to nobody.
    static func unopened(_ row: Int64) -> DatabaseError {
        DatabaseError(code: unopenedRow, operation: "open row \(row), which is not as it was sealed")
    }

    /// Whether a row did not open.
    var isUnopenedRow: Bool { code == DatabaseError.unopenedRow }
}

extension StoreSealing {
    /// Seals one row, as an error of the file's if it cannot be.
    func sealed(_ head: [UInt8], _ body: [UInt8]?, at place: RowPlace) throws(DatabaseError) -> SealedRow {
        do throws(RowFault) { return try rows.seal(head: head, body: body, at: place) } catch {
            throw DatabaseError(code: SQLITE_ERROR, operation: "seal a row")
        }
    }
}
