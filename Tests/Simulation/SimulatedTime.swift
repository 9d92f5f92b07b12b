// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HeapModule
import QueuePoolCore

// One thread runs a world: whatever happens is an event of this queue, carried out at its time, in the order in which
// events of the same time were scheduled. So a seed replays a run exactly.

/// The time that is true everywhere, and what will happen.
/// - Important: used by one thread, like everything in a world. That is what makes it and the classes beside it Sendable.
final class SimulatedTime: @unchecked Sendable {
    private struct Event: Comparable {
        let at: Timestamp
        let number: Int
        /// `nil`: nobody's, so nothing can stop it.
        let host: Host?
        let life: Int
        let body: @Sendable () -> Void

        static func < (a: Event, b: Event) -> Bool { a.at == b.at ? a.number < b.number : a.at < b.at }
        static func == (a: Event, b: Event) -> Bool { a.number == b.number }
    }

    static let start = Timestamp(milliseconds: 1_800_000_000_000)

    private(set) var now = SimulatedTime.start
    private(set) var steps = 0
    private var events = Heap<Event>()
    private var nextNumber = 0

    /// When the next event is due.
    var nextAt: Timestamp? { events.min?.at }

    /// - Parameter host: the process that carries it out; while that is paused it waits, and when it ends it is forgotten.
    func schedule(at time: Timestamp, on host: Host? = nil, _ body: @escaping @Sendable () -> Void) {
        events.insert(Event(at: max(time, now), number: nextNumber, host: host, life: host?.life ?? 0, body: body))
        nextNumber += 1
    }

    func schedule(after milliseconds: Int64, on host: Host? = nil, _ body: @escaping @Sendable () -> Void) {
        schedule(at: now + milliseconds, on: host, body)
    }

    /// Carries out the next event.
    /// - Returns: `false` if there is none.
    func step() -> Bool {
        while let event = events.popMin() {
            if let host = event.host {
                guard host.isAlive, host.life == event.life else { continue }
                if host.pausedUntil > event.at {
                    let number = nextNumber
                    nextNumber += 1
                    events.insert(
                        Event(at: host.pausedUntil, number: number, host: host, life: event.life, body: event.body))
                    continue
                }
            }
            now = event.at
            steps += 1
            event.body()
            return true
        }
        return false
    }
}

/// A process on a machine with a clock of its own. It can pause, end at any event, and start again.
final class Host: Clock, @unchecked Sendable {
    let name: StaticString
    let number: Int
    let time: SimulatedTime
    /// Counts the starts.
    private(set) var life = 1
    private(set) var isAlive = true
    private(set) var pausedUntil = Timestamp.distantPast
    /// How much faster its clock runs, in millionths.
    var driftPerMillion: Int64 = 0
    /// What the clock is ahead by since its start; set anew when the process starts, from a wall clock that may have jumped.
    private var offset: Int64
    private var startedAt: Timestamp
    private var lastNow = Timestamp.distantPast

    init(_ name: StaticString, _ number: Int, _ time: SimulatedTime, offset: Int64 = 0) {
        self.name = name
        self.number = number
        self.time = time
        self.offset = offset
        startedAt = time.now
    }

    // MARK: - Clock

    func now() -> Timestamp {
        let elapsed = time.now - startedAt
        lastNow = max(lastNow, time.now + offset + elapsed * driftPerMillion / 1_000_000)
        return lastNow
    }

    func wallTime() -> Timestamp { now() }

    func schedule(at deadline: Timestamp, _ body: @escaping @Sendable () -> Void) {
        let wait = max(0, deadline - now())
        // Rounded up, so that the clock shows the time that was asked for.
        let span = driftPerMillion == 0 ? wait : wait * 1_000_000 / (1_000_000 + driftPerMillion) + 1
        time.schedule(after: span, on: self, body)
    }

    // MARK: - Life

    /// What was scheduled for it happens when it goes on.
    func pause(milliseconds: Int64) { pausedUntil = max(pausedUntil, time.now + milliseconds) }

    /// Ends it: nothing that was scheduled for it happens any more.
    func crash() {
        isAlive = false
        pausedUntil = .distantPast
    }

    /// - Parameter offset: what its clock is ahead by now.
    func start(offset: Int64) {
        life += 1
        isAlive = true
        self.offset = offset
        startedAt = time.now
        lastNow = .distantPast
    }
}
