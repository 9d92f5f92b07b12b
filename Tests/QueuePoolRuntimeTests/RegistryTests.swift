// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Synchronization
import Testing

/// A registry on fakes.
struct RegistryStage {
    let store = FakeControlStore()
    let shards = FakeShardFactory()
    let clock = ManualClock()

    func registry(
        _ directory: DataDirectory? = nil, options: PoolOptions = PoolOptions(),
        report: @escaping @Sendable (PoolEvent) -> Void = { _ in }
    ) -> PoolRegistry {
        PoolRegistry(
            store: store, factories: [.embedded: shards], options: options, clock: clock, directory: directory,
            meaning: { _ in QueueAttributes() }, report: report)
    }

    func name(_ text: String = "emails.fifo") throws -> PoolName { try #require(PoolName(text)) }

    func definition(_ text: String = "emails.fifo", shards: Int = 2, version: Int = 1) throws -> PoolDefinition {
        let name = try name(text)
        return PoolDefinition(
            name: name, topology: try Topology(pool: name, shardCount: shards), attributes: "",
            createdAt: Timestamp(milliseconds: 1), version: version)
    }
}

@Suite("Pools that are made and removed")
struct RegistryTests {
    private let stage = RegistryStage()

    @Test func `a name is a pool's or a shard's, not both`() throws {
        let registry = stage.registry()
        _ = try registry.create(try stage.name(), shards: 2, attributes: "")
        for name in ["emails.fifo", "emails-0001.fifo"] {
            #expect { try registry.create(try stage.name(name), shards: 1, attributes: "") } throws: { error in
                if case RegistryError.nameTaken = error { true } else { false }
            }
        }
        #expect(stage.store.saves == 1)
    }

    @Test func `a creation that cannot open a shard leaves nothing`() throws {
        let registry = stage.registry()
        stage.shards.letFail("emails-0001.fifo")
        #expect(throws: RegistryError.self) { try registry.create(try stage.name(), shards: 2, attributes: "") }
        #expect(stage.shards.shard("emails-0000.fifo")?.isClosed == true)
        #expect(stage.shards.files.isEmpty)
        #expect(registry.pools.isEmpty && stage.store.stored("emails.fifo") == nil)
        stage.shards.repair()
        _ = try registry.create(try stage.name(), shards: 2, attributes: "")
    }

    @Test func `a creation that is not stored closes and removes what it opened`() throws {
        let registry = stage.registry()
        stage.store.letSavesFail()
        #expect(throws: RegistryError.self) { try registry.create(try stage.name(), shards: 2, attributes: "") }
        #expect(stage.shards.shard("emails-0000.fifo")?.isClosed == true)
        #expect(stage.shards.files.isEmpty && registry.pools.isEmpty)
    }

    @Test func `a change is made to what is stored, also when another server is first`() throws {
        let registry = stage.registry()
        let pool = try registry.create(try stage.name(), shards: 2, attributes: "")
        stage.store.beforeNextSave { store in store.change("emails.fifo") { $0.tags["theirs"] = "1" } }
        stage.store.beforeNextSave { store in store.change("emails.fifo") { $0.quota = 7 } }
        try registry.update(pool) { $0.tags["ours"] = "2" }
        let stored = try #require(stage.store.stored("emails.fifo"))
        #expect(stored.tags == ["theirs": "1", "ours": "2"] && stored.quota == 7)
        #expect(pool.snapshot.definition == stored)
        #expect(stage.store.saves == 4)
    }

    @Test func `a change that says no stores nothing`() throws {
        struct No: Error {}
        let registry = stage.registry()
        let pool = try registry.create(try stage.name(), shards: 1, attributes: "")
        #expect { try registry.update(pool) { _ in throw No() } } throws: { error in
            if case RegistryError.refused(let reason) = error { reason is No } else { false }
        }
        #expect(stage.store.saves == 1)
    }

    @Test func `a pool that another server removed is not changed any more`() throws {
        let registry = stage.registry()
        let pool = try registry.create(try stage.name(), shards: 1, attributes: "")
        stage.store.drop("emails.fifo")
        #expect { try registry.update(pool) { $0.quota = 1 } } throws: { error in
            if case RegistryError.noSuchPool = error { true } else { false }
        }
        try registry.refresh()
        #expect(registry.pools.isEmpty && stage.shards.shard("emails-0000.fifo")?.isClosed == true)
    }

    @Test func `an interrupted deletion is finished at the start`() throws {
        var definition = try stage.definition()
        definition.isDeleting = true
        stage.store.put(definition)
        stage.shards.has("emails-0000.fifo", "emails-0001.fifo")
        let registry = stage.registry()
        try registry.openAll()
        #expect(registry.pools.isEmpty && stage.shards.files.isEmpty && stage.store.stored("emails.fifo") == nil)
    }

    @Test func `an interrupted deletion is finished before the name is given again`() throws {
        let registry = stage.registry()
        let pool = try registry.create(try stage.name(), shards: 2, attributes: "")
        stage.shards.letFail("emails-0001.fifo")
        #expect(throws: RegistryError.self) { try registry.remove(pool) }
        #expect(registry.pools.isEmpty && stage.store.stored("emails.fifo")?.isDeleting == true)
        #expect(throws: RegistryError.self) { try registry.create(try stage.name(), shards: 2, attributes: "") }
        stage.shards.repair()
        _ = try registry.create(try stage.name(), shards: 2, attributes: "")
        #expect(stage.shards.removed.suffix(2) == ["emails-0000.fifo", "emails-0001.fifo"])
        #expect(stage.store.stored("emails.fifo")?.isDeleting == false)
    }

    @Test func `a deletion that the store did not hear of is finished by the next look`() throws {
        let registry = stage.registry()
        let pool = try registry.create(try stage.name(), shards: 1, attributes: "")
        stage.store.letRemovalsFail()
        #expect(throws: RegistryError.self) { try registry.remove(pool) }
        stage.store.letRemovalsFail(false)
        try registry.refresh()
        #expect(stage.store.stored("emails.fifo") == nil)
    }

    @Test func `a deletion that another server finished is not done to the pool that was made anew`() throws {
        let registry = stage.registry()
        let pool = try registry.create(try stage.name(), shards: 1, attributes: "")
        stage.store.letRemovalsFail()
        #expect(throws: RegistryError.self) { try registry.remove(pool) }
        stage.store.letRemovalsFail(false)
        let removals = stage.shards.removed.count
        stage.store.put(try stage.definition(shards: 1))
        try registry.refresh()
        _ = try registry.create(try stage.name("other.fifo"), shards: 1, attributes: "")
        #expect(stage.shards.removed.count == removals && stage.shards.files.contains("emails-0000.fifo"))
        #expect(registry.pool("emails.fifo") != nil && stage.store.stored("emails.fifo") != nil)
    }

    @Test func `shards that no pool names are removed at the start, those of pools never`() throws {
        stage.store.put(try stage.definition("a.fifo"))
        stage.store.put(try stage.definition("b.fifo", shards: 1))
        stage.shards.has("a-0000.fifo", "a-0001.fifo", "b-0000.fifo", "c-0000.fifo")
        let registry = stage.registry()
        #expect(try registry.openAll() == ["c-0000.fifo"])
        #expect(stage.shards.removed == ["c-0000.fifo"])
        #expect(registry.pools.map(\.name.text) == ["a.fifo", "b.fifo"])
    }
}

@Suite("Whose files a pool's shards are")
struct RegistryOwnershipTests {
    private let stage = RegistryStage()
    private let here = DataDirectory(id: "1", path: "/here", shards: [])

    @Test func `a new pool is its directory's`() throws {
        let registry = stage.registry(here)
        try registry.openAll()
        _ = try registry.create(try stage.name(), shards: 1, attributes: "")
        #expect(stage.store.stored("emails.fifo")?.owner == "1")
        #expect(try stage.store.directory("1") == "/here")
        try stage.registry(DataDirectory(id: "1", path: "/moved", shards: [])).openAll()
        #expect(try stage.store.directory("1") == "/moved")
    }

    @Test func `another directory's pool stops the start and names both paths`() throws {
        var definition = try stage.definition()
        definition.owner = "2"
        stage.store.put(definition)
        try stage.store.record(directory: "2", path: "/there")
        #expect { try stage.registry(here).openAll() } throws: { error in
            if case RegistryError.foreign("emails.fifo", "/there", "/here") = error { true } else { false }
        }
        #expect(stage.shards.files.isEmpty)
    }

    @Test func `a pool without an owner is taken by the directory that has its shards, and by no other`() throws {
        stage.store.put(try stage.definition())
        #expect(throws: RegistryError.self) { try stage.registry(here).openAll() }
        #expect(stage.store.stored("emails.fifo")?.owner == nil)
        // Another server writes to the pool at the same moment.
        stage.store.beforeNextSave { store in store.change("emails.fifo") { $0.quota = 7 } }
        try stage.registry(DataDirectory(id: "3", path: "/x", shards: ["emails-0001.fifo"])).openAll()
        #expect(stage.store.stored("emails.fifo")?.owner == "3" && stage.store.stored("emails.fifo")?.quota == 7)
    }

    @Test func `another directory's deletion is left to it, and so is the name`() throws {
        var definition = try stage.definition()
        definition.owner = "2"
        definition.isDeleting = true
        stage.store.put(definition)
        let registry = stage.registry(here)
        try registry.openAll()
        #expect { try registry.create(try stage.name(), shards: 1, attributes: "") } throws: { error in
            if case RegistryError.nameTaken = error { true } else { false }
        }
        #expect(stage.store.stored("emails.fifo") == definition && stage.shards.removed.isEmpty)
    }

    @Test func `another directory's new pool is not opened by a server that runs`() throws {
        let registry = stage.registry(here)
        try registry.openAll()
        var definition = try stage.definition()
        definition.owner = "2"
        stage.store.put(definition)
        try registry.refresh()
        #expect(registry.pools.isEmpty && stage.shards.files.isEmpty)
    }
}

@Suite("Ways of messages that are given up")
struct RegistryRedriveTests {
    @Test func `a way that leads back is found, whatever its length`() {
        #expect(PoolRegistry.circle(of: "a", to: "a", [:]) == ["a", "a"])
        #expect(PoolRegistry.circle(of: "a", to: "b", ["b": "a"]) == ["a", "b", "a"])
        #expect(PoolRegistry.circle(of: "a", to: "b", ["b": "c", "c": "a"]) == ["a", "b", "c", "a"])
    }

    @Test func `a way that ends is no circle, nor is one beside it`() {
        #expect(PoolRegistry.circle(of: "a", to: "b", [:]) == nil)
        #expect(PoolRegistry.circle(of: "a", to: "b", ["a": "c", "c": "a"]) == nil)
        #expect(PoolRegistry.circle(of: "a", to: "b", ["b": "c", "c": "b"]) == nil)
    }
}
