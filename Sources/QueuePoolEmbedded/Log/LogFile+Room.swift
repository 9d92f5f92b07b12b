// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension LogFile {
    /// Room for the file: what the file system and the limit on the size of files leave, and unused pages in the file.
    /// - Returns: `nil` if it cannot be told.
    func room() -> StoreRoom? {
        guard let disk = SystemFile.room(at: directory),
            let pages = try? integer("PRAGMA page_count"), let unused = try? integer("PRAGMA freelist_count")
        else { return nil }
        let limit = SystemFile.fileBytesMax
        let growth = min(disk.free, max(0, limit - pages * LogFile.pageBytes))
        return StoreRoom(free: growth + unused * LogFile.pageBytes, total: min(disk.total, limit), growth: growth)
    }

    /// Whether a failed write may have failed because the file has no room.
    static func isForRoom(_ error: DatabaseError) -> Bool {
        error.isFull || error.isFailedWrite && SystemFile.fileBytesMax < .max
    }

    func integer(_ query: String) throws(DatabaseError) -> Int64 {
        let statement = try database.prepare(query)
        defer { statement.finalize() }
        guard try statement.next("read a figure") else { return 0 }
        return statement.integer(0)
    }
}
