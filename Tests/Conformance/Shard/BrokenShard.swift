// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization
import Testing

/// One thing that a shard may do wrong.
enum Fault: CaseIterable, Sendable {
    case reversesReceives
    case reversesBatches
    case hidesNothing
    case hidesForLong
    case keepsWhatIsGivenBack
    case keepsNothingLonger
    case altersBodies
    case forgetsIDs
    case mixesGroupsOfIDs
    case losesTheLastOfABatch
    case purgesNothing
    case countsNothing
    case saysOtherTraits
    case pullsTwice
    case pullsAtOnce
    case completesSubmitsWithin
    case completesReceivesWithin
    case completesDeletesWithin
    case completesChangesWithin
    case completesPurgesWithin
    case returnsAndCompletesReceives
    case returnsAndCompletesChanges
    case countsOneDelivery
    case confirmsEveryDelete
    case reversesOutcomes
    case forgetsAttempts
    case forgetsAttributes
    case wakesNobody
    case completesTwice
    case forgetsACompletion

    /// The rules that must notice it.
    var rules: [ShardRule] {
        switch self {
        case .reversesReceives: [OrderRules.sends, OrderRules.walk(seed: 1, steps: 200)]
        case .reversesBatches: [OrderRules.entriesOfABatch]
        case .hidesNothing: [OrderRules.lockUntilDeleted, OrderRules.walk(seed: 1, steps: 200)]
        case .hidesForLong: [OrderRules.lockUntilVisible]
        case .keepsWhatIsGivenBack: [OrderRules.givenBack]
        case .keepsNothingLonger: [OrderRules.keptLonger]
        case .altersBodies: [StorageRules.wholeMessages]
        case .forgetsIDs: [StorageRules.duplicates, StorageRules.duplicatesInABatch]
        case .mixesGroupsOfIDs: [StorageRules.scopes]
        case .losesTheLastOfABatch: [StorageRules.reopening, BorderRules.eachEntry]
        case .purgesNothing: [StorageRules.purge]
        case .countsNothing: [StorageRules.counts]
        case .saysOtherTraits: [BorderRules.traits]
        case .pullsTwice, .pullsAtOnce: [BorderRules.pulled]
        case .completesSubmitsWithin: [BorderRules.completions, BorderRules.eachEntry]
        case .completesReceivesWithin, .returnsAndCompletesReceives: [BorderRules.completions, OrderRules.sends]
        case .completesDeletesWithin: [BorderRules.completions, BorderRules.handles]
        case .completesChangesWithin, .returnsAndCompletesChanges: [BorderRules.completions, OrderRules.givenBack]
        case .completesPurgesWithin: [StorageRules.purge]
        case .countsOneDelivery: [BorderRules.receiveCounts]
        case .confirmsEveryDelete: [BorderRules.handles]
        case .reversesOutcomes: [BorderRules.manyHandles]
        case .forgetsAttempts: [BorderRules.attempts]
        case .forgetsAttributes: [BorderRules.attributes]
        case .wakesNobody: [BorderRules.waking]
        case .completesTwice, .forgetsACompletion: [BorderRules.completions]
        }
    }
}

/// A sound shard, and what spoils one thing about it.
final class BrokenShard: Shard {
    private let inner: any Shard
    private let fault: Fault
    private let sends = Atomic(0)
    private let isClosed = Atomic(false)

    init(_ inner: any Shard, _ fault: Fault) {
        self.inner = inner
        self.fault = fault
        guard fault == .mixesGroupsOfIDs else { return }
        var attributes = ShardBench.attributes
        attributes.deduplicationScope = .queue
        inner.setAttributes(attributes)
    }

    var name: String { inner.name }
    var tag: ShardTag { inner.tag }
    var traits: ShardTraits {
        var traits = inner.traits
        if fault == .saysOtherTraits { traits.storesWholeBatches.toggle() }
        return traits
    }

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        let number = sends.add(1, ordering: .relaxed).newValue
        let broken: ShardBatch
        switch fault {
        case .reversesBatches: broken = ShardBatch { batch.pull().reversed() }
        case .altersBodies: broken = ShardBatch { batch.pull().map { BrokenShard.altered($0) } }
        case .forgetsIDs:
            broken = ShardBatch {
                batch.pull().enumerated().map { BrokenShard.renamed($1, "\(number).\($0)") }
            }
        case .losesTheLastOfABatch:
            broken = ShardBatch {
                let messages = batch.pull()
                return messages.count > 1 ? messages.dropLast() : messages
            }
        case .pullsTwice:
            _ = batch.pull()
            broken = batch
        case .pullsAtOnce: broken = ShardBatch(batch.pull())
        case .completesSubmitsWithin:
            return completeWithin(completion) { [inner] in
                inner.submit(batch, completion: $0)
                return nil
            }
        default: broken = batch
        }
        inner.submit(broken) { [fault] answers in
            switch fault {
            case .reversesBatches: completion(answers.changed { $0.reversed() })
            case .losesTheLastOfABatch: completion(answers.changed { $0.count > 1 ? $0 + $0.suffix(1) : $0 })
            case .completesTwice:
                completion(answers)
                completion(answers)
            case .forgetsACompletion where number == 30: break
            default: completion(answers)
            }
        }
    }

    /// Waits for the answer of the sound shard, which comes on a thread of its own, or by the clock after its close.
    private func completeWithin<Answer: Sendable>(
        _ completion: @escaping @Sendable (Answer) -> Void, _ call: (@escaping @Sendable (Answer) -> Void) -> Answer?
    ) {
        guard !isClosed.load(ordering: .relaxed) else {
            if let known = call(completion) { completion(known) }
            return
        }
        let isDone = DispatchSemaphore(value: 0)
        let answer = Mutex<Answer?>(nil)
        let known = call { late in
            answer.withLock { $0 = late }
            isDone.signal()
        }
        if let known { return completion(known) }
        isDone.wait()
        if let late = answer.withLock({ $0 }) { completion(late) }
    }

    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        var command = command
        switch fault {
        case .reversesReceives: return receive(command, completion) { $0.reversed() }
        case .countsOneDelivery: return receive(command, completion) { $0.map(BrokenShard.firstDelivery) }
        case .completesReceivesWithin:
            completeWithin(completion) { [inner] in inner.receive(command, completion: $0) }
            return nil
        case .returnsAndCompletesReceives:
            let known = inner.receive(command, completion: completion)
            if let known { completion(known) }
            return known
        case .hidesNothing: command.visibilitySeconds = 0
        case .hidesForLong: command.visibilitySeconds = 3_600
        case .forgetsAttempts: command.attemptID = nil
        default: break
        }
        return inner.receive(command, completion: completion)
    }

    private func receive(
        _ command: ReceiveCommand, _ completion: @escaping @Sendable (ReceiveAnswer) -> Void,
        _ change: @escaping @Sendable ([ReceivedMessage]) -> [ReceivedMessage]
    ) -> ReceiveAnswer? {
        inner.receive(command) { completion($0.map(change)) }.map { $0.map(change) }
    }

    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        if fault == .completesDeletesWithin {
            return completeWithin(completion) { [inner] in
                inner.delete(handles, completion: $0)
                return nil
            }
        }
        inner.delete(handles) { [fault] outcomes in
            switch fault {
            case .confirmsEveryDelete: completion(outcomes.map { _ in .deleted })
            case .reversesOutcomes: completion(outcomes.sorted { $0.isExpired && !$1.isExpired })
            default: completion(outcomes)
            }
        }
    }

    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? {
        if fault == .keepsWhatIsGivenBack, changes.allSatisfy({ $0.seconds == 0 }) {
            return changes.map { _ in .changed }
        }
        let changes = fault == .keepsNothingLonger ? changes.map { ($0.handle, min(30, $0.seconds)) } : changes
        switch fault {
        case .completesChangesWithin:
            completeWithin(completion) { [inner] in inner.changeVisibility(changes, completion: $0) }
            return nil
        case .returnsAndCompletesChanges:
            let known = inner.changeVisibility(changes, completion: completion)
            if let known { completion(known) }
            return known
        default: return inner.changeVisibility(changes, completion: completion)
        }
    }

    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        switch fault {
        case .purgesNothing:
            let counts = inner.counts()
            DispatchQueue.global().async { completion(.success(counts.backlog + counts.inFlight)) }
        case .completesPurgesWithin:
            completeWithin(completion) { [inner] in
                inner.purge(completion: $0)
                return nil
            }
        default: inner.purge(completion: completion)
        }
    }

    func setAttributes(_ attributes: QueueAttributes) {
        if fault != .forgetsAttributes { inner.setAttributes(attributes) }
    }

    func counts() -> ShardCounts { fault == .countsNothing ? ShardCounts() : inner.counts() }
    func nextVisibleAt() -> Timestamp? { inner.nextVisibleAt() }
    func onReady(_ notify: @escaping @Sendable () -> Void) { if fault != .wakesNobody { inner.onReady(notify) } }
    func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) { inner.onEvent(report) }
    func setDeadLetterSink(_ sink: DeadLetterSink?) { inner.setDeadLetterSink(sink) }
    func close() {
        isClosed.store(true, ordering: .relaxed)
        inner.close()
    }

    // MARK: - Spoiled messages

    private static func altered(_ message: OutgoingMessage) -> OutgoingMessage {
        remade(message) { view in (Array(view.body.dropLast()), Array(view.deduplicationID)) }
    }

    private static func renamed(_ message: OutgoingMessage, _ id: String) -> OutgoingMessage {
        remade(message) { view in (Array(view.body), Array(id.utf8)) }
    }

    private static func remade(
        _ message: OutgoingMessage, _ change: (RecordView) -> (body: [UInt8], id: [UInt8])
    ) -> OutgoingMessage {
        let record = message.record.withView { view in
            let (body, id) = change(view)
            return body.withUnsafeBytes {
                MessageRecord(group: view.group, deduplicationID: id, body: $0, attributes: view.attributes)
            }
        }
        return OutgoingMessage(record: record, groupHash: message.groupHash)
    }

    private static func firstDelivery(_ message: ReceivedMessage) -> ReceivedMessage {
        ReceivedMessage(
            handle: message.handle, messageID: message.messageID, receiveCount: 1,
            firstReceivedAt: message.firstReceivedAt, storage: message.storage, offset: message.offset,
            length: message.length)
    }
}

extension EntryAnswers {
    fileprivate func changed(_ change: ([EntryOutcome]) -> [EntryOutcome]) -> EntryAnswers {
        if case .entries(let outcomes) = self { .entries(change(outcomes)) } else { self }
    }
}

@Suite(.timeLimit(.minutes(3))) struct `The rules for shards` {
    @Test(arguments: Fault.allCases) func `notice a shard that does not keep them`(fault: Fault) async throws {
        for (number, rule) in fault.rules.enumerated() {
            let findings = try await ShardBench.run(rule, on: .embedded, patience: .seconds(1)) {
                BrokenShard($0, fault)
            }
            #expect(!findings.all.isEmpty, "rule \(number) of this fault found nothing")
        }
    }
}
