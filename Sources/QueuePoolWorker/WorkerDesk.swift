// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

/// The scheduler behind its lock, and where its effects go.
final class WorkerDesk: Sendable {
    private let scheduler: Mutex<GroupScheduler>
    private let mailbox: EffectMailbox

    init(_ scheduler: GroupScheduler, _ mailbox: EffectMailbox) {
        self.scheduler = Mutex(scheduler)
        self.mailbox = mailbox
    }

    func handle(_ event: (inout GroupScheduler) -> [GroupScheduler.Effect]) {
        // Posted under the lock, so that effects are read in the order in which they were decided.
        scheduler.withLock { mailbox.post(event(&$0)) }
    }

    func nextAttempt(at message: WorkMessage) -> Timestamp? { scheduler.withLock { $0.nextAttempt(at: message) } }

    var figures: SchedulerFigures { scheduler.withLock { $0.figures } }

    var totals: WorkerTotals {
        scheduler.withLock {
            WorkerTotals(
                delivered: $0.deliveredCount, lapsed: $0.lapsedCount, deadLettered: $0.deadLetterCount,
                failedDeletes: $0.failedDeleteCount, undeleted: $0.undeletedCount)
        }
    }
}

/// What a worker has done so far, in messages.
struct WorkerTotals: Hashable, Sendable {
    var delivered: Int
    /// Their visibility timeout ran out while they were held.
    var lapsed: Int
    var deadLettered: Int
    /// Attempts to delete that failed.
    var failedDeletes: Int
    /// Delivered and not deleted yet.
    var undeleted: Int
}

/// The receives that are out, so that they can be broken off before anything is given back: a long poll would take it
/// again. They are tasks of their own, one a request and always waited for, because they end earlier than their siblings.
final class ReceiveTasks: Sendable {
    private struct Receive {
        let shard: Int
        var task: Task<Void, Never>?
        var isCancelled = false
    }

    private let receives = Mutex<[Int: Receive]>([:])

    /// Notes a receive whose task is about to begin: a wish to break it off may come before that.
    func note(_ number: Int, shard: Int) { receives.withLock { $0[number] = Receive(shard: shard) } }

    /// Performs a receive that was noted.
    func run(_ number: Int, _ body: @escaping @Sendable () async -> Void) async {
        let task = Task { await body() }
        receives.withLock { receives in
            receives[number]?.task = task
            if receives[number]?.isCancelled == true { task.cancel() }
        }
        await task.value
        receives.withLock { $0[number] = nil }
    }

    /// Breaks off those at this shard; `nil`: all.
    func cancel(shard: Int?) {
        let tasks = receives.withLock { receives in
            for (number, receive) in receives where shard == nil || receive.shard == shard {
                receives[number]?.isCancelled = true
            }
            return receives.values.filter(\.isCancelled).compactMap(\.task)
        }
        for task in tasks { task.cancel() }
    }
}

/// Whether the worker was told to stop, and how soon.
final class Stopping: Sendable {
    enum Wish: Int, Comparable, Sendable {
        case none
        /// Deliveries under way may end within the grace period.
        case gracefully
        /// The task was cancelled: give back what is held and end.
        case atOnce

        static func < (a: Wish, b: Wish) -> Bool { a.rawValue < b.rawValue }
    }

    private let state = Mutex((wish: Wish.none, taken: Wish.none))

    func ask(_ wish: Wish) { state.withLock { $0.wish = max($0.wish, wish) } }
    var wish: Wish { state.withLock { $0.wish } }

    /// - Returns: the wish, once for each time that it became more urgent.
    func take() -> Wish? {
        state.withLock { state in
            guard state.wish > state.taken else { return nil }
            state.taken = state.wish
            return state.wish
        }
    }
}

/// Which shards answer, so that a change is logged once.
final class ShardHealth: Sendable {
    private enum State: Hashable {
        case up
        /// What it said, if it does not let the worker in: somebody is at its keys, and looks for the latest.
        case failing(AccessRefusal?)
    }

    private let states: Mutex<[State]>

    init(count: Int) { states = Mutex(Array(repeating: .up, count: count)) }

    /// - Returns: whether it failed before.
    func succeeded(_ shard: Int) -> Bool {
        states.withLock { states in
            defer { states[shard] = .up }
            return states[shard] != .up
        }
    }

    /// - Returns: whether it answered before, or lets the worker in for another reason no more.
    func failed(_ shard: Int, _ error: WorkerQueueError) -> Bool {
        let refusal: AccessRefusal? = if case .notAdmitted(let refusal) = error { refusal } else { nil }
        return states.withLock { states in
            if states[shard] != .up, refusal == nil { return false }
            defer { states[shard] = .failing(refusal) }
            return states[shard] != .failing(refusal)
        }
    }

    /// There are this many shards now; new ones count as answering.
    func grow(to count: Int) {
        states.withLock { $0 += repeatElement(.up, count: max(0, count - $0.count)) }
    }

    func isUp(_ shard: Int) -> Bool { states.withLock { $0[shard] == .up } }
}
