// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation

// What a run of `send` remembers beside its file, so that a second run sends nothing twice. The file is a journal: a
// head, then one record for each answer, appended and fsynced. A torn last record is dropped: its lines are sent once
// more, with the deduplication ids they had, and the server knows these for five minutes. So a crash between answer
// and record makes no second message either.

/// Why a state cannot be used for a file.
enum SendStateMismatch: Error, Hashable {
    case unreadable
    case otherTarget(endpoint: String, pool: String)
    case otherKind
    case otherSize(recorded: Int, found: Int)
    case otherContent
}

/// The lines of a file that the server has acknowledged.
struct SendState: Hashable, Sendable {
    /// The first line of the journal.
    struct Head: Codable, Hashable, Sendable {
        /// Version of the journal's form; 1.
        var version = 1
        var endpoint: String
        var pool: String
        /// Part of every deduplication id made by the run, so that two files, or one sent twice on purpose, never share
        /// ids.
        var runID: String
        var fileBytes: Int
        /// Whether the lines are emails; `nil` if they are messages.
        var emails: Bool?
    }

    /// A place in the file up to which its content is known.
    struct Mark: Codable, Hashable, Sendable {
        var bytes: Int
        /// SHA-256 of that many bytes, in hexadecimal.
        var sha256: String
    }

    /// One answer.
    struct Record: Codable, Hashable, Sendable {
        /// First and last number of runs of acknowledged lines, from 1.
        var acknowledged: [[Int]]
        var mark: Mark
    }

    let head: Head
    private(set) var acknowledged = RangeSet<Int>()
    private(set) var mark: Mark?

    init(head: Head) { self.head = head }

    /// A journal read back.
    /// - Throws: `SendStateMismatch.unreadable` when its head is not whole.
    init(journal: Data) throws(SendStateMismatch) {
        let lines = journal.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        guard lines.count > 1, let head = try? JSONDecoder().decode(Head.self, from: Data(lines[0])), head.version == 1
        else { throw .unreadable }
        self.head = head
        // The piece after the last line feed is empty or torn.
        for line in lines.dropFirst().dropLast() {
            guard let record = try? JSONDecoder().decode(Record.self, from: Data(line)) else { break }
            apply(record)
        }
    }

    func isAcknowledged(_ line: Int) -> Bool { acknowledged.contains(line) }

    var acknowledgedCount: Int { acknowledged.ranges.reduce(0) { $0 + $1.count } }

    /// Notes acknowledged lines, and gives the bytes to append to the journal before anything else is sent.
    mutating func acknowledge(_ lines: [Int], mark: Mark) throws -> Data {
        var fresh = RangeSet<Int>()
        for line in lines { fresh.insert(contentsOf: line..<(line + 1)) }
        let record = Record(acknowledged: fresh.ranges.map { [$0.lowerBound, $0.upperBound - 1] }, mark: mark)
        apply(record)
        return try SendState.journalLine(record)
    }

    private mutating func apply(_ record: Record) {
        for run in record.acknowledged where run.count == 2 && run[0] >= 1 && run[0] <= run[1] && run[1] < Int.max {
            acknowledged.insert(contentsOf: run[0]..<(run[1] + 1))
        }
        if record.mark.bytes >= mark?.bytes ?? 0 { mark = record.mark }
    }

    /// Whether the state belongs to this file and target.
    /// - Parameter digest: SHA-256 of the file's first so many bytes, in hexadecimal.
    func check(
        endpoint: String, pool: String, fileBytes: Int, emails: Bool? = nil, digest: (_ bytes: Int) throws -> String
    ) throws {
        guard head.endpoint == endpoint, head.pool == pool else {
            throw SendStateMismatch.otherTarget(endpoint: head.endpoint, pool: head.pool)
        }
        guard head.emails == emails else { throw SendStateMismatch.otherKind }
        guard head.fileBytes == fileBytes else {
            throw SendStateMismatch.otherSize(recorded: head.fileBytes, found: fileBytes)
        }
        if let mark, try digest(mark.bytes) != mark.sha256 { throw SendStateMismatch.otherContent }
    }

    /// A value as one line of the journal.
    static func journalLine(_ value: some Encodable) throws -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return try encoder.encode(value) + Data("\n".utf8)
    }
}
