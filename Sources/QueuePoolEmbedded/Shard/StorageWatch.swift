// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// What changed about the stores of a directory that is worth a line in the log.
package enum StorageEvent: Hashable, Sendable {
    /// A store stopped taking sends. Full disks and moved directories are told once for all stores.
    case began(file: String, StoreProblem)
    /// The disk has room again.
    case roomAgain
    /// A row of a shard's log is not as it was sealed; told once.
    case unopened(file: String, shard: String, row: Int64)
}

/// Which stores of a directory take no sends, and which have rows that do not open.
final class StorageWatch: Sendable {
    private let problems = Mutex<[String: StoreProblem]>([:])
    /// Rows that do not open, by store and shard.
    private let unopened = Mutex<[String: [String: Set<Int64>]]>([:])
    private let report: @Sendable (StorageEvent) -> Void

    init(report: @escaping @Sendable (StorageEvent) -> Void) { self.report = report }

    /// A store that takes no sends, and why, or a shard some of whose messages nobody can have.
    var problem: String? {
        let first = problems.withLock { problems in
            problems.min { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        }
        return first ?? unopenedRows
    }

    private var unopenedRows: String? {
        unopened.withLock { unopened in
            guard let (file, shards) = unopened.min(by: { $0.key < $1.key }) else { return nil }
            let names = shards.keys.sorted().joined(separator: ", ")
            return "\(file): rows are not as they were sealed, and groups wait behind their messages, of \(names)"
        }
    }

    func noteUnopened(row: Int64, of shard: String, in file: String) {
        let isNew = unopened.withLock { $0[file, default: [:]][shard, default: []].insert(row).inserted }
        if isNew { report(.unopened(file: file, shard: shard, row: row)) }
    }

    /// The shard has none any more, or is closed.
    func forgetUnopened(of shard: String, in file: String) {
        unopened.withLock { unopened in
            unopened[file]?[shard] = nil
            if unopened[file]?.isEmpty == true { unopened[file] = nil }
        }
    }

    func set(_ problem: StoreProblem?, of file: String) {
        let event = problems.withLock { problems -> StorageEvent? in
            let wasFull = problems.values.contains(.full)
            let wasMoved = problems.values.contains(.moved)
            problems[file] = problem
            let isFull = problems.values.contains(.full)
            switch problem {
            case nil: return wasFull && !isFull ? .roomAgain : nil
            case .full: return wasFull ? nil : .began(file: file, .full)
            case .moved: return wasMoved ? nil : .began(file: file, .moved)
            case .broken?: return problem.map { .began(file: file, $0) }
            }
        }
        if let event { report(event) }
    }

    /// The store is closed.
    func forget(_ file: String) {
        problems.withLock { $0[file] = nil }
        unopened.withLock { $0[file] = nil }
    }
}
