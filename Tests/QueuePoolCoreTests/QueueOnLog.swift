// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

@testable import QueuePoolCore

// A FIFO queue on a log that is an array: commits, failed commits, crashes and clean stops, all in virtual time.

/// A row of the log.
enum LogRow {
    case block([DirectoryEntry])
    case deletions([SequenceNumber])
}

/// A queue with its log and its clock; a class, so that expectations can call what changes it.
final class QueueOnLog {
    static let start = Timestamp(milliseconds: 1_800_000_000_000)
    static let tag = ShardTag(rawValue: 0x0123_4567_89AB_CDEF)
    static let secret = SipHash128(key0: 1, key1: 2)

    var queue: FIFOQueue
    var now = QueueOnLog.start
    var rows: [Int64: LogRow] = [:]
    var bodies: [Int64: [UInt8]] = [:]
    var keys: [(key: Hash128, sequence: SequenceNumber)] = []
    var nextRow: Int64 = 1
    private var ids = 0
    private var openings: UInt32 = 0

    init(_ attributes: QueueAttributes = QueueAttributes(), cacheBytesMax: Int = 1 << 20) {
        queue = FIFOQueue(
            tag: QueueOnLog.tag, deduplicationHash: QueueOnLog.secret, attributes: attributes,
            cacheBytesMax: cacheBytesMax)
    }

    static func message(_ group: String, _ body: String, id: String) -> OutgoingMessage {
        let record = Array(body.utf8).withUnsafeBytes {
            MessageRecord(group: group.utf8, deduplicationID: id.utf8, body: $0)
        }
        return OutgoingMessage(record: record, groupHash: XXHash64.hash(group))
    }

    // MARK: - Sending

    @discardableResult
    func send(_ group: String, _ body: String, id: String? = nil) -> SendReceipt {
        ids += 1
        return commit([QueueOnLog.message(group, body, id: id ?? "unique-\(ids)")])[0]
    }

    /// Sends one message each: group, then body, as in "g1-m1".
    func sendAll(_ names: String...) {
        for name in names { send(String(name.prefix { $0 != "-" }), name) }
    }

    @discardableResult
    func commit(_ messages: [OutgoingMessage], isDurable: Bool = true) -> [SendReceipt] {
        queue.advance(to: now)
        var draft = BlockDraft()
        // Not `keys`, which is this log's.
        var judged = queue.keys(of: [messages], count: messages.count, now: now)
        let receipts = messages.map { queue.draft($0, into: &draft, keys: &judged, now: now) }
        guard isDurable, !draft.isEmpty else { return receipts }
        let row = takeRow()
        rows[row] = .block(draft.directory)
        bodies[row] = draft.body
        keys.append(contentsOf: zip(draft.keys, draft.directory.map(\.sequence)).map { ($0, $1) })
        queue.publish(draft, row: row, now: now)
        return receipts
    }

    private func takeRow() -> Int64 {
        defer { nextRow += 1 }
        return nextRow
    }

    // MARK: - Receiving

    func take(_ limit: Int = 10, seconds: Int64 = 30, attempt: String? = nil) -> [ReceivedEntry] {
        queue.advance(to: now)
        return queue.receive(
            limit: limit, visibilityMilliseconds: seconds * 1_000, attemptID: attempt, now: now
        ).received
    }

    /// The bodies of what a receive gives.
    func receive(_ limit: Int = 10, seconds: Int64 = 30, attempt: String? = nil) -> [String] {
        take(limit, seconds: seconds, attempt: attempt).map(body)
    }

    /// The body, read from the log and, if it is in the cache, also from there.
    func body(_ entry: ReceivedEntry) -> String {
        func read(_ row: [UInt8]) -> String {
            row[entry.offset..<(entry.offset + entry.length)].withUnsafeBytes {
                String(decoding: RecordView($0).body, as: UTF8.self)
            }
        }
        guard let stored = bodies[entry.row] else { return "no such row" }
        let text = read(stored)
        if let cached = entry.body, read(cached) != text { return "cache and log differ" }
        return text
    }

    // MARK: - Deleting

    @discardableResult
    func delete(_ handle: ReceiptHandle, isDurable: Bool = true) -> DeleteDecision {
        queue.advance(to: now)
        let decision = queue.beginDelete(handle)
        if case .write = decision { finish([handle], isDurable: isDurable) }
        return decision
    }

    func finish(_ handles: [ReceiptHandle], isDurable: Bool = true, isExpiry: Bool = false) {
        var row: Int64 = 0
        if isDurable {
            row = takeRow()
            rows[row] = .deletions(handles.map(\.sequence))
        }
        for handle in handles {
            queue.finishDelete(handle, isDurable: isDurable, isExpiry: isExpiry, deletionRow: row, now: now)
        }
        dropFinishedRows()
    }

    func dropFinishedRows() {
        for row in queue.takeFinishedBlocks().map(\.row) {
            rows[row] = nil
            bodies[row] = nil
        }
    }

    func change(_ handle: ReceiptHandle, seconds: Int64) -> VisibilityDecision {
        queue.advance(to: now)
        return queue.changeVisibility(handle, milliseconds: seconds * 1_000, now: now)
    }

    func wait(_ seconds: Int64) {
        now = now + seconds * 1_000
        queue.advance(to: now)
    }

    // MARK: - The log's upkeep

    /// Drops the deletion rows that nobody needs.
    func sweep() {
        dropFinishedRows()
        let needed = queue.oldestNeededDeletionRow() ?? .max
        for (row, content) in rows where row < needed {
            if case .deletions = content { rows[row] = nil }
        }
    }

    /// Rewrites blocks that keep deletions alive.
    func rewrite(limit: Int = 16) {
        for (row, live) in queue.blocksPinning(deletionsBefore: nextRow, limit: limit) {
            guard let old = bodies[row] else { continue }
            var body: [UInt8] = []
            let directory = live.map { entry in
                var moved = entry
                moved.offset = UInt32(body.count)
                body += old[Int(entry.offset)..<Int(entry.offset + entry.length)]
                return moved
            }
            rows[row] = .block(directory)
            bodies[row] = body
            queue.rewrote(row: row, directory: directory, body: body)
        }
    }

    /// Stops and opens again: from the log alone after a crash, with the deliveries after a clean stop.
    func restart(isClean: Bool) {
        let states = isClean ? queue.deliveryStates() : []
        let highest = queue.highestSequence
        openings += 1
        queue = FIFOQueue(
            tag: QueueOnLog.tag, deduplicationHash: QueueOnLog.secret, attributes: queue.attributes,
            cacheBytesMax: 1 << 16, incarnation: openings)
        for row in rows.keys.sorted() {
            switch rows[row] {
            case .block(let directory):
                let bytes = UInt32(bodies[row]?.count ?? 0)
                queue.append(row: row, directory: directory, byteCount: bytes, now: now)
            case .deletions(let deleted):
                for sequence in deleted { queue.restoreDeletion(of: sequence, row: row, now: now) }
            case nil: break
            }
        }
        let oldest = DeduplicationWindow.oldest(now)
        for (key, sequence) in keys where sequence >= oldest { queue.restore(key: key, sequence: sequence) }
        for state in states { queue.restore(state, now: now) }
        if isClean { queue.raise(lastSequence: highest) }
        dropFinishedRows()
    }
}
