// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolRuntime
import Synchronization
import Testing

@Suite("How many pools and shards there may be")
struct RegistryLimitsTests {
    private let stage = RegistryStage()

    private func registry(pools: Int = 1_000, shards: Int = 1_024) -> PoolRegistry {
        var options = PoolOptions()
        options.poolsMax = pools
        options.shardsMax = shards
        return stage.registry(options: options)
    }

    private func refusal(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "none"
        } catch { return "\(error)" }
    }

    @Test func `a pool beyond the limit of pools is refused and leaves nothing`() throws {
        let registry = registry(pools: 2)
        _ = try registry.create(try stage.name("a.fifo"), shards: 1, attributes: "")
        let kept = try registry.create(try stage.name("b.fifo"), shards: 1, attributes: "")
        #expect(
            refusal { _ = try registry.create(try stage.name("c.fifo"), shards: 1, attributes: "") }
                == "tooManyPools(asked: 1, left: 0)")
        #expect(stage.store.stored("c.fifo") == nil && !stage.shards.files.contains("c-0000.fifo"))
        try registry.remove(kept)
        _ = try registry.create(try stage.name("c.fifo"), shards: 1, attributes: "")
    }

    @Test func `shards of all pools count together`() throws {
        let registry = registry(shards: 5)
        _ = try registry.create(try stage.name("a.fifo"), shards: 3, attributes: "")
        #expect(
            refusal { _ = try registry.create(try stage.name("b.fifo"), shards: 3, attributes: "") }
                == "tooManyShards(asked: 3, left: 2)")
        _ = try registry.create(try stage.name("b.fifo"), shards: 2, attributes: "")
        #expect(registry.room == PoolRoom(pools: 998, shards: 0))
    }

    @Test func `a pool that is refused leaves no dead-letter queue`() throws {
        let registry = registry(shards: 4)
        let draft = DeadLetterQueueDraft(name: "emails-dlq.fifo", attributes: "")
        #expect(
            refusal {
                _ = try registry.create(try stage.name(), shards: 4, attributes: "", deadLetterQueue: draft)
            } == "tooManyShards(asked: 5, left: 4)")
        #expect(registry.pools.isEmpty && stage.shards.files.isEmpty)
        _ = try registry.create(try stage.name(), shards: 3, attributes: "", deadLetterQueue: draft)
        #expect(registry.pools.map(\.name.text) == ["emails-dlq.fifo", "emails.fifo"])
    }

    @Test func `a dead-letter queue that is there is taken as it is`() throws {
        let registry = registry(shards: 3)
        let dlq = try registry.create(try stage.name("emails-dlq.fifo"), shards: 1, attributes: "")
        let draft = DeadLetterQueueDraft(name: "emails-dlq.fifo", attributes: "")
        _ = try registry.create(try stage.name(), shards: 2, attributes: "", deadLetterQueue: draft)
        #expect(registry.pool("emails-dlq.fifo") === dlq)
    }

    @Test func `creations side by side do not pass the limit together`() throws {
        let registry = registry(shards: 10)
        let made = Atomic(0)
        let names = try (0..<16).map { try stage.name("p\($0).fifo") }
        DispatchQueue.concurrentPerform(iterations: names.count) { place in
            if (try? registry.create(names[place], shards: 3, attributes: "")) != nil {
                made.wrappingAdd(1, ordering: .relaxed)
            }
        }
        #expect(made.load(ordering: .relaxed) == 3)
        #expect(registry.pools.count == 3)
    }

    @Test func `what exists is opened beyond the limits`() throws {
        stage.store.put(try stage.definition("a.fifo", shards: 3))
        stage.store.put(try stage.definition("b.fifo", shards: 3))
        let registry = registry(pools: 1, shards: 4)
        try registry.openAll()
        #expect(registry.pools.count == 2)
        #expect(registry.room == PoolRoom(pools: -1, shards: -2))
        #expect(
            refusal { _ = try registry.create(try stage.name("c.fifo"), shards: 1, attributes: "") }
                == "tooManyPools(asked: 1, left: 0)")
    }

    /// The name's bytes, shards, whether it has a dead-letter queue, and how many bytes are allowed.
    @Test(arguments: [(80, 1, false, 80), (76, 1, true, 76), (75, 2, true, 75), (75, 2, false, 75)])
    func `a name leaves room for those beside it`(bytes: Int, shards: Int, hasDLQ: Bool, allowed: Int) throws {
        let registry = registry()
        func create(_ bytes: Int) throws {
            let name = try stage.name(String(repeating: "n", count: bytes - 5) + ".fifo")
            let draft = hasDLQ ? DeadLetterQueueDraft(name: name.deadLetterQueueName, attributes: "") : nil
            _ = try registry.create(name, shards: shards, attributes: "", deadLetterQueue: draft)
        }
        if bytes < 80 {
            #expect(refusal { try create(bytes + 1) } == "nameTooLong(allowed: \(allowed))")
            #expect(registry.pools.isEmpty)
        }
        try create(bytes)
        #expect(registry.pools.allSatisfy { $0.name.text.utf8.count <= 80 })
    }
}
