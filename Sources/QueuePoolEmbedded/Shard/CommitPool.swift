// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Dispatch
package import QueuePoolCore
import Synchronization

// A few threads commit for all stores. A store with work stands in line, once; a free thread takes the store in front,
// gives it one turn, and puts it back at the end if more has gathered. A sleeping thread is woken only when the awake
// ones wait for the disk: waking one costs as much as a commit's work, and one that runs will come to the store soon. So
// under load hardly anybody is woken; stores that wait in line gather more, which makes commits fewer and larger; and
// with little load nobody waits. Source: measurements under benchmarks/.

/// The threads that write the stores.
package final class CommitPool: CommitLine {
    /// Stores written side by side.
    package static let widthDefault = max(2, EmbeddedShardOptions.storeCountDefault)
    /// Half of the processors write; the other half reads requests and writes answers.
    package static var runningMaxDefault: Int { max(1, SystemThread.processorCount / 2) }
    private static let tickMilliseconds: Int64 = 1_000

    private struct State {
        var ready: Deque<Store> = []
        var sleeping = 0
        /// Threads that neither sleep nor wait for a disk.
        var running = 0

        var members: [ObjectIdentifier: Store] = [:]

        /// Whether a sleeping thread should be woken for a store in line: not if one that runs will come to it soon.
        mutating func mustWake(_ runningMax: Int) -> Bool {
            guard sleeping > 0, running < runningMax, !ready.isEmpty else { return false }
            sleeping -= 1
            running += 1
            return true
        }
    }

    private let runningMax: Int
    private let state = Mutex(State())
    private let wake = DispatchSemaphore(value: 0)
    private let clock: any Clock
    private let tickNumber = Atomic(0)

    var tickCount: Int { tickNumber.load(ordering: .relaxed) }

    /// Starts the threads; they live as long as the process.
    /// - Parameters:
    ///   - width: stores that are committed side by side, most of them waiting for the disk.
    ///   - runningMax: threads that may use a processor before another one is woken.
    ///   - clock: counts the seconds.
    package init(width: Int = widthDefault, runningMax: Int = runningMaxDefault, clock: any Clock) {
        self.runningMax = runningMax
        self.clock = clock
        for _ in 0..<max(1, width) {
            state.withLock { $0.running += 1 }
            if !SystemThread.start({ self.run() }) { state.withLock { $0.running -= 1 } }
        }
        tick()
    }

    func add(_ store: Store) { state.withLock { $0.members[ObjectIdentifier(store)] = store } }

    func remove(_ store: Store) { state.withLock { $0.members[ObjectIdentifier(store)] = nil } }

    func schedule(_ store: Store) {
        let mustWake = state.withLock { state in
            state.ready.append(store)
            return state.mustWake(runningMax)
        }
        if mustWake { wake.signal() }
    }

    func beginWaiting() {
        let mustWake = state.withLock { state in
            state.running -= 1
            return state.mustWake(runningMax)
        }
        if mustWake { wake.signal() }
    }

    func endWaiting() { state.withLock { $0.running += 1 } }

    func wait(until isDone: DispatchSemaphore) { isDone.wait() }

    private func run() {
        while true {
            let store = state.withLock { state -> Store? in
                if let first = state.ready.popFirst() { return first }
                state.sleeping += 1
                state.running -= 1
                return nil
            }
            if let store { store.turn() } else { wake.wait() }
        }
    }

    /// Gives every store a turn now and then. By the clock: a thread that waits with a timeout waits by the wall clock, and
    /// for hours when that is set back.
    private func tick() {
        clock.schedule(afterMilliseconds: CommitPool.tickMilliseconds) { [weak self] in
            guard let self else { return }
            tickNumber.wrappingAdd(1, ordering: .relaxed)
            for store in state.withLock({ Array($0.members.values) }) { store.pokeAll() }
            tick()
        }
    }
}
