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
}

/// Which stores of a directory take no sends.
final class StorageWatch: Sendable {
    private let problems = Mutex<[String: StoreProblem]>([:])
    private let report: @Sendable (StorageEvent) -> Void

    init(report: @escaping @Sendable (StorageEvent) -> Void) { self.report = report }

    /// A store that takes no sends, and why.
    var problem: String? {
        problems.withLock { problems in
            problems.min { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
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
    func forget(_ file: String) { problems.withLock { $0[file] = nil } }
}
