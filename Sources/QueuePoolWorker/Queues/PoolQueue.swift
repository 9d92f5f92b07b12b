// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
package import QueuePoolRuntime
import QueuePoolSQS
import Synchronization

// The queues of pools that are open in the worker's own process: in the server, or in a worker that goes straight to the
// queues of Amazon SQS. Long polls are shared, and deletes and changes of visibility are gathered across groups, by the
// pool and its shards.

/// Queues of pools that are open in this process.
package struct PoolQueue: WorkerQueue {
    private let registry: PoolRegistry
    private let tellsSending: Bool
    let bodies = FinishedBodies()

    /// - Parameter tellsSending: whether messages say how they were sent.
    package init(registry: PoolRegistry, tellsSending: Bool = false) {
        self.registry = registry
        self.tellsSending = tellsSending
    }

    package func shards(ofPool pool: String) async throws(WorkerQueueError) -> [WorkerShard] {
        guard let pool = registry.pool(pool) else { throw .noPool }
        return pool.snapshot.shards.map { WorkerShard(index: $0.index, name: $0.name) }
    }

    package func receive(
        from queue: String, visibilitySeconds: Int, waitSeconds: Int
    ) async throws(WorkerQueueError) -> [WorkMessage] {
        let target = try target(queue)
        let receive = OpenReceive(pool: target.pool, shard: target.shard)
        let answer = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                receive.begin(visibilitySeconds, waitSeconds, continuation)
            }
        } onCancel: {
            receive.breakOff()
        }
        switch answer {
        case .success(let messages):
            let now = registry.clock.wallTime()
            let mayBeRemote = target.pool.mayHaveRemoteBodies
            return messages.map { received in
                var message = PoolQueue.message(received, at: now)
                if tellsSending { message.sending = PoolQueue.sending(received) }
                if let pointer = received.pointer {
                    message.storedBody = target.pool.bodyStore(holding: pointer).map {
                        StoredBody(pointer, byteCount: message.body.count, in: $0, isHere: true)
                    }
                } else if mayBeRemote {
                    message.storedBody = PoolQueue.storedBody(of: message, in: target.pool)
                }
                return message
            }
        case .failure(let error): throw PoolQueue.error(error)
        }
    }

    private static func message(_ received: ReceivedMessage, at now: Timestamp) -> WorkMessage {
        received.withView { view in
            let origin = view.origin
            var message = WorkMessage(
                id: "\(origin?.messageID ?? received.messageID)", handle: received.handle.text,
                group: String(decoding: view.group, as: UTF8.self), body: Array(view.body),
                attributes: view.hasAttributes ? view.attributes : [],
                receiveCount: received.receiveCount + Int(origin?.receiveCount ?? 0))
            message.millisecondsSinceFirstReceive = max(0, now - received.firstReceivedAt)
            return message
        }
    }

    private static func sending(_ received: ReceivedMessage) -> SendingFacts {
        let sequence = received.handle.sequence
        return received.withView { view in
            SendingFacts(
                sentAt: received.remote?.sentAt ?? sequence.sentAt,
                sequence: received.remote?.sequence ?? sequence.text,
                deduplicationID: String(decoding: view.deduplicationID, as: UTF8.self))
        }
    }

    /// The body that a message points to, if it says that it does, and the pointer names a place of the pool's.
    private static func storedBody(of message: WorkMessage, in pool: Pool) -> StoredBody? {
        guard let (pointer, byteCount) = message.pointer, let store = pool.bodyStore(holding: pointer)
        else { return nil }
        return StoredBody(pointer, byteCount: byteCount, in: store)
    }

    package func delete(
        _ messages: [WorkMessage], from queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let target = try target(queue)
        let handles = PoolQueue.handles(messages)
        let outcomes = await withCheckedContinuation { continuation in
            target.pool.delete(handles.map(\.handle), in: target.shard) { continuation.resume(returning: $0) }
        }
        for (handle, outcome) in zip(handles, outcomes) {
            if case .deleted = outcome { bodies.deleted(messages[handle.message]) }
        }
        return PoolQueue.sorted(messages, handles.map(\.message), outcomes) { outcome in
            switch outcome {
            case .deleted: .done
            case .expired, .notOurs: .lost
            case .failed: .failed
            }
        }
    }

    package func changeVisibility(
        _ messages: [WorkMessage], seconds: Int, in queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let target = try target(queue)
        let handles = PoolQueue.handles(messages)
        let outcomes = await withCheckedContinuation { continuation in
            target.pool.changeVisibility(handles.map { ($0.handle, seconds) }, in: target.shard) {
                continuation.resume(returning: $0)
            }
        }
        return PoolQueue.sorted(messages, handles.map(\.message), outcomes) { outcome in
            switch outcome {
            case .success(.changed): .done
            // Beyond twelve hours from the receive nothing is held any longer.
            case .success(.notOurs), .success(.unavailable), .success(.beyondLimit): .lost
            case .success(.failed), .failure: .failed
            }
        }
    }

    package func send(
        _ message: WorkMessage, attributes: [MessageAttribute], deduplicationID: String, to queue: String
    ) async throws(WorkerQueueError) {
        let target = try target(queue)
        let record = message.body.withUnsafeBytes { body in
            MessageRecord(
                group: message.group.utf8, deduplicationID: deduplicationID.utf8, body: body, attributes: attributes,
                bodyMD5: MD5Digest(of: body))
        }
        let outgoing = OutgoingMessage(record: record, groupHash: XXHash64.hash(message.group))
        let result = await withCheckedContinuation { continuation in
            target.pool.send(outgoing) { continuation.resume(returning: $0) }
        }
        if case .failure(let error) = result { throw PoolQueue.error(error) }
        bodies.moved(message)
    }

    // MARK: - Parts

    private func target(_ queue: String) throws(WorkerQueueError) -> QueueTarget {
        guard let target = registry.target(queue) else { throw .refused(code: "QueueDoesNotExist") }
        return target
    }

    private static func error(_ error: ShardError) -> WorkerQueueError { .refused(code: error.reason) }

    /// Messages whose handles can be read; the others are lost.
    private static func handles(_ messages: [WorkMessage]) -> [(message: Int, handle: ReceiptHandle)] {
        messages.enumerated().compactMap { place, message in
            ReceiptHandle(Array(message.handle.utf8)).map { (place, $0) }
        }
    }

    private enum Fate {
        case done
        case lost
        case failed
    }

    private static func sorted<Outcome>(
        _ messages: [WorkMessage], _ asked: [Int], _ outcomes: [Outcome], _ fate: (Outcome) -> Fate
    ) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let outcomeOf = Dictionary(zip(asked, outcomes)) { first, _ in first }
        var lost: [WorkMessage] = []
        var failed: [WorkMessage] = []
        for (place, message) in messages.enumerated() {
            switch outcomeOf[place].map(fate) ?? .lost {
            case .done: break
            case .lost: lost.append(message)
            case .failed: failed.append(message)
            }
        }
        return (lost, failed)
    }
}

/// One receive, which is answered once: by the pool, or because it was broken off.
private final class OpenReceive: Sendable {
    private struct State {
        var continuation: CheckedContinuation<ReceiveAnswer, Never>?
        var waiter: WaiterID?
        var isBrokenOff = false
    }

    private let pool: Pool
    private let shard: PoolShard?
    private let state = Mutex(State())
    /// A poll that is out at a remote queue cannot be taken back. Who was broken off still waits for what it brings, and
    /// gives that back at once: left to nobody, it would be kept for whoever waits next.
    private var isFar: Bool { shard?.shard.traits.pollsRemotely == true }

    init(pool: Pool, shard: PoolShard?) {
        self.pool = pool
        self.shard = shard
    }

    func begin(
        _ visibilitySeconds: Int, _ waitSeconds: Int, _ continuation: CheckedContinuation<ReceiveAnswer, Never>
    ) {
        let isBrokenOff = state.withLock { state in
            if !state.isBrokenOff { state.continuation = continuation }
            return state.isBrokenOff
        }
        if isBrokenOff { return continuation.resume(returning: .success([])) }
        let command = ReceiveCommand(limit: QueueLimits.batchEntriesMax, visibilitySeconds: visibilitySeconds)
        let waiter = pool.receive(
            command, from: shard, waitSeconds: waitSeconds,
            isAbandoned: { [self] in !isFar && state.withLock { $0.isBrokenOff } }
        ) { [self] in answer($0) }
        guard let waiter else { return }
        let isLate = state.withLock { state in
            state.waiter = waiter
            return state.isBrokenOff
        }
        if isLate, !isFar { pool.hub.abandoned(waiter) }
    }

    /// Answers with nothing. What comes after that is given back, the last message of a group first.
    func breakOff() {
        let (continuation, waiter) = state.withLock { state in
            state.isBrokenOff = true
            defer { state.continuation = nil }
            return (state.continuation, state.waiter)
        }
        continuation?.resume(returning: .success([]))
        if let waiter, !isFar { pool.hub.abandoned(waiter) }
    }

    private func answer(_ answer: ReceiveAnswer) {
        let continuation = state.withLock { state in
            defer { state.continuation = nil }
            return state.continuation
        }
        if let continuation { return continuation.resume(returning: answer) }
        guard case .success(let messages) = answer, !messages.isEmpty else { return }
        pool.changeVisibility(messages.reversed().map { (handle: $0.handle, seconds: 0) }, in: shard) { _ in }
    }
}
