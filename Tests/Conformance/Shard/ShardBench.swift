// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// An implementation of the port that the suite is run against.
enum ShardSubject: CaseIterable, Sendable, CustomTestStringConvertible {
    case embedded
    case sealed
    case injectingNoFault
    case queue
    case queueInjectingNoFault

    var testDescription: String {
        switch self {
        case .embedded: "an embedded shard"
        case .sealed: "an embedded shard whose log is sealed"
        case .injectingNoFault: "an embedded shard behind the injection of faults, with none to inject"
        case .queueInjectingNoFault: "a remote queue behind the injection of faults, with none to inject"
        case .queue:
            "a remote queue over a local endpoint (answers for each entry, waits remotely, tells no duplicates, calls "
                + "foreign handles expired, does not know what becomes visible when, counts approximately)"
        }
    }

    var traits: SubjectTraits {
        var traits = SubjectTraits()
        if self == .queue || self == .queueInjectingNoFault {
            traits.shard = ShardTraits(storesWholeBatches: false, pollsRemotely: true)
            traits.tellsDuplicates = false
            traits.tellsForeignHandles = false
            traits.knowsNextVisible = false
            traits.numbersItself = false
            traits.countsEverything = false
        }
        return traits
    }

    func stage() async throws -> any ShardStage {
        switch self {
        case .embedded: try EmbeddedStage()
        case .sealed: try EmbeddedStage(isSealed: true)
        case .injectingNoFault:
            try EmbeddedStage { FaultyShardFactory($0, faults: InjectedFaults(), clock: $1) }
        case .queue: try await EndpointStage()
        case .queueInjectingNoFault:
            try await EndpointStage { FaultyShardFactory($0, faults: InjectedFaults(), clock: $1) }
        }
    }
}

/// One rule's working place: a shard, the time, and what was found.
final class ShardBench: RuleBench {
    private struct State {
        var shard: any Shard
        var opened: [any Shard] = []
        var messages = 0
    }

    let traits: SubjectTraits
    let stage: any ShardStage
    let findings = Findings()
    let book = CallBook()
    /// How long a rule waits for what a broken shard may never do; nothing waits for it that a sound one does.
    private let patience: Duration
    private let wrap: @Sendable (any Shard) -> any Shard
    private let state: Mutex<State>

    private static let name = "subject.fifo"

    /// Attributes of the shard under test unless a rule asks for others.
    static var attributes: QueueAttributes {
        var attributes = QueueAttributes()
        attributes.visibilityTimeoutSeconds = 30
        attributes.deduplicationScope = .messageGroup
        return attributes
    }

    private init(
        _ stage: any ShardStage, _ traits: SubjectTraits, _ shard: any Shard, patience: Duration,
        wrap: @escaping @Sendable (any Shard) -> any Shard
    ) {
        self.stage = stage
        self.traits = traits
        self.patience = patience
        self.wrap = wrap
        state = Mutex(State(shard: shard, opened: [shard]))
    }

    /// Runs a rule against an implementation.
    /// - Parameter wrap: what a broken implementation puts around a sound one.
    /// - Returns: what the rule found, and which calls were not completed exactly once.
    static func run(
        _ rule: ShardRule, on subject: ShardSubject, patience: Duration = .seconds(60),
        wrap: @escaping @Sendable (any Shard) -> any Shard = { $0 }
    ) async throws -> Findings {
        let stage = try await subject.stage()
        let shard = wrap(try await stage.open(name, attributes))
        let bench = ShardBench(stage, subject.traits, shard, patience: patience, wrap: wrap)
        do { try await rule(bench) } catch { bench.noteEnd(error) }
        await bench.closeAll()
        try await stage.end()
        bench.check(bench.book.faults.isEmpty, "\(bench.book.faults.joined(separator: ", "))")
        bench.check(bench.book.count > 0, "the rule called nothing")
        return bench.findings
    }

    var shard: any Shard { state.withLock { $0.shard } }

    // MARK: - Time and life

    func pass(seconds: Int) { stage.clock.advance(milliseconds: seconds * 1_000) }

    /// Whether a stream gives anything before the rule's patience is over.
    func isGiven(by stream: AsyncStream<Void>) async -> Bool {
        await withTaskGroup(of: Bool.self) { [patience] group in
            group.addTask { await stream.first { _ in true } != nil }
            group.addTask {
                try? await Task.sleep(for: patience)
                return false
            }
            defer { group.cancelAll() }
            return await group.next() == true
        }
    }

    /// Another shard of the same kind.
    func open(
        _ name: String, _ attributes: QueueAttributes = ShardBench.attributes
    ) async throws -> any Shard {
        let shard = wrap(try await stage.open(name, attributes))
        state.withLock { $0.opened.append(shard) }
        return shard
    }

    /// Closes the shard under test and opens it again from what is stored.
    func reopen() async throws {
        await closeAll()
        try await stage.restart()
        let shard = try await open(ShardBench.name)
        state.withLock { $0.shard = shard }
    }

    /// Closing blocks, so it is done on a thread that nobody else waits for.
    func closeAll() async {
        let shards = state.withLock { state in
            defer { state.opened = [] }
            return state.opened
        }
        for shard in shards { await ShardBench.close(shard) }
    }

    static func close(_ shard: any Shard) async {
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            Thread.detachNewThread {
                shard.close()
                done.resume()
            }
        }
    }

    // MARK: - Messages

    /// A message with a deduplication id of its own, unless one is given.
    func message(
        _ group: String, _ body: String, id: String? = nil, attributes: [MessageAttribute] = []
    ) -> OutgoingMessage {
        let number = state.withLock { state in
            state.messages += 1
            return state.messages
        }
        let record = Array(body.utf8).withUnsafeBytes {
            MessageRecord(
                group: Array(group.utf8), deduplicationID: Array((id ?? "id-\(number)").utf8), body: $0,
                attributes: attributes)
        }
        return OutgoingMessage(record: record, groupHash: XXHash64.hash(group))
    }

    // MARK: - Calls

    /// Submits a batch and waits for its answer; what a shard answers by the clock is due at once.
    func submit(_ batch: ShardBatch, to other: (any Shard)? = nil) async -> EntryAnswers {
        let shard = other ?? shard
        return await book.wait("submit") {
            shard.submit(batch, completion: $0)
            return nil
        } after: {
            stage.clock.advance(milliseconds: 0)
        }
    }

    @discardableResult
    func send(_ messages: OutgoingMessage..., to other: (any Shard)? = nil) async throws -> [SendReceipt] {
        try await send(messages, to: other)
    }

    @discardableResult
    func send(_ messages: [OutgoingMessage], to other: (any Shard)? = nil) async throws -> [SendReceipt] {
        guard !traits.shard.storesWholeBatches else {
            return try await submit(ShardBatch(messages), to: other).receipts.get()
        }
        // One after the other, so that no group is twice in a batch.
        var receipts: [SendReceipt] = []
        for message in messages { receipts += try await submit(ShardBatch([message]), to: other).receipts.get() }
        return receipts
    }

    func receive(_ command: ReceiveCommand, from other: (any Shard)? = nil) async throws -> [Delivery] {
        let shard = other ?? shard
        return try await book.wait("receive") { shard.receive(command, completion: $0) }.get().map(Delivery.init)
    }

    func receive(_ limit: Int = 10, from other: (any Shard)? = nil) async throws -> [Delivery] {
        try await receive(ReceiveCommand(limit: limit), from: other)
    }

    func delete(_ deliveries: Delivery..., from other: (any Shard)? = nil) async -> [DeleteOutcome] {
        await delete(deliveries, from: other)
    }

    func delete(_ deliveries: [Delivery], from other: (any Shard)? = nil) async -> [DeleteOutcome] {
        let shard = other ?? shard
        return await book.wait("delete") {
            shard.delete(deliveries.map(\.handle), completion: $0)
            return nil
        } after: {
            stage.clock.advance(milliseconds: 0)
        }
    }

    @discardableResult
    func setVisibility(_ seconds: Int, _ deliveries: Delivery...) async -> [VisibilityDecision] {
        await setVisibility(seconds, deliveries)
    }

    @discardableResult
    func setVisibility(_ seconds: Int, _ deliveries: [Delivery]) async -> [VisibilityDecision] {
        let shard = shard
        return await book.wait("changeVisibility") {
            shard.changeVisibility(deliveries.map { ($0.handle, seconds) }, completion: $0)
        } after: {
            stage.clock.advance(milliseconds: 0)
        }
    }

    func purge() async -> Result<Int, ShardError> {
        let shard = shard
        return await book.wait("purge") {
            shard.purge(completion: $0)
            return nil
        } after: {
            stage.clock.advance(milliseconds: 0)
        }
    }

    func counts() async -> ShardCounts {
        let shard = shard
        await stage.refreshCounts(of: shard)
        return shard.counts()
    }

    /// Receives and deletes until nothing comes.
    /// - Returns: bodies in the order of their coming.
    func drain() async throws -> [String] {
        var bodies: [String] = []
        while true {
            let taken = try await receive()
            guard !taken.isEmpty else { return bodies }
            bodies += taken.map(\.body)
            let outcomes = await delete(taken)
            guard outcomes.allSatisfy(\.isDeleted) else {
                check(false, "what was just received could not be deleted: \(outcomes)")
                return bodies
            }
        }
    }
}

/// A received message, read.
struct Delivery: Sendable {
    let group: String
    let body: String
    let deduplicationID: String
    let attributes: [MessageAttribute]
    let handle: ReceiptHandle
    let message: ReceivedMessage

    var count: Int { message.receiveCount }

    init(_ message: ReceivedMessage) {
        self.message = message
        handle = message.handle
        (group, body, deduplicationID, attributes) = message.withView {
            (
                String(decoding: $0.group, as: UTF8.self), String(decoding: $0.body, as: UTF8.self),
                String(decoding: $0.deduplicationID, as: UTF8.self), $0.attributes
            )
        }
    }
}

extension DeleteOutcome {
    var isDeleted: Bool { if case .deleted = self { true } else { false } }
    var isExpired: Bool { if case .expired = self { true } else { false } }
    var isNotOurs: Bool { if case .notOurs = self { true } else { false } }
    var isClosed: Bool { if case .failed(.closed) = self { true } else { false } }
}

/// A rule of the port.
typealias ShardRule = @Sendable (ShardBench) async throws -> Void
