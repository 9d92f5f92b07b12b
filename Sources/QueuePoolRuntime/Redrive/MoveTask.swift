// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// Redrive: messages of a dead-letter queue go back to where they came from, or to a queue of the caller's choice. Order
// within a group is kept: the source is read shard after shard, ten at a time, a message is deleted there only when it is
// stored at its destination, and the first failure ends the task. A message that was stored but not yet deleted when the
// task broke off is caught as a duplicate if the task is started again within five minutes.

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
    package let source: Pool
    /// `nil`: each message's own source.
    package let destination: Pool?
    /// 1...500, or `nil` for as fast as it goes.
    package let perSecondMax: Int?
    package let startedAt: Timestamp
    private let state: Mutex<Report>
    private let home: @Sendable (ShardTag) -> Pool?
    private let clock: any RuntimeClock

    /// - Parameter home: the pool in which a shard's ids were given.
    package init(
        handle: String, source: Pool, destination: Pool?, perSecondMax: Int?, clock: any RuntimeClock,
        home: @escaping @Sendable (ShardTag) -> Pool?
    ) {
        self.handle = handle
        self.source = source
        self.destination = destination
        self.perSecondMax = perSecondMax
        self.clock = clock
        self.home = home
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

    /// Moves until the source is empty, something fails, or it is cancelled.
    package func run() async {
        for shard in source.snapshot.shards {
            while report.status == .running {
                let messages = await receive(from: shard)
                if messages.isEmpty { break }
                if let reason = await move(messages, from: shard) { return finish(.failed, reason) }
                state.withLock { $0.moved += messages.count }
                if let perSecondMax {
                    await pause(milliseconds: Int64(messages.count) * 1_000 / Int64(max(1, perSecondMax)))
                }
            }
        }
        finish(report.status == .cancelling ? .cancelled : .completed, nil)
    }

    private func finish(_ status: Status, _ reason: String?) {
        state.withLock { report in
            report.status = status
            report.failureReason = reason
        }
    }

    private func receive(from shard: PoolShard) async -> [ReceivedMessage] {
        await withCheckedContinuation { continuation in
            shard.shard.receive(ReceiveCommand(limit: 10, visibilitySeconds: 60)) { result in
                continuation.resume(returning: (try? result.get()) ?? [])
            }
        }
    }

    /// - Returns: why it failed, or `nil`.
    private func move(_ messages: [ReceivedMessage], from shard: PoolShard) async -> String? {
        var rest = messages[...]
        while let first = rest.first {
            guard let target = target(of: first) else { return "AWS.SimpleQueueService.NonExistentQueue" }
            let run = rest.prefix { self.target(of: $0) === target }
            rest = rest.dropFirst(run.count)
            let isStored = await withCheckedContinuation { continuation in
                target.send(run.map { $0.redriven() }) { results in
                    continuation.resume(returning: results.allSatisfy { (try? $0.get()) != nil })
                }
            }
            guard isStored else { return "InternalError" }
        }
        let outcomes = await withCheckedContinuation { continuation in
            shard.shard.delete(messages.map(\.handle)) { continuation.resume(returning: $0) }
        }
        let isDeleted = outcomes.allSatisfy { if case .deleted = $0 { true } else { false } }
        return isDeleted ? nil : "InternalError"
    }

    private func target(of message: ReceivedMessage) -> Pool? {
        destination ?? message.withView { $0.origin }.flatMap { home($0.messageID.shard) }
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
                attributes: view.attributes, systemAttributes: view.systemAttributes, bodyMD5: view.bodyMD5)
            return OutgoingMessage(record: record, groupHash: XXHash64.hash(view.group))
        }
    }
}
