// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// A queue of the program that uses this library, as the worker knows queues.
struct MessageQueueAdapter<Queue: MessageQueue>: WorkerQueue {
    private typealias Unfinished = (lost: [WorkMessage], failed: [WorkMessage])

    let queue: Queue

    func shards(ofPool pool: String) async throws(WorkerQueueError) -> [WorkerShard] {
        let names = try await call { try await queue.shards() }
        guard !names.isEmpty else { throw .unreachable("there are no shards yet") }
        return names.enumerated().map { WorkerShard(index: ShardIndex($0.offset), name: $0.element) }
    }

    func receive(
        from queue: String, visibilitySeconds: Int, waitSeconds: Int
    ) async throws(WorkerQueueError) -> [WorkMessage] {
        let received = try await call {
            try await self.queue.receive(
                from: queue, visibilitySeconds: visibilitySeconds, waitSeconds: waitSeconds)
        }
        return received.map { message in
            var held = WorkMessage(
                id: message.id, handle: message.handle, group: message.group, body: message.body,
                attributes: Message.Attribute.list(message.attributes), receiveCount: max(1, message.receiveCount))
            held.millisecondsSinceFirstReceive = message.timeSinceFirstReceive.map(MessageQueueAdapter.milliseconds)
            return held
        }
    }

    func delete(
        _ messages: [WorkMessage], from queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let handles = messages.map(\.handle)
        return MessageQueueAdapter.sorted(
            messages, try await call { try await self.queue.delete(handles, from: queue) })
    }

    func changeVisibility(
        _ messages: [WorkMessage], seconds: Int, in queue: String
    ) async throws(WorkerQueueError) -> (lost: [WorkMessage], failed: [WorkMessage]) {
        let handles = messages.map(\.handle)
        return MessageQueueAdapter.sorted(
            messages,
            try await call { try await self.queue.changeVisibility(handles, seconds: seconds, in: queue) })
    }

    func send(
        _ message: WorkMessage, attributes: [MessageAttribute], deduplicationID: String, to queue: String
    ) async throws(WorkerQueueError) {
        let letter = DeadLetter(
            id: message.id, group: message.group, body: message.body,
            attributes: Message.Attribute.byName(attributes), deduplicationID: deduplicationID,
            shard: message.shardName)
        try await call { try await self.queue.sendToDeadLetters(letter) }
    }

    // MARK: - Parts

    private func call<Value>(_ body: () async throws -> Value) async throws(WorkerQueueError) -> Value {
        do { return try await body() } catch { throw .unreachable(ErrorClass.of(error)) }
    }

    /// A message of which nothing was said counts as failed: its request is made again.
    private static func sorted(_ messages: [WorkMessage], _ outcomes: [QueueOutcome]) -> Unfinished {
        var unfinished: Unfinished = ([], [])
        for (place, message) in messages.enumerated() {
            switch place < outcomes.count ? outcomes[place] : .failed {
            case .done: break
            case .lost: unfinished.lost.append(message)
            case .failed: unfinished.failed.append(message)
            }
        }
        return unfinished
    }

    /// A hundred years bound it: the worker counts back from its clock.
    private static func milliseconds(_ duration: Duration) -> Int64 {
        let seconds = min(max(0, duration.components.seconds), 100 * 366 * 86_400)
        return seconds * 1_000 + max(0, duration.components.attoseconds) / 1_000_000_000_000_000
    }
}
