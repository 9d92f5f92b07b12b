// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Decides what is written to the audit log together, and when. Guarantees:
// - Whoever waits for an entry is told that it is kept only after a write of it succeeded, and hears of it once.
// - A refusal is written within `delayMilliseconds` of its arrival, or with the next entry that somebody waits for.
// - A flood of refusals holds a bounded number of them, and writes no more than that in each delay; how many were left
//   out is written.
// - Requests over a limit of a key are one entry for each limit and write, with their count, so that a key which is over
//   it all the time takes no room from refusals of others.
// - Entries are written in the order of their arrival, but for refusals whose write failed, which come again later.

/// What waits to be written.
public struct AuditQueue<Waiter: Sendable>: Sendable {
    /// A refusal waits no longer.
    public static var delayMilliseconds: Int64 { 1_000 }
    /// Refusals that are held.
    public static var refusalsMax: Int { 1_000 }
    /// Entries that somebody waits for, while a write does not end.
    public static var waitersMax: Int { 1_000 }

    fileprivate struct Waiting {
        var entry: AuditEntry
        let waiter: Waiter?
    }

    /// What one write holds.
    public struct Batch: Sendable {
        fileprivate let waiting: [Waiting]
        /// Refusals that were left out since the last write that succeeded.
        public let leftOut: Int
        public let time: Timestamp

        /// In their order.
        public var entries: [AuditEntry] { waiting.map(\.entry) }
        /// Who is told how the write ended.
        public var waiters: [Waiter] { waiting.compactMap(\.waiter) }
    }

    /// What to do next.
    public enum Step: Sendable {
        case write(Batch)
        /// Nothing before this much time has passed, unless something arrives; `nil` is for ever.
        case wait(milliseconds: Int64?)
    }

    /// A key and the limit that it is over.
    private struct Excess: Hashable, Sendable {
        let caller: String?
        let limit: CallerLimit

        init?(_ entry: AuditEntry) {
            guard case .overLimit(let limit) = entry.outcome else { return nil }
            (caller, self.limit) = (entry.caller, limit)
        }
    }

    private var waiting: [Waiting] = []
    /// Places in `waiting`.
    private var excesses: [Excess: Int] = [:]
    private var waiters = 0
    private var leftOut = 0
    /// Refusals that were left out so far.
    public private(set) var leftOutTotal = 0
    /// When the oldest refusal has to be written.
    private var due: Timestamp?

    public init() {}

    /// Refusals that are held.
    public var refusals: Int { waiting.count - waiters }

    /// Takes an entry that somebody waits for.
    /// - Returns: whether there is room; else nobody will be told anything.
    public mutating func add(_ entry: AuditEntry, waiter: Waiter) -> Bool {
        guard waiters < AuditQueue.waitersMax else { return false }
        waiters += 1
        waiting.append(Waiting(entry: entry, waiter: waiter))
        return true
    }

    /// Takes a refusal, or counts it as left out.
    public mutating func add(_ entry: AuditEntry, now: Timestamp) {
        if due == nil { due = now + AuditQueue.delayMilliseconds }
        let excess = Excess(entry)
        if let place = excess.flatMap({ excesses[$0] }), waiting[place].entry.takeIn(entry) { return }
        guard refusals < AuditQueue.refusalsMax else {
            leftOut += 1
            leftOutTotal += 1
            return
        }
        if let excess { excesses[excess] = waiting.count }
        waiting.append(Waiting(entry: entry, waiter: nil))
    }

    /// - Parameter isEnding: everything is written now, because there is no later.
    public mutating func next(now: Timestamp, isEnding: Bool = false) -> Step {
        guard !waiting.isEmpty || leftOut > 0 else { return .wait(milliseconds: nil) }
        let wait = due.map { max(0, $0 - now) }
        // A flood whose refusals went out with an admin action's entry waits for its own turn again.
        guard waiters > 0 || isEnding || wait == 0 else { return .wait(milliseconds: wait) }
        let batch = Batch(waiting: waiting, leftOut: leftOut, time: now)
        waiting = []
        excesses = [:]
        waiters = 0
        leftOut = 0
        due = nil
        return .write(batch)
    }

    /// Takes a batch back whose write failed. Its waiters are told by the caller; its refusals are tried again later.
    public mutating func returnRefusals(of batch: Batch, now: Timestamp) {
        let back = batch.waiting.filter { $0.waiter == nil }
        let kept = back.prefix(max(0, AuditQueue.refusalsMax - refusals))
        let dropped = back[kept.endIndex...].reduce(0) { $0 + $1.entry.count }
        leftOut += batch.leftOut + dropped
        leftOutTotal += dropped
        waiting.insert(contentsOf: kept, at: 0)
        excesses = excesses.mapValues { $0 + kept.count }
        if !waiting.isEmpty || leftOut > 0 { due = due ?? now + AuditQueue.delayMilliseconds }
    }
}
