// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// A pool of which the control store has something that does not parse: written by a later version of the program, or
// spoilt by hand. It concerns that pool only. The others are served; it is told in the log and to whoever asks for it
// by name; and nothing of it is written, made or removed, its shards above all, so that it is whole again when what is
// stored of it is. A server that opened it before goes on with what it has.

extension PoolRegistry {
    /// Whether a pool of this name is stored and can't be served, because what is stored of it can't be read.
    package func isUnreadable(_ name: String) -> Bool {
        state.withLock { $0.pools[name] == nil && $0.unreadable.contains(name) }
    }

    /// Takes over which pools cannot be read; tells of each once.
    func note(unreadable names: [String]) {
        let new = state.withLock { state in
            defer { state.unreadable = Set(names) }
            return names.filter { !state.unreadable.contains($0) }
        }
        for name in new { report(PoolEvent(pool: name, epoch: nil, kind: .unreadable)) }
    }

    /// Whether a name is one that a shard of the pool may have, however many it has.
    static func isShard(_ name: String, ofPool pool: String) -> Bool {
        guard let stem = PoolName(pool)?.stem, name.hasPrefix(stem + "-"), name.hasSuffix(".fifo") else { return false }
        let number = name.dropFirst(stem.count + 1).dropLast(5)
        return number.count >= 4 && number.utf8.allSatisfy { (48...57).contains($0) }
    }
}
