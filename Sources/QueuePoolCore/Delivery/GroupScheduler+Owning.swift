// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Shards come and go while the worker runs. One that is to be somebody else's is left in order: nothing more is received,
// nothing more begins, what was not begun is given back, what is under way may end for a while. One that may be somebody
// else's already is dropped: what was not begun is forgotten, and comes again when its timeout ends. In both cases a
// delivery that does not end in time is waited for all the same: if its message was delivered it is deleted, because the
// handle may still be good and whoever has the shard now is then spared a duplicate; and if the shard is ours again
// meanwhile, and the message comes again, it is not begun a second time beside the first. A stop leaves all shards.

extension GroupScheduler {
    /// The shard is ours: receive and deliver. Works after `drain`, before or after it has ended, and after `drop`.
    public mutating func begin(shard: Int, now: Timestamp) -> [Effect] {
        guard shards.indices.contains(shard), !shards[shard].isOurs, stopAt == nil else { return [] }
        shards[shard].tenure = .ours
        shards[shard].isReleasing = false
        shards[shard].receivesAllowed = 1
        // What was not given back yet lost its turn.
        turns.removeAll { $0.shard == shard }
        for (key, line) in lines where key.shard == shard {
            switch line.phase {
            case .waiting: break
            case .limited: change(key) { $0.phase = .waiting }
            default: continue
            }
            turns.append(key)
        }
        return go(now)
    }

    /// The shard will be somebody else's: receive nothing more of it, give back what was not begun, and what is not
    /// finished by `deadline`, delete what was delivered. Then it is `drained`, unless `begin` or `drop` comes before.
    public mutating func drain(shard: Int, deadline: Timestamp, now: Timestamp) -> [Effect] {
        guard shards.indices.contains(shard) else { return [] }
        guard shards[shard].isStillOurs else { return [.drained(shard: shard)] }
        leave(shard, by: deadline)
        return (shards[shard].receives.isEmpty ? [] : [.cancelReceives(shard: shard)]) + go(now)
    }

    /// The shard may be somebody else's: receive and deliver nothing more of it, and forget what was not begun.
    public mutating func drop(shard: Int, now: Timestamp) -> [Effect] {
        guard shards.indices.contains(shard), shards[shard].tenure != .lost else { return [] }
        shards[shard].tenure = .lost
        for key in lines.keys where key.shard == shard { drop(key) }
        return (shards[shard].receives.isEmpty ? [] : [.cancelReceives(shard: shard)]) + go(now)
    }

    /// The pool has this many shards now. Those that are new are ours when they are begun.
    public mutating func grow(shardCount: Int) {
        let added = max(0, shardCount - shards.count)
        shards.append(contentsOf: repeatElement(ShardState(tenure: .lost), count: added))
    }

    /// Stop: receive nothing more, give back what was not begun, and what is not finished by `deadline`.
    public mutating func stop(deadline: Timestamp, now: Timestamp) -> [Effect] {
        guard stopAt == nil else { return [] }
        stopAt = deadline
        for shard in shards.indices where shards[shard].isStillOurs { leave(shard, by: deadline) }
        return [.cancelReceives(shard: nil)] + go(now)
    }

    private mutating func leave(_ shard: Int, by deadline: Timestamp) {
        var deadline = deadline
        if case .leaving(let earlier) = shards[shard].tenure { deadline = min(deadline, earlier) }
        shards[shard].tenure = .leaving(until: deadline)
    }

    /// Goes on with a shard that is being left.
    mutating func leave(_ shard: Int, _ now: Timestamp, _ effects: inout [Effect]) {
        guard case .leaving(let deadline) = shards[shard].tenure else { return }
        let isLate = now >= deadline
        guard isLate || shards[shard].receives.isEmpty else { return }
        if !shards[shard].isReleasing { giveBack(shard, &effects) }
        if isLate { leaveBehind(shard, &effects) }
        let state = shards[shard]
        guard isLate || state.held == 0 && state.isAllDeleted else { return }
        shards[shard].tenure = .left
        effects.append(.drained(shard: shard))
    }

    private mutating func giveBack(_ shard: Int, _ effects: inout [Effect]) {
        shards[shard].isReleasing = true
        for key in lines.keys where key.shard == shard {
            switch lines[key]?.phase {
            case .waiting, .suspected, .backingOff, .targetless, .limited: giveUp(key, &effects)
            case .delivering, .moving, .deleting: giveUpFollowers(key, &effects)
            case nil: break
            }
        }
    }

    /// The time is over. What is being worked on is given back too, but its end is still waited for: should the message
    /// come again, it must not be delivered twice at one time. What is done with is not given back: its delete may be
    /// on its way, and goes on.
    private mutating func leaveBehind(_ shard: Int, _ effects: inout [Effect]) {
        for key in lines.keys where key.shard == shard {
            guard let line = lines[key] else { continue }
            switch line.phase {
            case .deleting: remove(key)
            case .delivering, .moving:
                guard !line.isLost else { continue }
                if !line.isHeadGone { effects.append(.release(shard: shard, line.messages.reversed())) }
                change(key) { $0.lose() }
            case .waiting, .suspected, .backingOff, .targetless, .limited: giveUp(key, &effects)
            }
        }
    }

    mutating func finish(_ now: Timestamp, _ effects: inout [Effect]) {
        guard let stopAt, !isFinished else { return }
        let isDone =
            delivering == 0 && !lines.values.contains { $0.phase == .moving }
            && shards.allSatisfy { !$0.isStillOurs && $0.isAllDeleted }
        guard isDone || now >= stopAt else { return }
        isFinished = true
        for key in lines.keys { giveUp(key, &effects) }
        effects.append(.finished)
    }
}
