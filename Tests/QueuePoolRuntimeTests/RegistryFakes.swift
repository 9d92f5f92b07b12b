// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import Synchronization

/// A control store in memory, which other servers write to between two calls.
final class FakeControlStore: ControlStore {
    private struct State {
        var pools: [String: PoolDefinition] = [:]
        /// Names of pools that are stored and do not parse.
        var unreadable: Set<String> = []
        var directories: [String: String] = [:]
        var revision = 0
        var saves = 0
        /// Run before a save, once each.
        var before: [@Sendable (FakeControlStore) -> Void] = []
        var savesFail = false
        var removalsFail = false
    }

    private let state = Mutex(State())

    var saves: Int { state.withLock { $0.saves } }
    func beforeNextSave(_ body: @escaping @Sendable (FakeControlStore) -> Void) {
        state.withLock { $0.before.append(body) }
    }
    func letSavesFail(_ fail: Bool = true) { state.withLock { $0.savesFail = fail } }
    func letRemovalsFail(_ fail: Bool = true) { state.withLock { $0.removalsFail = fail } }

    /// What another server does to a pool.
    func change(_ name: String, _ change: (inout PoolDefinition) -> Void) {
        state.withLock { state in
            guard var pool = state.pools[name] else { return }
            change(&pool)
            pool.version += 1
            state.pools[name] = pool
            state.revision += 1
        }
    }

    func put(_ pool: PoolDefinition) {
        state.withLock { state in
            state.pools[pool.name.text] = pool
            state.revision += 1
        }
    }

    /// What is stored under a name does not parse any more, or does again.
    func spoil(_ name: String, _ isSpoilt: Bool = true) {
        state.withLock { state in
            if isSpoilt { state.unreadable.insert(name) } else { state.unreadable.remove(name) }
            state.revision += 1
        }
    }

    func drop(_ name: String) {
        state.withLock { state in
            state.pools[name] = nil
            state.revision += 1
        }
    }

    func stored(_ name: String) -> PoolDefinition? { state.withLock { $0.pools[name] } }

    func revision() throws(ControlStoreError) -> Int { state.withLock { $0.revision } }
    func contents() throws(ControlStoreError) -> StoredPools {
        state.withLock { state in
            let pools = state.pools.values.filter { !state.unreadable.contains($0.name.text) }
            return StoredPools(
                pools: pools.sorted { $0.name.text < $1.name.text }, unreadable: state.unreadable.sorted())
        }
    }
    func pool(_ name: PoolName) throws(ControlStoreError) -> PoolDefinition? {
        if state.withLock({ $0.unreadable.contains(name.text) }) { throw .damaged(pool: name.text) }
        return stored(name.text)
    }

    func save(_ pool: PoolDefinition) throws(ControlStoreError) -> Int {
        let before = state.withLock { state in
            state.saves += 1
            return state.before.isEmpty ? nil : state.before.removeFirst()
        }
        before?(self)
        let result: Result<Int, ControlStoreError> = state.withLock { state in
            if state.savesFail { return .failure(.failed(code: 13)) }
            guard state.pools[pool.name.text]?.version ?? 0 == pool.version else {
                return .failure(.conflict(pool: pool.name.text))
            }
            var next = pool
            next.version += 1
            state.pools[pool.name.text] = next
            state.revision += 1
            return .success(next.version)
        }
        return try result.get()
    }

    func remove(_ pool: PoolDefinition) throws(ControlStoreError) {
        let failure: ControlStoreError? = state.withLock { state in
            if state.removalsFail { return .failed(code: 13) }
            guard let stored = state.pools[pool.name.text] else { return nil }
            guard (stored.version, stored.createdAt) == (pool.version, pool.createdAt) else {
                return .conflict(pool: pool.name.text)
            }
            state.pools[pool.name.text] = nil
            state.revision += 1
            return nil
        }
        if let failure { throw failure }
    }

    func directory(_ id: String) throws(ControlStoreError) -> String? { state.withLock { $0.directories[id] } }
    func record(directory id: String, path: String) throws(ControlStoreError) {
        state.withLock { $0.directories[id] = path }
    }
}

/// Shards in memory, and what was done to them.
final class FakeShardFactory: ShardFactory {
    struct Broken: Error {}

    private struct State {
        var open: [String: FakeShard] = [:]
        var files: Set<String> = []
        var removed: [String] = []
        var broken: Set<String> = []
        var nextTag: UInt64 = 1
        var onCounts: (@Sendable () -> Void)?
        var onOpen: (@Sendable (FakeShard) -> Void)?
    }

    private let state = Mutex(State())

    var files: Set<String> { state.withLock { $0.files } }
    var removed: [String] { state.withLock { $0.removed } }
    func shard(_ name: String) -> FakeShard? { state.withLock { $0.open[name] } }
    /// Files that are there as the server starts.
    func has(_ names: String...) { state.withLock { $0.files.formUnion(names) } }
    func letFail(_ name: String) { state.withLock { _ = $0.broken.insert(name) } }
    func repair() { state.withLock { $0.broken = [] } }
    func onCounts(_ body: (@Sendable () -> Void)?) { state.withLock { $0.onCounts = body } }
    /// - Parameter body: called with each shard as it is opened.
    func onOpen(_ body: (@Sendable (FakeShard) -> Void)?) { state.withLock { $0.onOpen = body } }
    /// Forgets the shards, as a test about memory must.
    func forget() { state.withLock { $0.open = [:] } }

    func open(name: String, attributes: QueueAttributes, address: ShardAddress?) throws -> any Shard {
        try state.withLock { state in
            if state.broken.contains(name) { throw Broken() }
            state.files.insert(name)
            let shard = FakeShard(name: name, tag: ShardTag(rawValue: state.nextTag), onCounts: state.onCounts)
            state.nextTag += 1
            state.open[name] = shard
            state.onOpen?(shard)
            return shard
        }
    }

    func remove(name: String, address: ShardAddress?) throws {
        try state.withLock { state in
            if state.broken.contains(name) { throw Broken() }
            state.removed.append(name)
            state.files.remove(name)
        }
    }

    func removeShards(except names: Set<String>) throws -> [String] {
        state.withLock { state in
            let strangers = state.files.subtracting(names).sorted()
            state.removed += strangers
            state.files.subtract(strangers)
            return strangers
        }
    }
}

/// A shard in memory that stores what it is sent when it is told to answer, and gives each message once.
final class FakeShard: Shard {
    private struct State {
        var isClosed = false
        var stored: [[UInt8]] = []
        var given: Int64 = 0
        var deleted: [ReceiptHandle] = []
        var ready: (@Sendable () -> Void)?
        var report: (@Sendable (ShardEvent) -> Void)?
        var sink: DeadLetterSink?
        var held: [@Sendable () -> Void] = []
        var whenClosed: [CheckedContinuation<Void, Never>] = []
    }

    let name: String
    let tag: ShardTag
    let traits = ShardTraits()
    private let onCounts: (@Sendable () -> Void)?
    private let state = Mutex(State())

    init(name: String, tag: ShardTag, onCounts: (@Sendable () -> Void)?) {
        self.name = name
        self.tag = tag
        self.onCounts = onCounts
    }

    var isClosed: Bool { state.withLock { $0.isClosed } }
    var deleted: [ReceiptHandle] { state.withLock { $0.deleted } }

    func closed() async {
        await withCheckedContinuation { continuation in
            let isClosed = state.withLock { state in
                if !state.isClosed { state.whenClosed.append(continuation) }
                return state.isClosed
            }
            if isClosed { continuation.resume() }
        }
    }

    /// Stores a message, as another server's send does.
    func put(_ bytes: [UInt8]) {
        let ready = state.withLock { state in
            state.stored.append(bytes)
            return state.ready
        }
        ready?()
    }

    /// Answers what was sent so far.
    func answer() {
        let held = state.withLock { state in
            defer { state.held = [] }
            return state.held
        }
        for answer in held { answer() }
    }

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        let sequence = SequenceNumber(rawValue: 1)
        let receipt = SendReceipt(
            messageID: MessageID(shard: tag, sequence: sequence), sequence: sequence, isDuplicate: false)
        let messages = batch.pull()
        let outcomes = messages.map { _ in EntryOutcome.stored(receipt) }
        state.withLock { state in
            state.held.append { [self] in
                let ready = self.state.withLock { state in
                    state.stored += messages.map(\.record.bytes)
                    return state.ready
                }
                completion(.entries(outcomes))
                ready?()
            }
        }
    }
    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        let (taken, first) = state.withLock { state in
            let taken = Array(state.stored.prefix(command.limit))
            state.stored.removeFirst(taken.count)
            state.given += Int64(taken.count)
            return (taken, state.given - Int64(taken.count) + 1)
        }
        let messages = zip(first..., taken).map { number, bytes in
            let sequence = SequenceNumber(rawValue: number)
            return ReceivedMessage(
                handle: ReceiptHandle(shard: tag, sequence: sequence, receiveCount: 1, place: 0),
                messageID: MessageID(shard: tag, sequence: sequence), receiveCount: 1,
                firstReceivedAt: Timestamp(milliseconds: 0), storage: bytes, offset: 0, length: bytes.count)
        }
        return .success(messages)
    }
    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        state.withLock { $0.deleted += handles }
        completion(handles.map { _ in .deleted })
    }
    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? { changes.map { _ in .notOurs } }
    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) { completion(.success(0)) }
    func setAttributes(_ attributes: QueueAttributes) {}
    func counts() -> ShardCounts {
        onCounts?()
        return ShardCounts()
    }
    func nextVisibleAt() -> Timestamp? { nil }
    func onReady(_ notify: @escaping @Sendable () -> Void) { state.withLock { $0.ready = notify } }
    func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) { state.withLock { $0.report = report } }
    func setDeadLetterSink(_ sink: DeadLetterSink?) { state.withLock { $0.sink = sink } }
    func close() {
        let waiting = state.withLock { state in
            defer { state.whenClosed = [] }
            state.isClosed = true
            return state.whenClosed
        }
        for continuation in waiting { continuation.resume() }
    }
}
