// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Which shards are asked for more, and what becomes of the answers.

extension GroupScheduler {
    /// A receive was answered.
    /// - Parameters:
    ///   - number: of the receive; `nil`: the one that left first of those that are out.
    ///   - visibleAt: when the messages become visible to others unless they are extended.
    package mutating func received(
        _ messages: [WorkMessage], from shard: Int, number: Int? = nil, visibleAt: Timestamp, now: Timestamp
    ) -> [Effect] {
        noteRunning(now)
        let receive = endReceive(number, of: shard)
        let oldest = receive?.answeredFrom.map { $0 + limits.visibilityMilliseconds } ?? visibleAt
        let visibleAt = min(visibleAt, oldest)
        shards[shard].failures = 0
        switch shards[shard].tenure {
        case .ours, .leaving:
            for var message in messages {
                message.firstReceivedAt = message.firstReceivedAt ?? now
                meanMessageBytes = (meanMessageBytes * 15 + message.byteCount) / 16
                take(message, visibleAt: visibleAt, now: now)
            }
        // Too late to be given back with the others.
        case .left where !messages.isEmpty: return [.release(shard: shard, messages.reversed())] + go(now)
        case .left: break
        case .lost: lapsedCount += messages.count
        }
        return go(now)
    }

    /// A receive came to nothing.
    /// - Parameter number: of the receive; `nil`: the one that left first of those that are out.
    package mutating func receiveFailed(from shard: Int, number: Int? = nil, now: Timestamp) -> [Effect] {
        endReceive(number, of: shard)
        // One that was broken off says nothing of the shard.
        guard shards[shard].isOurs else { return go(now) }
        shards[shard].failures += 1
        shards[shard].notBefore = now + backOff(attempt: shards[shard].failures)
        return go(now)
    }

    @discardableResult
    private mutating func endReceive(_ number: Int?, of shard: Int) -> ShardState.Receive? {
        let receives = shards[shard].receives
        guard let place = receives.firstIndex(where: { number == nil || $0.number == number }) else { return nil }
        return shards[shard].receives.remove(at: place)
    }

    mutating func startReceives(_ now: Timestamp, _ effects: inout [Effect]) {
        // What is received while nothing can be delivered only waits, and its receive count climbs.
        guard breakers.contains(where: { $0.mayBegin(now: now) }) else { return }
        var polls = shards.reduce(0) { $0 + $1.receives.count }
        for shard in shards.indices {
            let state = shards[shard]
            // Enough waits for its turn already: more would only run out of its visibility timeout.
            guard turns.count < 2 * limits.concurrency else { return }
            guard heldBytes + polls * QueueLimits.batchEntriesMax * meanMessageBytes < limits.heldBytesMax else {
                return
            }
            guard state.isOurs, state.receives.isEmpty, state.notBefore <= now,
                state.ready < limits.readyPerShardMax, state.held < limits.heldPerShardMax, !state.areDeletesFailing
            else { continue }
            receiveNumber += 1
            shards[shard].receives.append(ShardState.Receive(number: receiveNumber, askedAt: now))
            polls += 1
            effects.append(.receive(shard: shard, number: receiveNumber))
        }
    }

    /// A process that stood still (stopped, suspended, starved) read an answer later than it came. Since when its messages
    /// are held nobody can tell: as early as when it was last known to run.
    mutating func noteRunning(_ now: Timestamp) {
        defer { runningAt = now }
        guard now - runningAt > limits.standstillMilliseconds else { return }
        for shard in shards.indices {
            for place in shards[shard].receives.indices {
                let from = max(runningAt, shards[shard].receives[place].askedAt)
                let known = shards[shard].receives[place].answeredFrom
                shards[shard].receives[place].answeredFrom = min(known ?? from, from)
            }
        }
    }
}
