// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// How a group's messages come, wait, and go. Everything that adds or takes away messages, or changes whether they can go
// on, passes `change`, so that the counts by which receives are held back stay true.

extension GroupScheduler {
    mutating func change(_ key: GroupKey, _ body: (inout HeldGroup) -> Void) {
        guard let index = lines.index(forKey: key) else { return }
        count(key, lines.values[index], -1)
        body(&lines.values[index])
        count(key, lines.values[index], 1)
        if lines.values[index].messages.isEmpty { lines.remove(at: index) }
    }

    private mutating func count(_ key: GroupKey, _ line: HeldGroup, _ sign: Int) {
        shards[key.shard].held += sign * line.messages.count
        if line.isReady { shards[key.shard].ready += sign * line.messages.count }
        if line.isWork { groupsWithWork += sign }
        if case .limited(_, isFirst: true) = line.phase { limitedGroups += sign }
        heldBytes += sign * line.bytes
    }

    private mutating func add(_ key: GroupKey, _ line: HeldGroup) {
        lines[key] = line
        count(key, line, 1)
    }

    /// Takes a received message in.
    mutating func take(_ message: WorkMessage, visibleAt: Timestamp, now: Timestamp) {
        let key = GroupKey(shard: message.shard, group: message.group)
        if let line = lines[key], line.visibleAt <= now, line.phase != .deleting { drop(key) }
        // It lay unread until others could have it. Taken in, it would tell of a head in the same answer that it was gone.
        guard visibleAt > now || Mutation.lapsedGroupGoesOn.isOn else {
            lapsedCount += 1
            if let line = lines[key], line.phase != .deleting { drop(key) }
            return
        }
        if let line = lines[key], line.messages.contains(where: { $0.id == message.id }) {
            // What is held and comes again was lost without our seeing it: nothing behind it may be begun.
            if !line.isLost { lapsedCount += line.messages.count }
            if line.messages[0].id == message.id, line.phase != .deleting {
                change(key) { line in
                    if !Mutation.followersOfRepeatedKept.isOn { _ = line.removeFollowers() }
                    line.adoptHandle(message.handle, visibleAt: visibleAt)
                }
                return
            }
            remove(key)
        }
        guard let line = lines[key] else {
            var line = HeldGroup(message, visibleAt: visibleAt)
            if let known = unsettled.removeValue(forKey: message.id) {
                line.head = known.head
                if let recipients = known.recipients { line.narrow(toRecipients: recipients) }
            }
            add(key, line)
            turns.append(key)
            return
        }
        change(key) { $0.append(message) }
        // Its former delivery still runs: what comes waits behind it.
        if line.isLost {
            lines[key]?.visibleAt = visibleAt
            lines[key]?.isLost = false
            lines[key]?.isHeadGone = true
            lines[key]?.mayFollowersBeTried = true
        }
    }

    func isDeleting(_ message: WorkMessage) -> Bool {
        let line = lines[GroupKey(shard: message.shard, group: message.group)]
        return line?.phase == .deleting && line?.messages.first?.handle == message.handle
    }

    mutating func finishHead(_ key: GroupKey) {
        change(key) { $0.removeHead() }
        if lines[key] != nil, !Mutation.turnForgotten.isOn { turns.append(key) }
    }

    /// The head is delivered or in the dead-letter queue: it is deleted now, and should it come again, then too.
    mutating func delete(_ key: GroupKey) {
        guard let head = lines[key]?.messages.first else { return }
        if !Mutation.deliveredForgotten.isOn { finished.insert(head) }
        change(key) { $0.phase = .deleting }
        shards[key.shard].deletes.append(head)
        if Mutation.nextBeforeDelete.isOn { finishHead(key) }
    }

    mutating func move(_ key: GroupKey, _ reason: String, _ errorClass: String, _ effects: inout [Effect]) {
        guard let line = lines[key], var head = line.messages.first else { return }
        change(key) { line in
            line.phase = .moving
            line.head.verdict = (reason, errorClass)
        }
        // Whose it is now decides it anew; the verdict stands if that is us again.
        guard shards[key.shard].isStillOurs else { return giveUp(key, &effects) }
        if !line.head.refusedRecipients.isEmpty {
            head.recipients = (line.head.refusedRecipients + (head.recipients ?? [])).sorted()
        }
        let attempts = max(1, line.head.attempts) + line.head.earlierReceives(of: head)
        effects.append(
            .moveToDeadLetter(head, DeadLetterReason(reason: reason, errorClass: errorClass, attempts: attempts)))
    }

    /// The group's messages are not ours any more. One that is being worked on is left to end.
    mutating func drop(_ key: GroupKey) {
        guard let line = lines[key] else { return }
        // A head whose delete is on its way may be gone from the queue already: the delete's answer tells.
        if !line.isLost { lapsedCount += line.messages.count - (line.phase == .deleting ? 1 : 0) }
        guard line.isDelivering || line.phase == .moving else { return remove(key) }
        change(key) { $0.lose() }
    }

    mutating func remove(_ key: GroupKey) {
        guard let line = lines.removeValue(forKey: key) else { return }
        count(key, line, -1)
        remember(line)
    }

    /// Keeps what would be delivered twice without it.
    private mutating func remember(_ line: HeldGroup) {
        guard let head = line.messages.first, line.phase != .deleting, line.head.isUnsettled || head.recipients != nil
        else { return }
        // Bounded; what is forgotten may be delivered twice, as by any other worker.
        if unsettled.count >= 10_000 { unsettled.removeAll() }
        if !Mutation.unsettledForgotten.isOn { unsettled[head.id] = (line.head, head.recipients) }
    }

    /// Gives a group back: the last message first, because the first one is delivered again as soon as it is visible.
    mutating func giveUp(_ key: GroupKey, _ effects: inout [Effect]) {
        guard let line = lines[key] else { return }
        remove(key)
        let messages = Mutation.releasedForwards.isOn ? Array(line.messages) : line.messages.reversed()
        if !line.isLost { effects.append(.release(shard: key.shard, messages)) }
    }

    mutating func giveUpFollowers(_ key: GroupKey, _ effects: inout [Effect]) {
        var followers: [WorkMessage] = []
        change(key) { followers = $0.removeFollowers() }
        if !followers.isEmpty { effects.append(.release(shard: key.shard, followers.reversed())) }
    }
}
