// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import Synchronization

/// What went through one shard of this server, in messages a second.
struct ShardRate: Hashable, Sendable {
    var sent: Double
    var received: Double
    var deleted: Double
}

/// How fast messages go through the shards of this server: means over the last few seconds, from counters that the shards
/// have anyway. What routers and workers elsewhere do is in their own figures.
final class ShardRates: Sendable {
    static let intervalMilliseconds: Int64 = 5_000

    private struct Sample: Sendable {
        var sent: Int
        var received: Int
        var deleted: Int
    }

    private struct State {
        var takenAt: Timestamp?
        var samples: [ShardTag: Sample] = [:]
        var rates: [ShardTag: ShardRate] = [:]
    }

    private let state = Mutex(State())

    /// `nil` until it is known.
    subscript(tag: ShardTag) -> ShardRate? { state.withLock { $0.rates[tag] } }

    /// Takes a sample every five seconds, as long as somebody holds it.
    func follow(_ registry: PoolRegistry) {
        take(of: registry)
        registry.clock.schedule(afterMilliseconds: ShardRates.intervalMilliseconds) { [weak self, weak registry] in
            if let self, let registry { self.follow(registry) }
        }
    }

    private func take(of registry: PoolRegistry) {
        var samples: [ShardTag: Sample] = [:]
        for pool in registry.pools {
            for shard in pool.snapshot.shards {
                let counts = shard.shard.counts()
                samples[shard.shard.tag] = Sample(
                    sent: counts.sent, received: counts.received, deleted: counts.deleted)
            }
        }
        let now = registry.clock.now()
        state.withLock { state in
            let seconds = state.takenAt.map { Double(now - $0) / 1_000 } ?? 0
            if seconds > 0 {
                state.rates = samples.reduce(into: [:]) { rates, sample in
                    guard let before = state.samples[sample.key] else { return }
                    // A shard that was opened anew counts from 0.
                    rates[sample.key] = ShardRate(
                        sent: Double(max(0, sample.value.sent - before.sent)) / seconds,
                        received: Double(max(0, sample.value.received - before.received)) / seconds,
                        deleted: Double(max(0, sample.value.deleted - before.deleted)) / seconds)
                }
            }
            state.takenAt = now
            state.samples = samples
        }
    }
}
