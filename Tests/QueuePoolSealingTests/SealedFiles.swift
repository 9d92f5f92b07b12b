// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolSealing
import Synchronization
import Testing

@testable import QueuePoolEmbedded

/// A data directory whose files are sealed, removed after its test.
final class SealedFiles: Sendable {
    let directory = NSTemporaryDirectory() + "queuepool-sealed-\(UUID().uuidString)"

    init() throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    func keys() throws -> DataKeys {
        try DataKeys(
            directory: directory, master: try #require(MasterKey(text: String(repeating: "a", count: 64))))
    }

    func path(_ name: String) -> String { "\(directory)/\(name)" }

    /// Changes a file that nobody has open, through SQLite, so that no page's structure breaks.
    func change(_ name: String, _ sql: String) throws {
        let database = try Database(path: path(name))
        defer { database.close() }
        try database.execute(sql)
    }

    /// Flips a bit in the middle of the one value that a query gives with its row's number.
    func flip(_ name: String, _ table: String, _ column: String, at place: (Int) -> Int = { $0 / 2 }) throws {
        let database = try Database(path: path(name))
        defer { database.close() }
        let select = try database.prepare("SELECT \(column) FROM \(table) WHERE \(column) IS NOT NULL LIMIT 1")
        #expect(try select.next("find a value"))
        let before = select.bytes(0)
        select.finalize()
        var after = before
        after[place(before.count)] ^= 1
        let update = try database.prepare("UPDATE \(table) SET \(column) = ? WHERE \(column) = ?")
        defer { update.finalize() }
        update.bind(1, copying: after)
        update.bind(2, copying: before)
        try update.run("change a value")
    }

    /// The names of files in which a text is.
    func filesWith(_ text: String) throws -> [String] {
        let needle = Data(text.utf8)
        return try FileManager.default.contentsOfDirectory(atPath: directory).filter {
            try Data(contentsOf: URL(fileURLWithPath: path($0))).range(of: needle) != nil
        }
    }
}

/// Numbers that were told, from any thread.
final class Told: Sendable {
    private let told = Mutex<[Int64]>([])
    var all: [Int64] { told.withLock { $0 } }
    func tell(_ number: Int64) { told.withLock { $0.append(number) } }
}
