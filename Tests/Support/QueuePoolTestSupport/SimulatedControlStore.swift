// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// What is stored outlives the programs that use it: a simulation keeps one `SimulatedControlStore` and gives each program
// that it starts a handle of its own. Calls answer at once, so no virtual time passes within them. Which of them fail, and
// how, is drawn from one seeded generator in the order of the calls. Reads are never stale: the port allows none.

/// How often, in percent, what goes wrong.
package struct ControlFaults: Hashable, Sendable {
    /// Another writer was first, with a write that changes nothing but the version.
    package var conflicts = 0
    /// The store failed before a write was done.
    package var failuresBefore = 0
    /// The write was done, and its answer was lost.
    package var lostAnswers = 0
    /// A read failed.
    package var failedReads = 0

    package init() {}

    /// Everything, and not so often that nothing is ever done.
    package static var all: ControlFaults {
        var faults = ControlFaults()
        faults.conflicts = 10
        faults.failuresBefore = 10
        faults.lostAnswers = 10
        faults.failedReads = 5
        return faults
    }
}

/// A control store in memory whose calls fail by a seed. Versions and revisions are counted as SQLite's.
package final class SimulatedControlStore: ControlStore {
    /// How often each fault happened.
    package struct Counts: Hashable, Sendable {
        package var conflicts = 0
        package var failuresBefore = 0
        package var lostAnswers = 0
        package var failedReads = 0

        package init() {}
    }

    private struct State {
        var pools: [String: PoolDefinition] = [:]
        var unreadable: Set<String> = []
        var directories: [String: String] = [:]
        /// Removals by name.
        var removals: [String: Int] = [:]
        var revision = 0
        var faults: ControlFaults
        var random: SplitMix64
        var counts = Counts()
    }

    private let state: Mutex<State>

    /// An empty store.
    package init(seed: UInt64 = 0, faults: ControlFaults = ControlFaults()) {
        state = Mutex(State(faults: faults, random: SplitMix64(seed: seed)))
    }

    // MARK: - The simulation's side

    package var counts: Counts { state.withLock { $0.counts } }

    /// From now on calls fail as often as this.
    package func setFaults(_ faults: ControlFaults) { state.withLock { $0.faults = faults } }

    /// What is stored under a name does not parse any more, or does again.
    package func spoil(_ name: PoolName, _ isSpoilt: Bool = true) {
        state.withLock { state in
            if isSpoilt { state.unreadable.insert(name.text) } else { state.unreadable.remove(name.text) }
            state.revision += 1
        }
    }

    /// What is stored, whether or not it could be read, for who judges; sorted by name.
    package var truth: [PoolDefinition] {
        state.withLock { $0.pools.values.sorted { $0.name.text < $1.name.text } }
    }

    /// Whether a pool is stored, and how often one of its name was removed: what a lease store in the same place knows.
    func life(of name: PoolName) -> (isStored: Bool, removals: Int) {
        state.withLock { ($0.pools[name.text] != nil, $0.removals[name.text] ?? 0) }
    }

    // MARK: - The port

    package func revision() throws(ControlStoreError) -> Int { try read().revision }

    package func contents() throws(ControlStoreError) -> StoredPools {
        let stored = try read()
        return StoredPools(
            pools: stored.pools.values.filter { !stored.unreadable.contains($0.name.text) }
                .sorted { $0.name.text < $1.name.text },
            unreadable: stored.unreadable.filter { stored.pools[$0] != nil }.sorted())
    }

    package func pool(_ name: PoolName) throws(ControlStoreError) -> PoolDefinition? {
        let stored = try read()
        guard let pool = stored.pools[name.text] else { return nil }
        if stored.unreadable.contains(name.text) { throw .damaged(pool: name.text) }
        return pool
    }

    package func save(_ pool: PoolDefinition) throws(ControlStoreError) -> Int {
        let name = pool.name.text
        return try write(name) { state in
            guard state.pools[name]?.version ?? 0 == pool.version else { return .failure(.conflict(pool: name)) }
            var next = pool
            next.version += 1
            state.pools[name] = next
            state.unreadable.remove(name)
            state.revision += 1
            return .success(next.version)
        }
    }

    package func remove(_ pool: PoolDefinition) throws(ControlStoreError) {
        let name = pool.name.text
        try write(name) { state in
            guard let stored = state.pools[name] else { return .success(()) }
            guard (stored.version, stored.createdAt) == (pool.version, pool.createdAt) else {
                return .failure(.conflict(pool: name))
            }
            state.pools[name] = nil
            state.removals[name, default: 0] += 1
            state.unreadable.remove(name)
            state.revision += 1
            return .success(())
        }
    }

    package func directory(_ id: String) throws(ControlStoreError) -> String? { try read().directories[id] }

    package func record(directory id: String, path: String) throws(ControlStoreError) {
        try write("") { state in
            state.directories[id] = path
            return .success(())
        }
    }

    // MARK: - Faults

    private static let failure = ControlStoreError.service(code: "simulated", isRetryable: true)

    private func read() throws(ControlStoreError) -> State {
        let result: Result<State, ControlStoreError> = state.withLock { state in
            guard !state.random.chance(state.faults.failedReads) else {
                state.counts.failedReads += 1
                return .failure(SimulatedControlStore.failure)
            }
            return .success(state)
        }
        return try result.get()
    }

    private func write<R: Sendable>(
        _ name: String, _ body: (inout State) -> Result<R, ControlStoreError>
    ) throws(ControlStoreError) -> R {
        let result: Result<R, ControlStoreError> = state.withLock { state in
            if state.random.chance(state.faults.failuresBefore) {
                state.counts.failuresBefore += 1
                return .failure(SimulatedControlStore.failure)
            }
            // The other writer's write is one that the port allows, so whoever was beaten can tell it from nothing.
            if state.random.chance(state.faults.conflicts), state.pools[name] != nil {
                state.counts.conflicts += 1
                state.pools[name]?.version += 1
                state.revision += 1
            }
            let result = body(&state)
            guard case .success = result, state.random.chance(state.faults.lostAnswers) else { return result }
            state.counts.lostAnswers += 1
            return .failure(SimulatedControlStore.failure)
        }
        return try result.get()
    }
}
