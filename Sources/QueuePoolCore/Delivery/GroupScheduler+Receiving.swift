// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Which shards are asked for more, and what becomes of the answers.
//
// A shard that has much may have several receives out at once: one alone would be bound by the time that an answer
// takes. The first waits at the queue for messages to come, the others do not, so that an idle shard never has two that
// wait. Each full answer allows one more; any other brings them back to one.
//
// Answers of receives that were out together come in any order. While a message of a group is out, the queue gives none
// of that group to another receive. So two of them carry one group only if what the first took ran out of its
// visibility timeout before its answer came; the second then took the same messages again, or somebody else did. The
// late answer is stale, and nothing in it is held by us. What it says of a group is ignored, whole, when
// - one of the messages came in another answer while this receive was out, and had been received as often then: it was
//   taken again later than here, whatever became of it since (delivered, deleted, dropped, given back); or
// - messages of the group are held, came while this receive was out, and none of them is being deleted: as long as they
//   are out the queue gives no others, so that these were taken before, and would come behind what follows them. While
//   a delete is under way the next ones of the group may well come before its answer.
// Ignored messages are not released, for their handles are not good. Should one have been good after all (a queue that
// lost its receive counts), it comes again when its visibility timeout ends: late, but in order, for the queue keeps
// its group locked until then.
//
// What is held ready is bounded by what can be delivered within a third of the visibility timeout, so that most of it
// is begun before it must be extended, but not below the number of deliveries that may be under way, or one answer.
// While fewer groups are there than could be worked on, more is asked for all the same: the queue then brings other
// groups.

extension GroupScheduler {
    /// A receive was answered.
    /// - Parameters:
    ///   - number: of the receive; `nil`: the one that left first of those that are out.
    ///   - visibleAt: when the messages become visible to others unless they are extended.
    public mutating func received(
        _ messages: [WorkMessage], from shard: Int, number: Int? = nil, visibleAt: Timestamp, now: Timestamp
    ) -> [Effect] {
        noteRunning(now)
        let receive = endReceive(number, of: shard)
        var visibleAt = visibleAt
        if let from = receive?.answeredFrom { visibleAt = min(visibleAt, from + limits.visibilityMilliseconds) }
        // It took what it brings when it reached the queue, soon after it left; one that waited may have done so for long.
        if let receive, !receive.waits {
            visibleAt = min(visibleAt, receive.askedAt + limits.visibilityMilliseconds)
        }
        // The queue's clock began before the answer was on its way. It matters when no extension succeeds.
        visibleAt = visibleAt + -limits.answerMilliseconds
        let isFull = messages.count >= QueueLimits.batchEntriesMax
        shards[shard].receivesAllowed = isFull ? min(limits.receivesMax, shards[shard].receivesAllowed + 1) : 1
        let messages = receive.map { current(messages, of: $0, shard, now) } ?? messages
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
    public mutating func receiveFailed(from shard: Int, number: Int? = nil, now: Timestamp) -> [Effect] {
        endReceive(number, of: shard)
        shards[shard].arrivals.forget(before: shards[shard].oldestReceive)
        shards[shard].receivesAllowed = 1
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

    /// Without what is stale, see above.
    private mutating func current(
        _ messages: [WorkMessage], of receive: ShardState.Receive, _ shard: Int, _ now: Timestamp
    ) -> [WorkMessage] {
        var stale: Set<String> = []
        if !shards[shard].arrivals.isEmpty {
            var groups: Set<String> = []
            for message in messages {
                let isFirst = groups.insert(message.group).inserted
                let isOld = shards[shard].arrivals.count(of: message.id, during: receive.number)
                    .map { message.receiveCount <= $0 }
                if isOld ?? (isFirst && isOvertaken(message, by: receive, now)) { stale.insert(message.group) }
            }
        }
        let current = stale.isEmpty ? messages : messages.filter { !stale.contains($0.group) }
        lapsedCount += messages.count - current.count
        if let oldest = shards[shard].oldestReceive {
            for message in current { shards[shard].arrivals.note(message, until: receiveNumber) }
            shards[shard].arrivals.forget(before: oldest)
        } else {
            shards[shard].arrivals.forget(before: nil)
        }
        return current
    }

    /// Whether others of its group are held that came while its receive was out.
    private func isOvertaken(_ message: WorkMessage, by receive: ShardState.Receive, _ now: Timestamp) -> Bool {
        guard let line = lines[GroupKey(shard: message.shard, group: message.group)], !line.isLost,
            line.phase != .deleting, line.visibleAt > now
        else { return false }
        return line.messages.contains {
            shards[message.shard].arrivals.count(of: $0.id, during: receive.number) != nil
        }
    }

    mutating func startReceives(_ now: Timestamp, _ effects: inout [Effect]) {
        // What is received while nothing can be delivered only waits, and its receive count climbs.
        guard breakers.contains(where: { $0.mayBegin(now: now) }) else { return }
        var (polls, further, most) = (0, 0, 1)
        for shard in shards.indices {
            polls += shards[shard].receives.count
            further += shards[shard].receives.count { !$0.waits }
            most = max(most, shards[shard].receivesAllowed)
        }
        // Each shard is asked once before one is asked twice.
        for count in 1...most {
            for shard in shards.indices where shards[shard].receives.count < min(count, shards[shard].receivesAllowed) {
                // Enough waits for its turn already: more would only run out of its visibility timeout. Receives that
                // wait are not counted: at idle shards they bring nothing.
                guard turns.count + limitedGroups + further * QueueLimits.batchEntriesMax < 2 * limits.concurrency
                else { return }
                guard heldBytes + polls * QueueLimits.batchEntriesMax * meanMessageBytes < limits.heldBytesMax else {
                    return
                }
                guard hasRoom(shard, now) else { continue }
                let waits = !shards[shard].receives.contains(where: \.waits)
                receiveNumber += 1
                shards[shard].receives.append(
                    ShardState.Receive(number: receiveNumber, askedAt: now, waits: waits))
                polls += 1
                if !waits { further += 1 }
                effects.append(.receive(shard: shard, number: receiveNumber, waits: waits))
            }
        }
    }

    private func hasRoom(_ shard: Int, _ now: Timestamp) -> Bool {
        let state = shards[shard]
        let coming = state.receives.count * QueueLimits.batchEntriesMax
        guard state.isOurs, state.notBefore <= now, !state.areDeletesFailing,
            state.held + coming < limits.heldPerShardMax, state.ready + coming < limits.readyPerShardMax
        else { return false }
        let isIdle = groupsWithWork + coming < limits.concurrency
        let deliverable = state.recent.count(now, window: prefetchMilliseconds)
        let least = max(limits.concurrency, QueueLimits.batchEntriesMax)
        return isIdle || state.ready + coming < max(least, deliverable)
    }

    /// What is held ready should be begun within this time.
    var prefetchMilliseconds: Int64 { max(1, limits.visibilityMilliseconds / 3) }

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
