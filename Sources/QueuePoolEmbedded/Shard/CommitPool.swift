// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Dispatch
import QueuePoolCore
import Synchronization

// A few threads commit for all shards. A shard with work stands in line, once; a free thread takes the shard in front,
// gives it one turn, and puts it back at the end if more has gathered. A sleeping thread is woken only when the awake
// ones wait for the disk: waking one costs as much as a commit's work, and one that runs will come to the shard soon. So
// under load hardly anybody is woken; shards that wait in line gather more, which makes commits fewer and larger; and
// with little load nobody waits. Files flushed side by side share the disk's latency up to a few of them, beyond that
// they only cost processor time: hence a few threads and not one a shard. Source: measurements under benchmarks/.

/// The threads that write shards' files.
package final class CommitPool: Sendable {
    /// Flushes side by side; more of them only make commits smaller.
    package static let widthDefault = 3
    /// Half of the processors write; the other half reads requests and writes answers.
    package static var runningMaxDefault: Int { max(1, SystemThread.processorCount / 2) }
    private static let tickMilliseconds = 1_000

    private struct State {
        var ready: Deque<ShardWriter> = []
        var sleeping = 0
        /// Threads that neither sleep nor wait for a disk.
        var running = 0

        var members: [ObjectIdentifier: ShardWriter] = [:]
        var tickedAt = DispatchTime.now()

        /// Whether a sleeping thread should be woken for a shard in line: not if one that runs will come to it soon.
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

    /// Starts the threads; they live as long as the process.
    /// - Parameters:
    ///   - width: shards that are committed side by side, most of them waiting for the disk.
    ///   - runningMax: threads that may use a processor before another one is woken.
    package init(width: Int = widthDefault, runningMax: Int = runningMaxDefault) {
        self.runningMax = runningMax
        for _ in 0..<max(1, width) {
            state.withLock { $0.running += 1 }
            if !SystemThread.start({ self.run() }) { state.withLock { $0.running -= 1 } }
        }
    }

    /// Takes a shard in: from now on it gets a turn at least every second, for what is due by time.
    func add(_ writer: ShardWriter) { state.withLock { $0.members[ObjectIdentifier(writer)] = writer } }

    func remove(_ writer: ShardWriter) { state.withLock { $0.members[ObjectIdentifier(writer)] = nil } }

    /// Puts a shard in line. The caller sees to it that it stands there once.
    func schedule(_ writer: ShardWriter) {
        let mustWake = state.withLock { state in
            state.ready.append(writer)
            return state.mustWake(runningMax)
        }
        if mustWake { wake.signal() }
    }

    /// Runs what waits for the disk; another thread may take the processor meanwhile.
    func waiting<E>(_ body: () throws(E) -> Void) throws(E) {
        let mustWake = state.withLock { state in
            state.running -= 1
            return state.mustWake(runningMax)
        }
        if mustWake { wake.signal() }
        defer { state.withLock { $0.running += 1 } }
        try body()
    }

    private func run() {
        while true {
            for writer in dueMembers() { writer.poke() }
            let writer = state.withLock { state -> ShardWriter? in
                if let first = state.ready.popFirst() { return first }
                state.sleeping += 1
                state.running -= 1
                return nil
            }
            if let writer { writer.turn() } else { sleep() }
        }
    }

    private func sleep() {
        let timeout = DispatchTime.now() + .milliseconds(CommitPool.tickMilliseconds)
        guard wake.wait(timeout: timeout) == .timedOut else { return }
        let isSignalled = state.withLock { state in
            guard state.sleeping > 0 else { return true }
            state.sleeping -= 1
            state.running += 1
            return false
        }
        // Somebody counted this thread as woken between the timeout and the lock.
        if isSignalled { wake.wait() }
    }

    private func dueMembers() -> [ShardWriter] {
        let now = DispatchTime.now()
        return state.withLock { state in
            guard now >= state.tickedAt + .milliseconds(CommitPool.tickMilliseconds) else { return [] }
            state.tickedAt = now
            return Array(state.members.values)
        }
    }
}
