// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

/// One thing that a control store may do wrong.
enum ControlFault: CaseIterable, Sendable {
    case losesTags
    case listsInReverse
    case ignoresVersions
    case countsNoRevision
    case removesAnyVersion
    case forgetsOwners
    case forgetsDirectories
    case keepsAHundredShards
    case hidesDamage

    /// The rules that must notice it.
    var rules: [ControlRule] {
        switch self {
        case .losesTags: [ControlRules.readBack]
        case .listsInReverse: [ControlRules.listing]
        case .ignoresVersions: [ControlRules.conflicts, ControlRules.races]
        case .countsNoRevision: [ControlRules.revision]
        case .removesAnyVersion: [ControlRules.removal]
        case .forgetsOwners: [ControlRules.ownership]
        case .forgetsDirectories: [ControlRules.directories]
        case .keepsAHundredShards: [ControlRules.largest]
        case .hidesDamage: [ControlRules.damage]
        }
    }
}

/// A sound store, and what spoils one thing about it.
private struct BrokenControlStore: ControlStore {
    let inner: any ControlStore
    let fault: ControlFault

    func revision() throws(ControlStoreError) -> Int { fault == .countsNoRevision ? 1 : try inner.revision() }

    func contents() throws(ControlStoreError) -> StoredPools {
        var contents = try inner.contents()
        if fault == .listsInReverse { contents.pools.reverse() }
        if fault == .hidesDamage { contents.unreadable = [] }
        return contents
    }

    func pool(_ name: PoolName) throws(ControlStoreError) -> PoolDefinition? {
        if fault == .hidesDamage { return try? inner.pool(name) }
        return try inner.pool(name)
    }

    func save(_ pool: PoolDefinition) throws(ControlStoreError) -> Int {
        var pool = pool
        if fault == .ignoresVersions {
            // Until it is written, whoever else writes.
            while true {
                pool.version = try inner.pool(pool.name)?.version ?? 0
                if let version = try? inner.save(pool) { return version }
            }
        }
        switch fault {
        case .losesTags: pool.tags = [:]
        case .forgetsOwners: pool.owner = nil
        case .keepsAHundredShards: pool.addresses = pool.addresses.filter { $0.key.number < 100 }
        default: break
        }
        return try inner.save(pool)
    }

    func remove(_ pool: PoolDefinition) throws(ControlStoreError) {
        let stored = fault == .removesAnyVersion ? try inner.pool(pool.name) : nil
        try inner.remove(stored ?? pool)
    }

    func directory(_ id: String) throws(ControlStoreError) -> String? {
        fault == .forgetsDirectories ? nil : try inner.directory(id)
    }

    func record(directory id: String, path: String) throws(ControlStoreError) {
        try inner.record(directory: id, path: path)
    }
}

@Suite(.timeLimit(.minutes(3))) struct `The rules for control stores` {
    @Test(arguments: ControlFault.allCases) func `notice a store that does not keep them`(
        fault: ControlFault
    ) async throws {
        for (number, rule) in fault.rules.enumerated() {
            let findings = try await ControlBench.run(rule, on: .sqlite) { BrokenControlStore(inner: $0, fault: fault) }
            #expect(!findings.all.isEmpty, "rule \(number) of this fault found nothing")
        }
    }
}
