// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension LogFile {
    /// Which of its directory's stores the file is; `nil` if nobody wrote it down yet.
    func label() throws(DatabaseError) -> StoreLabel? {
        var rows: [String: Int64] = [:]
        let select = try database.prepare("SELECT name, value FROM meta WHERE name IN ('directory', 'store', 'stores')")
        while try select.next("read the label") { rows[select.text(0)] = select.integer(1) }
        guard let directory = rows["directory"], let number = rows["store"], let count = rows["stores"] else {
            return nil
        }
        return StoreLabel(directory: directory, number: Int(number), count: Int(count))
    }

    /// Writes the label; it is on stable storage when this returns.
    func write(_ label: StoreLabel) throws(DatabaseError) {
        try commit { () throws(DatabaseError) in
            let insert = try database.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)")
            for (name, value) in [
                ("directory", label.directory), ("store", Int64(label.number)), ("stores", Int64(label.count)),
            ] {
                insert.bind(1, name)
                insert.bind(2, value)
                try insert.run("write the label")
            }
        }
    }
}
