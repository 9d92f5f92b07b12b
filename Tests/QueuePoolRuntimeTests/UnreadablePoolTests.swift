// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import Synchronization
import Testing

@Suite("A pool of which what is stored cannot be read")
struct UnreadablePoolTests {
    private let stage = RegistryStage()

    @Test func `stops no other, is told once, and keeps its shards`() throws {
        stage.store.put(try stage.definition("ill.fifo"))
        stage.store.put(try stage.definition("well.fifo"))
        stage.store.spoil("ill.fifo")
        stage.shards.has("ill-0000.fifo", "ill-0001.fifo", "well-0000.fifo", "well-0001.fifo")
        let told = Mutex<[String]>([])
        let registry = stage.registry { event in
            if case .unreadable = event.kind { told.withLock { $0.append(event.pool) } }
        }
        #expect(try registry.openAll().isEmpty)
        #expect(registry.pools.map(\.name.text) == ["well.fifo"])
        #expect(registry.isUnreadable("ill.fifo") && !registry.isUnreadable("well.fifo"))
        #expect(stage.shards.files.contains("ill-0001.fifo") && stage.shards.removed.isEmpty)
        stage.store.change("well.fifo") { $0.tags["a"] = "b" }
        try registry.refresh()
        #expect(told.withLock { $0 } == ["ill.fifo"])
    }

    @Test func `is not made anew, and no other pool takes its shards`() throws {
        stage.store.put(try stage.definition("ill.fifo"))
        stage.store.spoil("ill.fifo")
        let registry = stage.registry()
        try registry.openAll()
        let before = stage.store.stored("ill.fifo")
        #expect {
            try registry.create(try stage.name("ill.fifo"), shards: 1, attributes: "")
        } throws: { error in
            if case RegistryError.store(.damaged("ill.fifo")) = error { true } else { false }
        }
        #expect {
            try registry.create(try stage.name("ill-0001.fifo"), shards: 1, attributes: "")
        } throws: { error in
            if case RegistryError.nameTaken = error { true } else { false }
        }
        #expect(stage.store.stored("ill.fifo") == before && stage.store.saves == 0)
        #expect(stage.shards.removed.isEmpty)
        _ = try registry.create(try stage.name("ill-east.fifo"), shards: 1, attributes: "")
    }

    @Test func `is served on by a server that has it, and opened by one that has not once it can be read`() throws {
        stage.store.put(try stage.definition("emails.fifo"))
        let registry = stage.registry()
        try registry.openAll()
        stage.store.spoil("emails.fifo")
        try registry.refresh()
        #expect(registry.pool("emails.fifo") != nil && !registry.isUnreadable("emails.fifo"))
        let other = stage.registry()
        try other.openAll()
        #expect(other.pool("emails.fifo") == nil && other.isUnreadable("emails.fifo"))
        stage.store.spoil("emails.fifo", false)
        try other.refresh()
        #expect(other.pool("emails.fifo") != nil && !other.isUnreadable("emails.fifo"))
    }
}
