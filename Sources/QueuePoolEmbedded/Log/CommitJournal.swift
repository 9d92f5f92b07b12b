// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolSQLite
import DequeModule
import QueuePoolCore

/// Files beside a store's SQLite file that take commits one after the other. They are kept and overwritten, which flushes
/// faster than to let them grow; the one that was given back first is used again first.
///
/// Which records count: those of generations after the one that SQLite knows as settled, from a file's start as long as
/// the next is whole and the next in number. A file that was given back because nothing in it is of use may be read again
/// after a crash. That does no harm: what removed its rows is in later ones, which are used again later.
struct CommitJournal: ~Copyable {
    static let suffix = "-commits"
    static let filesMax = 16

    static func path(of store: String, _ file: Int) -> String { store + suffix + String(file) }

    /// A file grows by zeros ahead of its records: a flush of bytes within a file has no length to write down.
    static let growthBytesMax = 1 << 20
    private static let growthBytesMin = 64 << 10
    private let zeros: [UInt8]

    private let store: String
    private let vfs: String?
    private let filesMax: Int
    private var files: [VFSFile] = []
    /// How long each is.
    private var lengths: [Int] = []
    /// Files that hold nothing that counts, in the order in which they were given back.
    private var free: Deque<Int> = []
    /// The file that is written.
    private(set) var current = 0
    private(set) var generation: UInt64
    private var number: UInt64 = 0
    /// Where the next record goes.
    private(set) var offset = 0

    /// Opens the files that are there; the first is made.
    /// - Parameters:
    ///   - settled: the highest generation of which everything is in SQLite.
    ///   - growthBytes: how much a file grows at a time.
    ///   - filesMax: 2 or more; those that are there may be more.
    init(
        store: String, vfs: String?, settled: UInt64, growthBytes: Int = CommitJournal.growthBytesMax,
        filesMax: Int = CommitJournal.filesMax
    ) throws(DatabaseError) {
        zeros = [UInt8](repeating: 0, count: growthBytes)
        self.store = store
        self.vfs = vfs
        self.filesMax = filesMax
        generation = CommitJournal.generation(after: settled)
        try open()
        while files.count < CommitJournal.filesMax, SystemFile.byteCount(of: path(files.count)) != nil { try open() }
        free = Deque(1..<files.count)
    }

    private func path(_ file: Int) -> String { CommitJournal.path(of: store, file) }

    private mutating func open() throws(DatabaseError) {
        let file = try VFSFile(path: path(files.count), vfs: vfs)
        lengths.append(try file.byteCount())
        files.append(file)
    }

    var paths: [String] {
        let store = store
        return files.indices.map { CommitJournal.path(of: store, $0) }
    }

    /// The next generation: one more in the upper half, and a random lower half, so that bytes which a sender chose and an
    /// earlier record left behind are never taken for a record.
    private static func generation(after last: UInt64) -> UInt64 {
        (last >> 32 + 1) << 32 | UInt64(UInt32.random(in: .min ... .max))
    }

    /// Writes a record; it counts once it was flushed.
    mutating func write(_ record: inout JournalRecord) throws(DatabaseError) {
        let bytes = record.finished(generation: generation, number: number)
        try files[current].write(bytes, at: offset)
        offset += bytes.count
        number += 1
        grow()
    }

    private mutating func grow() {
        guard offset > lengths[current] else { return }
        lengths[current] = offset
        // As much as there is, so that a quiet store's journal stays small.
        let count = min(zeros.count, max(CommitJournal.growthBytesMin, offset))
        // Without room for them the next record finds room for itself, or fails.
        let hasGrown = zeros.withUnsafeBytes { zeros in
            do throws(DatabaseError) {
                try files[current].write(UnsafeRawBufferPointer(rebasing: zeros.prefix(count)), at: offset)
                return true
            } catch { return false }
        }
        if hasGrown { lengths[current] += count }
    }

    func flush() throws(DatabaseError) { try files[current].flush() }

    /// Reads what a commit wrote.
    func head(at place: JournalPlace, of file: Int) throws(DatabaseError) -> [UInt8] { try files[file].head(at: place) }
    func body(at place: JournalPlace, of file: Int) throws(DatabaseError) -> [UInt8]? {
        try files[file].body(at: place)
    }

    /// How many may be begun.
    /// - Parameter mayOpen: whether one may be made.
    func freeCount(opening mayOpen: Bool) -> Int { free.count + (mayOpen ? max(0, filesMax - files.count) : 0) }

    /// Goes on at another file's start, in a generation of its own.
    /// - Parameter mayOpen: whether one may be made.
    /// - Returns: whether there is one.
    mutating func turn(opening mayOpen: Bool) throws(DatabaseError) -> Bool {
        if free.isEmpty {
            guard mayOpen, files.count < filesMax else { return false }
            try open()
            free.append(files.count - 1)
        }
        guard let next = free.popFirst() else { return false }
        current = next
        generation = CommitJournal.generation(after: generation)
        restart()
        return true
    }

    /// Gives a file back: nothing in it is of use.
    mutating func release(_ file: Int) { free.append(file) }

    /// Goes on at the current file's start; nothing that counts may be in any. All others are free.
    mutating func restart(after settled: UInt64) {
        generation = CommitJournal.generation(after: max(generation, settled))
        let written = current
        free = Deque(files.indices.filter { $0 != written })
        restart()
    }

    private mutating func restart() {
        number = 0
        offset = 0
    }

    /// Gives the room of all files back; nothing that counts may be in them.
    mutating func truncate(settled: UInt64) throws(DatabaseError) {
        for index in files.indices {
            try files[index].truncate()
            lengths[index] = 0
        }
        restart(after: settled)
    }

    func close() { for file in files { file.close() } }

    /// Closes the files and removes them; nothing that counts may be in them.
    func remove() {
        close()
        for path in paths { VFSFile.remove(path: path, vfs: vfs) }
    }

    // MARK: - Recovery

    /// What one file did that SQLite does not have yet.
    struct Segment {
        let file: Int
        let generation: UInt64
        var batch = LogBatch()
    }

    /// The files with records that count, oldest first.
    func found(after settled: UInt64) throws(DatabaseError) -> [Segment] {
        var found: [Segment] = []
        for index in files.indices {
            guard let header = JournalRecord.header(try files[index].read(at: 0, count: JournalRecord.headerBytes)),
                header.generation > settled, header.number == 0
            else { continue }
            found.append(Segment(file: index, generation: header.generation))
        }
        return found.sorted { $0.generation < $1.generation }
    }

    /// Visits what a file did, in order.
    func replay(_ segment: Segment, _ visit: (JournalStep) -> Void) throws(DatabaseError) {
        let file = files[segment.file]
        let end = try file.byteCount()
        var (offset, number) = (0, UInt64(0))
        while offset < end {
            guard let header = JournalRecord.header(try file.read(at: offset, count: JournalRecord.headerBytes)),
                header.generation == segment.generation, header.number == number,
                header.byteCount <= end - offset - JournalRecord.headerBytes
            else { return }
            let count = JournalRecord.headerBytes + header.byteCount
            guard let steps = JournalRecord.steps(try file.read(at: offset, count: count)) else { return }
            for step in steps { visit(step.placed(at: offset)) }
            offset += JournalRecord.paged(count)
            number += 1
        }
    }
}

extension VFSFile {
    /// The head of a row in a journal.
    func head(at place: JournalPlace) throws(DatabaseError) -> [UInt8] {
        try whole(try read(at: place.offset, count: Int(place.headCount)), Int(place.headCount))
    }

    /// The body of a row in a journal; `nil` if it has none.
    func body(at place: JournalPlace) throws(DatabaseError) -> [UInt8]? {
        guard let count = place.bodyCount else { return nil }
        return try whole(try read(at: place.bodyOffset, count: Int(count)), Int(count))
    }

    private func whole(_ bytes: [UInt8], _ count: Int) throws(DatabaseError) -> [UInt8] {
        guard bytes.count == count else { throw DatabaseError(code: SQLITE_CORRUPT, operation: "read a journal") }
        return bytes
    }
}
