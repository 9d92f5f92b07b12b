// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// What a store needs of its log. `JournaledLog` keeps it in SQLite, behind a journal. A test may bring another one, on a disk that fails and
// loses power where the test wants it, and run all that lies above it as it is. A call through the protocol is made for a
// commit or a row, which holds many messages, never for each message.

/// Visits a row: its shard, its number, its kind, its head, and how long its body is.
typealias LogVisit = (
    _ shard: Int64, _ row: Int64, _ kind: Int64, _ head: [UInt8], _ bodyBytes: Int
) throws(DatabaseError) -> Void

/// Opens the log at a path, or makes it; what it holds then is on stable storage.
typealias LogOpening = @Sendable (_ path: String) throws(DatabaseError) -> any StoreLog

/// The durable truth of a few shards; one thread at a time uses it.
protocol StoreLog: AnyObject {
    /// The shards in it, by name.
    var identities: [String: LogIdentity] { get }
    /// Shards whose rows are being removed, by number, each with the last row that was looked at.
    var leaving: [Int64: Int64] { get }
    /// The number that the next row gets.
    var nextRow: Int64 { get }
    /// Why the log takes no more writes; set for good.
    var brokenBy: DatabaseError? { get }
    var isCheckpointDue: Bool { get }

    /// Runs `body` in a transaction that is on stable storage when this returns, or is not acknowledged.
    /// - Parameter line: the commit line whose turn this is; it is told when the thread waits for the disk.
    func commit(on line: (any CommitLine)?, _ body: () throws(DatabaseError) -> Void) throws(DatabaseError)

    // In a transaction.

    /// - Returns: the new row's number.
    func append(shard: Int64, kind: Int64, head: [UInt8], body: [UInt8]?) throws(DatabaseError) -> Int64
    func delete(row: Int64) throws(DatabaseError)
    func replace(row: Int64, head: [UInt8], body: [UInt8]) throws(DatabaseError)
    /// Removes rows from the front of a list: a bounded number.
    /// - Returns: how many.
    func removeSlice(of rows: some Collection<Int64>) throws(DatabaseError) -> Int

    // Reading.

    /// - Returns: `nil` if there is no such row.
    func head(row: Int64) throws(DatabaseError) -> [UInt8]?
    func body(row: Int64) throws(DatabaseError) -> [UInt8]?
    /// Visits the head of every row, oldest first.
    func scan(_ visit: LogVisit) throws(DatabaseError)
    /// Visits the heads of one shard's rows, among a bounded number of all that come after a row.
    /// - Returns: the last row that was looked at; `nil` if there are no more.
    func scanSlice(of shard: Int64, after: Int64, _ visit: LogVisit) throws(DatabaseError) -> Int64?
    /// The shards, with how many rows each has.
    func rows() throws(DatabaseError) -> [String: Int]

    // Shards. These write in transactions of their own.

    /// The shard's identity, made if it has none yet; on stable storage when this returns.
    func identity(of name: String, random: () -> UInt64) throws(DatabaseError) -> LogIdentity
    /// Begins a shard's removal: from now on nobody knows it, whatever happens; its rows go in slices.
    func beginRemoval(of name: String) throws(DatabaseError)
    /// Removes rows of shards that are leaving: a bounded number.
    /// - Returns: whether there are more.
    func removeSlice() throws(DatabaseError) -> Bool
    /// Which of its directory's stores it is; `nil` if nobody wrote it down yet.
    func label() throws(DatabaseError) -> StoreLabel?
    func write(_ label: StoreLabel) throws(DatabaseError)

    // Upkeep.

    func checkpoint()
    /// After a turn: begins or goes on with what `checkpoint` does, beside the next commits where that can be.
    func checkpointIfDue(on line: any CommitLine)
    /// Gives the room of what is gone back to the disk, if little is left.
    func shrink()
    /// Closes the log for writes if it is not at its path any more.
    func checkPlace()
    /// - Returns: `nil` if it cannot be told.
    func room() -> StoreRoom?
    /// Closes it now, so that it can be opened again or removed.
    func close()
}

extension StoreLog {
    func checkpointIfDue(on line: any CommitLine) {
        if isCheckpointDue { line.waiting { checkpoint() } }
    }

    func commit(_ body: () throws(DatabaseError) -> Void) throws(DatabaseError) { try commit(on: nil, body) }

    func append(shard: Int64, kind: Int64, head: [UInt8]) throws(DatabaseError) -> Int64 {
        try append(shard: shard, kind: kind, head: head, body: nil)
    }
}
