// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

@testable import QueuePoolCore

/// A FIFO queue as far as a worker sees it: a group with a message out is locked, timeouts run out, old handles are refused.
struct SchedulerQueueModel {
    private struct Entry {
        let group: String
        let number: Int
        var receiveCount = 0
        var visibleAt = Timestamp.distantPast
        var id: String { "\(group)-\(number)" }
        var handle: String { "\(id)/\(receiveCount)" }
    }

    let shard: Int
    let visibilityMilliseconds: Int64
    private var entries: [Entry] = []

    var isEmpty: Bool { entries.isEmpty }

    init(shard: Int, groups: Int, messages: Int, visibilityMilliseconds: Int64) {
        self.shard = shard
        self.visibilityMilliseconds = visibilityMilliseconds
        for number in 0..<messages {
            for group in 0..<groups { entries.append(Entry(group: "s\(shard)g\(group)", number: number)) }
        }
    }

    mutating func receive(_ now: Timestamp) -> [WorkMessage] {
        let locked = Set(entries.filter { $0.visibleAt > now }.map(\.group))
        var messages: [WorkMessage] = []
        for place in entries.indices where messages.count < 10 && !locked.contains(entries[place].group) {
            entries[place].receiveCount += 1
            entries[place].visibleAt = now + visibilityMilliseconds
            let entry = entries[place]
            messages.append(
                WorkMessage(
                    id: entry.id, handle: entry.handle, group: entry.group, shard: shard,
                    receiveCount: entry.receiveCount))
        }
        return messages
    }

    /// - Returns: those that were not held any more.
    mutating func delete(_ messages: [WorkMessage], _ now: Timestamp) -> [WorkMessage] {
        messages.filter { message in
            guard let place = held(message, now) else { return true }
            entries.remove(at: place)
            return false
        }
    }

    /// - Returns: those that were not held any more.
    mutating func change(_ messages: [WorkMessage], to milliseconds: Int64, _ now: Timestamp) -> [WorkMessage] {
        messages.filter { message in
            guard let place = held(message, now) else { return true }
            entries[place].visibleAt = now + milliseconds
            return false
        }
    }

    private func held(_ message: WorkMessage, _ now: Timestamp) -> Int? {
        entries.firstIndex { $0.id == message.id && $0.handle == message.handle && $0.visibleAt > now }
    }

    /// Whether it is there, and nothing of its group before it.
    func isNext(_ message: WorkMessage) -> Bool { entries.first { $0.group == message.group }?.id == message.id }
}
