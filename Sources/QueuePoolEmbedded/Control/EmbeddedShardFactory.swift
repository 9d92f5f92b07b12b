// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import Glibc
package import QueuePoolCore

// Which store has which shard is computed, not looked up: a pool's shards are numbered, and the number modulo the number
// of stores names the store, so that a pool's load is spread evenly. The number of stores is fixed when a data directory
// is made; each file tells it, see `StoreSet`.

/// Shards in the stores of a directory: `DIRECTORY/store-0.sqlite` ...
package final class EmbeddedShardFactory: ShardFactory {
    let directory: String
    let stores: [Store]
    private let options: EmbeddedShardOptions
    private let watch: StorageWatch

    /// A store that takes no sends, and why; `nil` if all do.
    package var storageProblem: String? { watch.problem }

    /// - Parameter directory: exists already.
    package init(directory: String, options: EmbeddedShardOptions) throws(ShardOpenError) {
        self.directory = directory
        self.options = options
        let watch = StorageWatch(report: options.report)
        self.watch = watch
        let reserve = ReserveFile(path: "\(directory)/reserve.bin")
        let make = { (number: Int) in
            Store(
                path: EmbeddedShardFactory.path(directory, number), pool: options.pool, vfs: options.vfs,
                openLog: options.openLog, reserve: reserve, watch: watch)
        }
        var found: [Int: StoreFacts] = [:]
        for number in try EmbeddedShardFactory.numbers(in: directory) {
            found[number] = try EmbeddedShardFactory.attempt(make(number)) { store throws(DatabaseError) in
                try store.facts()
            }
        }
        let set: StoreSet
        do throws(StoreSetError) {
            set = try StoreSet(
                found, wanted: options.storeCount, name: { EmbeddedShardFactory.path(directory, $0) },
                place: EmbeddedShardFactory.place)
        } catch { throw .stores(error) }
        let stores = (0..<set.count).map(make)
        for number in set.making {
            _ = try EmbeddedShardFactory.attempt(stores[number]) { store throws(DatabaseError) in try store.facts() }
        }
        let id = set.directory ?? Int64(bitPattern: options.random())
        for number in set.labelling {
            let label = StoreLabel(directory: id, number: number, count: set.count)
            try EmbeddedShardFactory.attempt(stores[number]) { store throws(DatabaseError) in try store.write(label) }
        }
        self.stores = stores
    }

    private static func attempt<R>(
        _ store: Store, _ body: (Store) throws(DatabaseError) -> R
    ) throws(ShardOpenError) -> R {
        do throws(DatabaseError) { return try body(store) } catch { throw .store(file: store.path, error) }
    }

    /// - Throws: `ShardOpenError`
    package func open(name: String, attributes: QueueAttributes, address: ShardAddress? = nil) throws -> any Shard {
        // Before 1.0 a shard had a file of its own; starting without its messages would lose them silently.
        if access("\(directory)/\(name).sqlite", F_OK) == 0 {
            throw ShardOpenError.database(
                DatabaseError(code: SQLITE_MISMATCH, operation: "read \(name).sqlite, a file of an older format"))
        }
        return try store(of: name).open(name: name, attributes: attributes, options: options)
    }

    package func remove(name: String, address: ShardAddress? = nil) throws {
        do throws(DatabaseError) { try store(of: name).remove(name: name) } catch {
            throw ShardOpenError.store(file: store(of: name).path, error)
        }
    }

    /// The name's last number says which; a name without one goes by its hash.
    private func store(of name: String) -> Store {
        stores[EmbeddedShardFactory.place(name, stores.count)]
    }

    static func place(_ name: String, _ count: Int) -> Int {
        let digits = name.utf8.reversed().drop { !isDigit($0) }.prefix { isDigit($0) }
        let number = Int(String(decoding: digits.reversed(), as: UTF8.self)).map(UInt64.init) ?? XXHash64.hash(name)
        return Int(number % UInt64(count))
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    private static func path(_ directory: String, _ number: Int) -> String { "\(directory)/store-\(number).sqlite" }

    /// The numbers of the stores whose files are there.
    private static func numbers(in directory: String) throws(ShardOpenError) -> [Int] {
        guard let names = SystemFile.names(in: directory) else {
            throw .store(
                file: directory, DatabaseError(code: SQLITE_CANTOPEN, operation: "read the directory"))
        }
        let numbers = names.compactMap { number(of: $0, suffix: ".sqlite") }.sorted()
        for suffix in ["-wal"] + (0..<CommitJournal.filesMax).map({ CommitJournal.suffix + String($0) }) {
            let logs = names.compactMap { number(of: $0, suffix: ".sqlite" + suffix) }.sorted()
            if let alone = logs.first(where: { !numbers.contains($0) }) {
                throw .stores(.onlyLog(file: path(directory, alone), log: path(directory, alone) + suffix))
            }
        }
        return numbers
    }

    private static func number(of name: String, suffix: String) -> Int? {
        guard name.hasPrefix("store-"), name.hasSuffix(suffix),
            let number = Int(name.dropFirst("store-".count).dropLast(suffix.count)),
            number >= 0, "store-\(number)\(suffix)" == name
        else { return nil }
        return number
    }
}
