// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore

/// Tells a checker a history, a millisecond an event. A message's id is its number plus 1,000, and its group is 0,
/// unless the story says otherwise.
struct Story {
    private(set) var checker = PromiseChecker()
    private(set) var now = Timestamp(milliseconds: 1_800_000_000_000)
    private var requests = 0

    var broken: [Promise] { checker.violations.map(\.promise) }
    var texts: [String] { checker.violations.map(\.text) }

    static func id(_ message: Int) -> UInt64 { UInt64(message + 1_000) }

    private mutating func step() { now = now + 1 }

    mutating func wait(milliseconds: Int64) { now = now + milliseconds }

    /// Begins a request and returns its number.
    mutating func begin(_ messages: Int..., group: Int = 0) -> Int {
        begin(entries: messages.map { ($0, group) })
    }

    mutating func begin(entries: [(message: Int, group: Int)]) -> Int {
        step()
        requests += 1
        checker.began(request: requests, entries: entries, now: now)
        return requests
    }

    mutating func accept(
        _ request: Int, _ entry: Int = 0, id message: Int, isDuplicate: Bool = false, shard: Int = 0
    ) {
        step()
        checker.accepted(
            request: request, entry: entry, messageID: Story.id(message), isDuplicate: isDuplicate, shard: shard,
            now: now)
    }

    mutating func refuse(_ request: Int, _ entry: Int = 0, isUnknown: Bool = false) {
        step()
        checker.refused(request: request, entry: entry, isUnknown: isUnknown, now: now)
    }

    /// One request of one message for each, each accepted before the next begins.
    mutating func send(_ messages: Int..., group: Int = 0, shard: Int = 0) {
        for message in messages {
            let request = begin(message, group: group)
            accept(request, id: message, shard: shard)
        }
    }

    mutating func hand(_ message: Int, id: Int? = nil, worker: Int = 0) {
        step()
        checker.handed(message: message, messageID: Story.id(id ?? message), worker: worker, now: now)
    }

    mutating func delete(_ message: Int) {
        step()
        checker.deleted(message: message, now: now)
    }

    mutating func deadLetter(_ message: Int) {
        step()
        checker.deadLettered(message: message, now: now)
    }

    mutating func expire(_ message: Int) {
        step()
        checker.expired(message: message, now: now)
    }

    /// Hands and deletes, one after another.
    mutating func deliver(_ messages: Int..., worker: Int = 0) {
        for message in messages {
            hand(message, worker: worker)
            delete(message)
        }
    }

    mutating func remove(_ message: Int) { checker.removed(message: message, now: now) }
    mutating func redrive(_ message: Int) { checker.redriven(message: message, now: now) }
    mutating func lapse(_ message: Int) { checker.lapsed(message: message) }
    mutating func end(worker: Int) { checker.workerEnded(worker) }
    mutating func changeEpoch() { checker.epochChanged() }
    mutating func stopFaults() { checker.faultsStopped(now: now) }

    mutating func finish(stillQueued: Set<Int> = []) {
        step()
        checker.finish(now: now, stillQueued: stillQueued)
    }
}
