// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization

// A store is one SQLite file with the logs of a few shards, and the shards that stand in line to write to it. A turn:
// every shard in line judges what gathered for it; all of it is written in one transaction; one flush; every shard
// publishes and answers. So one flush serves the senders of several shards. If the transaction fails, it failed for all
// of them and everybody is told; nothing was stored.
//
// Lock order: the store's lock (`exclusively`) before a shard's `inbox` and `index` and the store's `line`, which are
// leaves. Answers are given under the store's lock: they may post to any shard, and must not open, remove or wait for one.

/// - Important: everything but `line` is touched under `lock` only. That is what makes it Sendable.
final class Store: @unchecked Sendable {
    private struct Line {
        var ready: [ShardWriter] = []
        /// The store stands in the commit pool's line, or is having its turn.
        var isScheduled = false
        /// In the order of their opening, so that two runs of the same events take the same turns.
        var members: [ShardWriter] = []
    }

    let path: String
    let pool: any CommitLine
    private let openLog: LogOpening
    let reserve: ReserveFile?
    let watch: StorageWatch?
    let limits: SliceLimits
    var health = StoreHealth()
    /// The log's next row when its file was last looked at, and how many looks found the same.
    var rowAtLook: Int64 = 0
    var quietLooks = 0
    /// No finished blocks went with a commit since the last look.
    var isQuiet = true
    private var hadSlices = false
    private let isLookDue = Atomic(false)
    /// Shards are leaving whose removal nobody waits for.
    private let hasLeftovers = Atomic(false)
    private let lock = Mutex(())
    private let line = Mutex(Line())
    private var opened: (any StoreLog)?
    private var users = 0
    /// Indexes that the scan at open rebuilt, until their shards are opened.
    private var recoveries: [Int64: LogRecovery] = [:]
    /// Set when the file's state is unknown; every later write is refused.
    var brokenBy: ShardError? { opened?.brokenBy.map { .storageFailed(code: $0.code) } }

    /// - Parameters:
    ///   - vfs: see `Database`.
    ///   - openLog: how the log is opened; as a `JournaledLog` if `nil`.
    init(
        path: String, pool: any CommitLine, vfs: String? = nil, openLog: LogOpening? = nil,
        reserve: ReserveFile? = nil, watch: StorageWatch? = nil, limits: SliceLimits = SliceLimits()
    ) {
        self.limits = limits
        self.path = path
        self.pool = pool
        if let openLog {
            self.openLog = openLog
        } else {
            self.openLog = { (path) throws(DatabaseError) in try JournaledLog(path: path, vfs: vfs) }
        }
        self.reserve = reserve
        self.watch = watch
    }

    /// The open file.
    var file: any StoreLog {
        guard let opened else { preconditionFailure("a store is used by open shards only, and open while one is") }
        return opened
    }

    private func exclusively<R: Sendable, E>(_ body: () throws(E) -> R) throws(E) -> R {
        try lock.withLock { (_) throws(E) -> R in try body() }
    }

    /// The same on a thread of the pool's: while somebody else has the file, another thread may use the processor.
    private func exclusivelyInPool(_ body: () -> Void) {
        let isDone: Void? = lock.withLockIfAvailable { _ in body() }
        if isDone != nil { return }
        pool.beginWaiting()
        lock.withLock { _ in
            pool.endWaiting()
            body()
        }
    }

    // MARK: - Shards

    /// What the file says of itself. Makes the file if there is none.
    func facts() throws(DatabaseError) -> StoreFacts {
        try exclusively { () throws(DatabaseError) in
            try acquire(nil)
            defer { release() }
            return StoreFacts(label: try file.label(), shards: Set(file.identities.keys))
        }
    }

    func write(_ label: StoreLabel) throws(DatabaseError) {
        try exclusively { () throws(DatabaseError) in
            try acquire(nil)
            defer { release() }
            try file.write(label)
        }
    }

    /// Opens a shard, or makes it.
    func open(
        name: String, attributes: QueueAttributes, options: EmbeddedShardOptions
    ) throws(ShardOpenError) -> EmbeddedShard {
        do throws(DatabaseError) {
            try exclusively { () throws(DatabaseError) in try acquire(options) }
        } catch { throw .store(file: path, error) }
        do throws(ShardOpenError) {
            let found: (identity: LogIdentity, recovery: LogRecovery)
            do throws(DatabaseError) { found = try recovery(of: name, options) } catch {
                throw .store(file: path, error)
            }
            return try exclusively { () throws(ShardOpenError) in
                try shard(name, attributes, options, found.identity, found.recovery)
            }
        } catch {
            exclusively { release() }
            throw error
        }
    }

    /// Removes a closed shard and everything in it; what a crash leaves of it is removed after the next opening.
    func remove(name: String) throws(DatabaseError) {
        try exclusively { () throws(DatabaseError) in try acquire(nil) }
        defer { exclusively { release() } }
        var hasMore = true
        try exclusively { () throws(DatabaseError) in
            if let number = file.identities[name]?.number { recoveries[number] = nil }
            try makingRoom { () throws(DatabaseError) in try file.beginRemoval(of: name) }
        }
        // Others use the file in between.
        while hasMore { hasMore = try exclusively { () throws(DatabaseError) in try removeSlice() } }
    }

    private func removeSlice() throws(DatabaseError) -> Bool {
        var hasMore = false
        try makingRoom { () throws(DatabaseError) in hasMore = try file.removeSlice() }
        if file.isCheckpointDue { file.checkpoint() }
        return hasMore
    }

    /// A slice of what was left of shards whose removal did not come to its end.
    private func finishRemovals() {
        guard hasLeftovers.load(ordering: .relaxed) else { return }
        // What fails is tried again at the next opening.
        let hasMore = try? removeSlice()
        hasLeftovers.store(hasMore ?? false, ordering: .relaxed)
    }

    /// The shards in the file, with how many rows the log has of each; not counted if all of them are among `names`.
    func rows(unlessAllAreIn names: Set<String>) throws(DatabaseError) -> [String: Int] {
        try exclusively { () throws(DatabaseError) in
            try acquire(nil)
            defer { release() }
            guard !names.isSuperset(of: file.identities.keys) else { return file.identities.mapValues { _ in 0 } }
            return try file.rows()
        }
    }

    private func acquire(_ options: EmbeddedShardOptions?) throws(DatabaseError) {
        if opened == nil {
            let file = try openFile()
            opened = file
            hasLeftovers.store(!file.leaving.isEmpty && options != nil, ordering: .relaxed)
            if let options {
                look()
                do throws(DatabaseError) { try scan(file, options) } catch {
                    close()
                    throw error
                }
            }
        }
        users += 1
    }

    private func openFile() throws(DatabaseError) -> any StoreLog {
        do throws(DatabaseError) { return try openLog(path) } catch {
            guard LogFile.isForRoom(error), let reserve else { throw error }
            reserve.release()
            return try openLog(path)
        }
    }

    private func release() {
        users -= 1
        if users == 0 { close() }
    }

    private func close() {
        opened?.checkpoint()
        opened?.close()
        opened = nil
        hasLeftovers.store(false, ordering: .relaxed)
        recoveries = [:]
        health = StoreHealth()
        watch?.forget(path)
    }

    private func scan(_ file: any StoreLog, _ options: EmbeddedShardOptions) throws(DatabaseError) {
        // In one order, because each draws from `random`.
        for identity in file.identities.values.sorted(by: { $0.number < $1.number }) {
            recoveries[identity.number] = LogRecovery(identity, options)
        }
        try file.scan { shard, row, kind, head, bodyBytes in recoveries[shard]?.take(row, kind, head, bodyBytes) }
    }

    private func shard(
        _ name: String, _ attributes: QueueAttributes, _ options: EmbeddedShardOptions, _ identity: LogIdentity,
        _ recovery: LogRecovery
    ) throws(ShardOpenError) -> EmbeddedShard {
        var recovery = recovery
        if let row = recovery.damagedRow { throw .damagedRow(row) }
        let clock = recovery.finish(attributes, wall: options.clock)
        do throws(DatabaseError) {
            let rows = recovery.deliveryRows
            // So that a later crash does not bring them back.
            if !rows.isEmpty {
                try file.commit { () throws(DatabaseError) in for row in rows { try file.delete(row: row) } }
            }
        } catch { throw .store(file: path, error) }
        let shard = EmbeddedShard(name: name, index: recovery.index, clock: clock)
        let writer = ShardWriter(
            shard: shard, store: self, identity: identity, books: recovery.books,
            memory: MemoryShare(all: options.memory, cacheBytesMax: options.cacheBytesMax))
        shard.setWriter({ writer.poke() }, wait: { [pool] isDone in pool.wait(until: isDone) })
        line.withLock { line in
            line.members.append(writer)
            pool.add(self)
        }
        return shard
    }

    /// Who the shard is, and what the log has of it. Others use the file between two slices of it; nobody writes rows of a
    /// shard that is not open.
    private func recovery(
        of name: String, _ options: EmbeddedShardOptions
    ) throws(DatabaseError) -> (LogIdentity, LogRecovery) {
        let (identity, found, isNew) = try exclusively { () throws(DatabaseError) in
            let isNew = file.identities[name] == nil
            let identity = try file.identity(of: name, random: options.random)
            return (identity, recoveries.removeValue(forKey: identity.number), isNew)
        }
        if let found { return (identity, found) }
        var recovery = LogRecovery(identity, options)
        var last: Int64? = isNew ? nil : 0
        while let after = last {
            last = try exclusively { () throws(DatabaseError) in
                try file.scanSlice(of: identity.number, after: after) { _, row, kind, head, bodyBytes in
                    recovery.take(row, kind, head, bodyBytes)
                }
            }
        }
        return (identity, recovery)
    }

    // MARK: - Turns

    /// Puts a shard in line. The caller sees to it that it stands there once.
    func schedule(_ writer: ShardWriter) {
        let mustSchedule = line.withLock { line in
            line.ready.append(writer)
            defer { line.isScheduled = true }
            return !line.isScheduled
        }
        if mustSchedule { pool.schedule(self) }
    }

    /// The shards that are open.
    var members: [ShardWriter] { line.withLock { $0.members } }

    func noteSlices() { hadSlices = true }

    /// Gives every shard a turn, for what is due by time.
    func pokeAll() {
        isLookDue.store(true, ordering: .relaxed)
        for writer in line.withLock({ $0.members }) { writer.poke() }
    }

    /// One turn of every shard in line.
    func turn() {
        let writers = line.withLock { line in
            let taken = line.ready
            line.ready = []
            return taken
        }
        exclusivelyInPool {
            guard opened != nil else { return }
            if isLookDue.exchange(false, ordering: .relaxed) {
                look()
                isQuiet = !hadSlices
                hadSlices = false
            }
            commit(writers.compactMap { writer in writer.begin().map { (writer, $0) } })
            for writer in writers {
                writer.maintain()
                writer.resumeReceives()
                writer.purgeSlice()
            }
            finishRemovals()
            file.checkpointIfDue(on: pool)
        }
        var again: [ShardWriter] = []
        for writer in writers {
            switch writer.endTurn() {
            case .rest: break
            case .anotherTurn: again.append(writer)
            case .end: end(writer)
            }
        }
        let isBusy = line.withLock { line in
            line.ready.append(contentsOf: again)
            line.isScheduled = !line.ready.isEmpty || hasLeftovers.load(ordering: .relaxed)
            return line.isScheduled
        }
        if isBusy { pool.schedule(self) }
    }

    private func end(_ writer: ShardWriter) {
        writer.giveMemoryBack()
        line.withLock { line in
            line.members.removeAll { $0 === writer }
            if line.members.isEmpty { pool.remove(self) }
        }
        exclusivelyInPool {
            writer.endReceives()
            writer.writeDeliveries()
            release()
        }
        writer.shard.stopped.signal()
    }

    // MARK: - Commits

    /// Writes turns in one transaction, flushes once, settles each.
    func commit(_ turns: [(writer: ShardWriter, turn: ShardTurn)]) {
        var turns = turns
        if Mutation.answerBeforeWrite.isOn { for (_, turn) in turns { turn.answer(nil) } }
        var isFirstTry = true
        let failure = makingRoom {
            if !isFirstTry { for place in turns.indices { turns[place].turn.refuseSends() } }
            isFirstTry = false
            return write(&turns)
        }
        let told = Mutation.failedCommitIsSuccess.isOn ? nil : failure
        for (writer, turn) in turns { writer.settle(turn, turn.needsWrite ? told : nil) }
    }

    private func write(_ turns: inout [(writer: ShardWriter, turn: ShardTurn)]) -> ShardError? {
        guard turns.contains(where: { $0.turn.needsWrite }) else { return nil }
        var slices: [(ShardWriter, LogSlice)] = []
        let failure = transact { (_) throws(DatabaseError) in
            for place in turns.indices where turns[place].turn.needsWrite {
                try turns[place].writer.write(&turns[place].turn)
            }
            slices = try deleteSlices(with: turns.map(\.writer))
        }
        if failure == nil { note(slices) }
        return failure
    }

    /// The same for what makes room: where it finds none, `body` runs again with what was reserved.
    func transactMakingRoom(_ body: (any StoreLog) throws(DatabaseError) -> Void) -> ShardError? {
        makingRoom { transact(body) }
    }

    /// Runs `body` in a transaction that is on stable storage when this returns `nil`, or did not happen.
    func transact(_ body: (any StoreLog) throws(DatabaseError) -> Void) -> ShardError? {
        let file = file
        do throws(DatabaseError) {
            try file.commit(on: pool) { () throws(DatabaseError) in try body(file) }
            return nil
        } catch { return LogFile.isForRoom(error) ? .storageFull : .storageFailed(code: error.code) }
    }
}
