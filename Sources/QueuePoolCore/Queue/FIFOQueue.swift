// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import HeapModule

// The index of one FIFO shard: which messages there are, in which order, who may have them now. It decides; it reads
// no clock and touches no disk. Its driver writes a commit first and publishes it here afterwards, so whatever can be
// received from here is on stable storage (I1).
//
// Order (I2) is the rule that fits every recording of SQS: walk a group from its oldest undeleted message, deliver
// until the first one that is in flight or delayed, stop there. A group is "ready" when its oldest message can be
// delivered; ready groups stand in a line, the one served goes to its end, so groups take turns. A message leaves its
// group only when its deletion is durable. A message older than the retention period is never delivered, whether upkeep
// has come to it or not; it and one that was received too often leave a few at a time. Source: SQS developer guide, "FIFO delivery logic", and recorded behaviour.

/// One FIFO queue's messages, groups, timeouts and deduplication window.
public struct FIFOQueue: Sendable {
    public internal(set) var attributes: QueueAttributes
    public let tag: ShardTag
    let deduplicationHash: SipHash128
    /// What receipt handles are sealed with.
    let sealKey: SipHash128
    /// Goes into every receipt handle; another one at each opening.
    let incarnation: UInt32

    var entries = Slab<Entry>()
    var deliveries = Slab<Delivery>()
    var groups = Slab<Group>()
    var blocks = Slab<Block>()
    var groupPlaces: [UInt64: UInt32] = [:]
    var ready = GroupLine(standing: .ready)
    /// Groups whose oldest message must leave: a line of their own, so that a receive that may take a few of them out
    /// does not walk over all the others again.
    var leaving = GroupLine(standing: .leaving)
    var timeouts = TimeoutHeap()
    /// Groups whose oldest message is delayed, by the time at which it no longer is; entries may be stale.
    var delayed: Heap<DelayedHead> = []
    /// Blocks by age; a block that is empty stays until it reaches the front.
    var blockOrder: Deque<UInt32> = []
    var window = DeduplicationWindow()
    var scopes: DeduplicationScopes
    var replays = ReceiveReplays()
    var cache: BlockCache
    var lastSequence: SequenceNumber
    var finishedBlocks: [FinishedBlock] = []
    /// Blocks of `blockOrder` that have no message left.
    var emptyBlocks = 0
    /// Blocks that need deletion rows, by the oldest row that each needs; may name blocks that need none any more.
    var pins: Deque<Pin> = []
    /// Blocks that need one.
    var pinCount = 0

    /// Ids that may still make a send a duplicate, and those about to be forgotten.
    public var deduplicationCount: Int { window.count }

    public internal(set) var messageCount = 0
    public internal(set) var heldCount = 0
    /// Messages dropped by retention since the shard was opened (I7).
    public internal(set) var expiredCount = 0
    /// Sends answered as duplicates since the shard was opened.
    public internal(set) var duplicateCount = 0
    /// Messages accepted, delivered and deleted since the shard was opened.
    public internal(set) var sentCount = 0
    public internal(set) var receivedCount = 0
    public internal(set) var deletedCount = 0

    public init(
        tag: ShardTag, deduplicationHash: SipHash128, attributes: QueueAttributes, cacheBytesMax: Int,
        incarnation: UInt32 = 0, lastSequence: SequenceNumber = SequenceNumber(rawValue: 0)
    ) {
        self.tag = tag
        self.deduplicationHash = deduplicationHash
        sealKey = deduplicationHash.forSeals
        self.incarnation = incarnation
        self.attributes = attributes
        scopes = DeduplicationScopes(attributes.deduplicationScope)
        self.lastSequence = lastSequence
        cache = BlockCache(bytesMax: cacheBytesMax)
    }

    struct DelayedHead: Comparable {
        let at: Timestamp
        let group: UInt32
        let head: SequenceNumber

        static func < (a: DelayedHead, b: DelayedHead) -> Bool { a.at < b.at }
    }

    // MARK: - Time

    /// Does all that is due: timeouts that ended, delays that passed, ids past their interval.
    public mutating func advance(to now: Timestamp) {
        while let place = timeouts.first, deliveries[place].visibleAt <= now {
            timeouts.remove(place, &deliveries)
            if Mutation.endedTimeoutIsMissed.isOn { continue }
            refresh(entries[deliveries[place].entry].group, now)
        }
        while let head = delayed.min, head.at <= now {
            delayed.removeMin()
            if isCurrent(head) { refresh(head.group, now) }
        }
        window.expire(now: now)
    }

    private func isCurrent(_ head: DelayedHead) -> Bool {
        let group = groups[head.group]
        return group.head != noPlace && entries[group.head].sequence == head.head
    }

    /// The next moment at which a message may become visible by itself; `nil` if none will.
    public var nextVisibleAt: Timestamp? {
        let timeout = timeouts.first.map { deliveries[$0].visibleAt }
        let delay = delayed.min?.at
        guard let timeout else { return delay }
        return delay.map { min($0, timeout) } ?? timeout
    }

    /// Entries in the heap of delayed groups, stale ones among them.
    var delayedHeadCount: Int { delayed.count }

    /// Whether a receive would find something to do: a message to deliver, or one that must leave first.
    public var hasReadyGroup: Bool { ready.first != noPlace || leaving.first != noPlace }

    // MARK: - Attributes

    public mutating func setAttributes(_ new: QueueAttributes, now: Timestamp) {
        // All three act on messages already in the queue.
        let actsOnHeads =
            new.delaySeconds != attributes.delaySeconds || new.retentionSeconds != attributes.retentionSeconds
            || new.redrive?.maxReceiveCount != attributes.redrive?.maxReceiveCount
        attributes = new
        scopes.set(new.deduplicationScope, isEmpty: window.count == 0, now: now)
        guard actsOnHeads else { return }
        // What was noted for the old delay is void; and those who become ready together stand in line by age.
        delayed = []
        let byAge = groupPlaces.values.sorted { entries[groups[$0].head].sequence < entries[groups[$1].head].sequence }
        for place in byAge { refresh(place, now) }
    }

    // MARK: - Groups

    /// Whether a message could be delivered now if it were the next of its group.
    func isAvailable(_ place: UInt32, _ now: Timestamp) -> Bool {
        let entry = entries[place]
        if entry.delivery != noPlace {
            let delivery = deliveries[entry.delivery]
            if delivery.isHeld || delivery.heapIndex != noPlace { return false }
        }
        return attributes.delaySeconds == 0 || availableAt(entry) <= now
    }

    func availableAt(_ entry: Entry) -> Timestamp {
        entry.sequence.sentAt + Int64(attributes.delaySeconds) * 1_000
    }

    /// Whether a message must be deleted instead of delivered.
    func isPastRetention(_ place: UInt32, _ now: Timestamp) -> Bool { entries[place].sequence < oldestKept(now) }

    /// The lowest sequence number that retention keeps.
    func oldestKept(_ now: Timestamp) -> SequenceNumber {
        SequenceNumber(firstOf: now + -Int64(attributes.retentionSeconds) * 1_000)
    }

    /// Whether a message was received as often as the redrive policy allows, and must be moved instead of delivered.
    func isSpent(_ place: UInt32) -> Bool {
        guard let redrive = attributes.redrive, entries[place].delivery != noPlace else { return false }
        return Int(deliveries[entries[place].delivery].receiveCount) >= redrive.maxReceiveCount
    }

    /// Whether the newest message of a group may pass its oldest: never.
    private func mayPass(_ head: UInt32, _ now: Timestamp) -> Bool {
        Mutation.heldHeadIsPassed.isOn && isAvailable(groups[entries[head].group].tail, now)
    }

    private func standing(_ head: UInt32, _ now: Timestamp) -> Standing {
        guard head != noPlace, isAvailable(head, now) || mayPass(head, now) else { return .none }
        return isPastRetention(head, now) || isSpent(head) ? .leaving : .ready
    }

    /// Puts a group into the line where it belongs by the state of its oldest message.
    mutating func refresh(_ place: UInt32, _ now: Timestamp) {
        let head = groups[place].head
        let standing = standing(head, now)
        if standing != groups[place].standing {
            leaveLine(place)
            switch standing {
            case .none: break
            case .ready: ready.append(place, &groups)
            case .leaving: leaving.append(place, &groups)
            }
        }
        guard head != noPlace, standing == .none, attributes.delaySeconds > 0 else { return }
        let entry = entries[head]
        if availableAt(entry) > now {
            delayed.insert(DelayedHead(at: availableAt(entry), group: place, head: entry.sequence))
        }
    }

    /// Takes a group out of the line in which it stands.
    mutating func leaveLine(_ place: UInt32) {
        switch groups[place].standing {
        case .none: break
        case .ready: ready.remove(place, &groups)
        case .leaving: leaving.remove(place, &groups)
        }
    }

    /// Takes a message out of its group and its block, and frees what it held.
    mutating func unlink(_ place: UInt32, deletionRow: Int64, now: Timestamp) {
        let entry = entries[place]
        if entry.previous == noPlace {
            groups[entry.group].head = entry.next
        } else {
            entries[entry.previous].next = entry.next
        }
        if entry.next == noPlace {
            groups[entry.group].tail = entry.previous
        } else {
            entries[entry.next].previous = entry.previous
        }
        if entry.delivery != noPlace {
            if deliveries[entry.delivery].heapIndex != noPlace { timeouts.remove(entry.delivery, &deliveries) }
            if deliveries[entry.delivery].isHeld { heldCount -= 1 }
            deliveries.remove(entry.delivery)
        }
        unlinkFromBlock(place, deletionRow: deletionRow)
        messageCount -= 1
        refresh(entry.group, now)
        if groups[entry.group].head == noPlace {
            groupPlaces[groups[entry.group].hash] = nil
            groups.remove(entry.group)
        }
        // A place that is free stays readable; a stale handle must not find its message there.
        entries[place].sequence = SequenceNumber(rawValue: -1)
        entries.remove(place)
    }
}
