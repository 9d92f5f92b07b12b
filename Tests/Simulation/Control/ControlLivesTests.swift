// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Testing

/// Two programs over one control store that fails: what they do at random, and what must be true in the end.
private struct ControlLife {
    private let store: SimulatedControlStore
    private let clock = ManualClock()
    private let shards = [IdleShards(), IdleShards()]
    private let registries: [PoolRegistry]
    private let names: [PoolName]
    private var random: SplitMix64
    /// Pools whose creation was accepted and that nobody tried to remove since.
    private var promised: Set<String> = []
    private(set) var counts = SimulatedControlStore.Counts()
    private(set) var adoptions = 0

    init(seed: UInt64) throws {
        random = SplitMix64(seed: seed)
        let store = SimulatedControlStore(seed: random.next(), faults: .all)
        let clock = self.clock
        self.store = store
        registries = shards.map { shards in
            PoolRegistry(
                store: store, factories: [.embedded: shards], options: PoolOptions(), clock: clock,
                meaning: { _ in QueueAttributes() })
        }
        names = try ["a", "b", "c", "d"].map { try #require(PoolName($0 + ".fifo")) }
    }

    mutating func run(steps: Int) {
        for _ in 0..<steps { step() }
        counts = store.counts
    }

    private mutating func step() {
        // Times of making tell pools of one name apart.
        clock.advance(milliseconds: 1 + random.below(200))
        let registry = registries[random.below(2)]
        let name = names[random.below(names.count)]
        switch random.below(10) {
        case 0..<3:
            let made = try? registry.create(name, shards: 1 + random.below(2), attributes: "")
            if made != nil { promised.insert(name.text) }
        case 3: remove(name, registry)
        case 4: change(name, registry) { $0.tags["t", default: ""] += "x" }
        case 5:
            change(name, registry) { $0.topology = try $0.topology.adding(name: name.shardName($0.topology.nextIndex)) }
        case 6:
            let place = random.below(8)
            change(name, registry) { pool in
                let entries = pool.topology.shards
                pool.topology = try pool.topology.removing(entries[place % entries.count].index)
            }
        default:
            let before = registry.pool(name.text)?.snapshot.topology
            try? registry.refresh()
            if let before, let after = registry.pool(name.text)?.snapshot.topology, before != after { adoptions += 1 }
        }
    }

    private func change(
        _ name: PoolName, _ registry: PoolRegistry, _ change: (inout PoolDefinition) throws -> Void
    ) {
        guard let pool = registry.pool(name.text) else { return }
        try? registry.update(pool, change)
    }

    private mutating func remove(_ name: PoolName, _ registry: PoolRegistry) {
        guard let pool = registry.pool(name.text) else { return }
        // Whatever is answered, it may be gone from now on.
        promised.remove(name.text)
        try? registry.remove(pool)
    }

    /// Lets the store work, both programs look, and judges.
    func findings() -> [String] {
        store.setFaults(ControlFaults())
        var findings: [String] = []
        for _ in 0..<2 {
            for registry in registries {
                do { try registry.refresh() } catch { findings.append("a look failed without a fault: \(error)") }
            }
        }
        let truth = store.truth
        for name in promised.sorted() where !truth.contains(where: { $0.name.text == name }) {
            findings.append("the creation of \(name) was accepted, and it is gone")
        }
        for (number, (registry, shards)) in zip(registries, shards).enumerated() {
            let held = registry.pools
            if held.map(\.snapshot.definition) != truth {
                findings.append("program \(number) has other pools than the store")
            }
            for pool in held {
                if pool.router.topology != pool.snapshot.topology {
                    findings.append("program \(number) sends by another topology of \(pool.name.text) than it shows")
                }
            }
            let missing = Set(truth.flatMap { $0.topology.shards.map(\.name) }).subtracting(shards.open)
            if !missing.isEmpty { findings.append("program \(number) has not open: \(missing.sorted())") }
            registry.close()
            if !shards.open.isEmpty { findings.append("program \(number) left open: \(shards.open.sorted())") }
            findings += shards.findings.map { "program \(number): \($0)" }
        }
        return findings
    }
}

@Suite(.timeLimit(.minutes(3))) struct `Programs that share a control store that fails` {
    @Test(arguments: SplitMix64.seeds(200)) func `agree with it in the end, and lose nothing`(seed: UInt64) throws {
        var life = try ControlLife(seed: seed)
        life.run(steps: 40)
        #expect(life.findings().isEmpty, "seed \(seed)")
    }

    @Test func `met every fault, and took over topologies`() throws {
        var sum = SimulatedControlStore.Counts()
        var adoptions = 0
        for seed in SplitMix64.seeds(40) {
            var life = try ControlLife(seed: seed)
            life.run(steps: 40)
            _ = life.findings()
            sum.conflicts += life.counts.conflicts
            sum.failuresBefore += life.counts.failuresBefore
            sum.lostAnswers += life.counts.lostAnswers
            sum.failedReads += life.counts.failedReads
            adoptions += life.adoptions
        }
        #expect(min(sum.conflicts, sum.failuresBefore, sum.lostAnswers, sum.failedReads) > 5)
        #expect(adoptions > 5)
    }
}
