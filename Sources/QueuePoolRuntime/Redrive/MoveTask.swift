// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Redrive: messages of a dead-letter queue go back to where they came from, or to a queue of the caller's choice. Order
// within a group is kept: the source is read shard after shard, ten at a time; a message is deleted there only when it is
// stored at its destination, and once one of a group was not stored, those behind it are not sent either. What fails for
// now is tried again for half a minute; then the task ends as failed and gives back what it holds, the last message of a
// group first. A message whose home is not known is left where it is, and the task goes on with the others. A message
// that was stored but not yet deleted when the task broke off is caught as a duplicate if the task is started again within
// five minutes.
//
// Where a message came from is in its record if this server moved it, and in the attribute `queuepool.pool` if a worker
// gave it up.

/// One redrive.
package final class MoveTask: Sendable {
    package enum Status: String, Sendable {
        case running = "RUNNING"
        case completed = "COMPLETED"
        case cancelling = "CANCELLING"
        case cancelled = "CANCELLED"
        case failed = "FAILED"
    }

    /// What can be told about it.
    package struct Report: Sendable {
        package var status = Status.running
        package var moved = 0
        package var toMove: Int
        package var failureReason: String?
    }

    package let handle: String
    package let source: PoolName
    /// `nil`: each message's own source.
    package let destination: PoolName?
    /// Until it has run: a task is kept long after its end, and the pools are not to be kept with it.
    private let pools: Mutex<(source: Pool, destination: Pool?)?>
    /// 1...500, or `nil` for as fast as it goes.
    package let perSecondMax: Int?
    package let startedAt: Timestamp
    private let state: Mutex<Report>
    private let homes: Homes
    private let clock: any Clock

    /// Finds the pool that a message came from.
    package struct Homes: Sendable {
        let byTag: @Sendable (ShardTag) -> Pool?
        let byName: @Sendable (String) -> Pool?

        /// - Parameters:
        ///   - byTag: the pool in which a shard's ids were given.
        ///   - byName: the pool of a name.
        package init(byTag: @escaping @Sendable (ShardTag) -> Pool?, byName: @escaping @Sendable (String) -> Pool?) {
            self.byTag = byTag
            self.byName = byName
        }
    }

    package init(
        handle: String, source: Pool, destination: Pool?, perSecondMax: Int?, clock: any Clock, homes: Homes
    ) {
        self.handle = handle
        self.source = source.name
        self.destination = destination?.name
        pools = Mutex((source, destination))
        self.perSecondMax = perSecondMax
        self.clock = clock
        self.homes = homes
        startedAt = clock.now()
        let waiting = source.snapshot.shards.reduce(0) { $0 + $1.shard.counts().backlog }
        state = Mutex(Report(toMove: waiting))
    }

    package var report: Report { state.withLock { $0 } }

    /// Asks the task to stop after what is under way.
    /// - Returns: messages moved so far, or `nil` if it is not running.
    package func cancel() -> Int? {
        state.withLock { report in
            guard report.status == .running else { return nil }
            report.status = .cancelling
            return report.moved
        }
    }

    /// Moves until the source is empty, something fails for good, or it is cancelled.
    package func run() async {
        var homeless = 0
        var failure: String?
        let shards = pools.withLock { $0 }?.source.snapshot.shards ?? []
        for shard in shards where failure == nil && report.status == .running {
            var kept = KeptBack()
            failure = await moveAll(of: shard, &kept)
            homeless += kept.handles.count
            await giveBack(kept.order.compactMap { kept.handles[$0] }, to: shard)
        }
        if failure == nil, homeless > 0 { failure = "\(homeless) messages do not say which queue they came from" }
        pools.withLock { $0 = nil }
        finish(failure)
    }

    /// Messages of one shard that have nowhere to go. They stay hidden as long as the task reads the shard, or it would
    /// get the same ones again and again; one whose visibility timeout ended meanwhile is counted once.
    private struct KeptBack {
        var order: [MessageID] = []
        var handles: [MessageID: ReceiptHandle] = [:]

        mutating func add(_ message: ReceivedMessage) {
            if handles.updateValue(message.handle, forKey: message.messageID) == nil { order.append(message.messageID) }
        }
    }

    /// So many that reading on would take longer than they stay hidden.
    private static let keptBackMax = 10_000

    /// - Returns: why the task cannot go on; `nil` if the shard is empty or the task was cancelled.
    private func moveAll(of shard: PoolShard, _ kept: inout KeptBack) async -> String? {
        while report.status == .running {
            let messages: [ReceivedMessage]
            switch await receive(from: shard) {
            case .success(let received): messages = received
            case .failure(let error): return "the source could not be read (\(error.reason))"
            }
            if messages.isEmpty { return nil }
            let outcome = await move(messages, from: shard, &kept)
            state.withLock { $0.moved += outcome.moved }
            if let failure = outcome.failure { return failure }
            if kept.order.count >= MoveTask.keptBackMax {
                return "\(kept.order.count) messages and more do not say which queue they came from"
            }
            if let perSecondMax {
                await pause(milliseconds: Int64(outcome.moved) * 1_000 / Int64(max(1, perSecondMax)))
            }
        }
        return nil
    }

    private func finish(_ failure: String?) {
        state.withLock { report in
            report.status = failure != nil ? .failed : report.status == .cancelling ? .cancelled : .completed
            report.failureReason = failure
        }
    }

    /// Tries again for a while: a shard that does not answer is not an empty one.
    private func receive(from shard: PoolShard) async -> Result<[ReceivedMessage], ShardError> {
        var delay = MoveTask.firstDelay
        while true {
            let result = await withCheckedContinuation { continuation in
                shard.shard.receive(
                    ReceiveCommand(limit: 10, visibilitySeconds: MoveTask.visibilitySeconds)
                ) { continuation.resume(returning: $0) }
            }
            guard case .failure = result, delay <= MoveTask.lastDelay, report.status == .running else { return result }
            await pause(milliseconds: delay)
            delay *= 2
        }
    }

    private struct Outcome {
        var moved = 0
        var failure: String?
    }

    /// Delays after failures: 0.25 s, doubled up to 16 s, some half a minute in all.
    private static let firstDelay: Int64 = 250
    private static let lastDelay: Int64 = 16_000
    /// Longer than all tries together.
    private static let visibilitySeconds = 120

    private func move(
        _ messages: [ReceivedMessage], from shard: PoolShard, _ kept: inout KeptBack
    ) async -> Outcome {
        var outcome = Outcome()
        var left: [(message: ReceivedMessage, target: Pool)] = []
        // Behind a message that stays, its group stays.
        var stays: Set<[UInt8]> = []
        for message in messages {
            let group = message.withView { Array($0.group) }
            if !stays.contains(group), let target = target(of: message) {
                left.append((message, target))
            } else {
                stays.insert(group)
                kept.add(message)
            }
        }
        var delay = MoveTask.firstDelay
        var stored: [ReceivedMessage] = []
        while !left.isEmpty {
            let results = await send(left)
            stored += zip(left, results).filter { $1 == nil }.map(\.0.message)
            let failed = zip(left, results).compactMap { entry, error in error.map { (entry: entry, error: $0) } }
            left = failed.map(\.entry)
            guard let first = failed.first, report.status == .running else { break }
            // Whatever fails for good ends the task, even if the first of them failed only because of another.
            let error = failed.map(\.error.root).first { !$0.isRetryable } ?? first.error.root
            guard error.isRetryable, delay <= MoveTask.lastDelay else {
                outcome.failure = "the destination did not take a message (\(error.reason))"
                break
            }
            await pause(milliseconds: delay)
            delay *= 2
        }
        if let reason = await delete(stored, from: shard) {
            outcome.failure = outcome.failure ?? "a moved message could not be deleted (\(reason))"
        }
        outcome.moved = stored.count
        await giveBack(left.map(\.message.handle), to: shard)
        return outcome
    }

    /// Sends, each target's messages as one request, in order.
    /// - Returns: why each was not stored; `nil` if it was.
    private func send(_ entries: [(message: ReceivedMessage, target: Pool)]) async -> [ShardError?] {
        var errors = [ShardError?](repeating: nil, count: entries.count)
        var rest = Array(entries.indices)
        while let first = rest.first {
            let target = entries[first].target
            let places = rest.filter { entries[$0].target === target }
            rest.removeAll { entries[$0].target === target }
            let results = await withCheckedContinuation { continuation in
                target.send(places.map { entries[$0].message.redriven() }) { continuation.resume(returning: $0) }
            }
            for (place, result) in zip(places, results) {
                if case .failure(let error) = result { errors[place] = error }
            }
        }
        return errors
    }

    /// Tries again for a while: what is stored at its destination and not deleted here would be delivered twice.
    /// - Returns: why one of them was not deleted.
    private func delete(_ messages: [ReceivedMessage], from shard: PoolShard) async -> String? {
        var left = messages.map(\.handle)
        var delay = MoveTask.firstDelay
        while !left.isEmpty {
            let outcomes = await withCheckedContinuation { continuation in
                shard.shard.delete(left) { continuation.resume(returning: $0) }
            }
            var error: ShardError?
            var failed: [ReceiptHandle] = []
            for (handle, outcome) in zip(left, outcomes) {
                if case .expired = outcome { return "the time to delete it was over" }
                guard case .failed(let reason) = outcome else { continue }
                failed.append(handle)
                error = error ?? reason
            }
            guard let error else { return nil }
            guard error.root.isRetryable, delay <= MoveTask.lastDelay else { return error.root.reason }
            await pause(milliseconds: delay)
            delay *= 2
            left = failed
        }
        return nil
    }

    /// The last first: a message that is visible again before the one in front of it would pass it.
    private func giveBack(_ handles: [ReceiptHandle], to shard: PoolShard) async {
        var left = handles
        while !left.isEmpty {
            let next = left.suffix(QueueLimits.batchEntriesMax).reversed().map { (handle: $0, seconds: 0) }
            left.removeLast(next.count)
            await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
                shard.shard.changeVisibility(next) { _ in continuation.resume() }
            }
        }
    }

    /// Where a message goes; never where it is. There it would be a duplicate of itself, and then be deleted.
    private func target(of message: ReceivedMessage) -> Pool? {
        let target = pools.withLock { $0?.destination } ?? home(of: message)
        return target?.name == source ? nil : target
    }

    private func home(of message: ReceivedMessage) -> Pool? {
        message.withView { view in
            if let origin = view.origin, let home = homes.byTag(origin.messageID.shard) { return home }
            let named = view.hasAttributes ? view.attributes.first { $0.name == WorkerAttributes.pool } : nil
            let name = named.map { String(decoding: $0.value, as: UTF8.self) }
            return (name ?? DeadLetterMark.pool(ofDeduplicationID: view.deduplicationID)).flatMap { homes.byName($0) }
        }
    }

    private func pause(milliseconds: Int64) async {
        await withCheckedContinuation { continuation in
            clock.schedule(at: clock.now() + milliseconds) { continuation.resume() }
        }
    }
}

extension ReceivedMessage {
    /// The message as a new one: it gets a new id and enqueue time where it goes.
    fileprivate func redriven() -> OutgoingMessage {
        withView { view in
            let record = MessageRecord(
                group: Array(view.group), deduplicationID: Array(view.deduplicationID), body: view.body,
                attributes: view.attributes.filter {
                    !$0.name.hasPrefix(WorkerAttributes.prefix) || $0.name == WorkerAttributes.recipients
                },
                systemAttributes: view.systemAttributes, bodyMD5: view.bodyMD5)
            return OutgoingMessage(record: record, groupHash: XXHash64.hash(view.group))
        }
    }
}
