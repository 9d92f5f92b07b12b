// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What the index remembers. An entry is 40 bytes; a delivery record exists only for messages that were received.

/// One undeleted message.
struct Entry: Sendable {
    var sequence: SequenceNumber
    /// Place of the block whose row holds the record.
    var block: UInt32
    /// Where the record begins in the row's body, and its bytes.
    var offset: UInt32
    var length: UInt32
    var group: UInt32
    /// Neighbours in the group, oldest first.
    var next: UInt32
    var previous: UInt32
    /// Place of the delivery record, or `noPlace` if the message was never received.
    var delivery: UInt32
    /// Position in the block's `places`.
    var indexInBlock: UInt32
}

/// What is known of a message that was received at least once.
struct Delivery: Sendable {
    var entry: UInt32
    var receiveCount: UInt32
    /// When the visibility timeout ends; in flight while `heapIndex` is set.
    var visibleAt: Timestamp
    var receivedAt: Timestamp
    var firstReceivedAt: Timestamp
    /// The opening of the shard in which it was received last.
    var incarnation: UInt32 = 0
    /// Position in the heap of timeouts, or `noPlace` when not in flight.
    var heapIndex = noPlace
    /// A delete or a move to the dead-letter queue is on its way to the disk: nobody gets the message meanwhile.
    var isHeld = false
    /// Held by retention or by a move to the dead-letter queue, not by its receiver's delete.
    var isLeaving = false
    /// The receiver changed the visibility, so that the receive can no longer be replayed.
    var isChanged = false

    /// Whether `handle` was given out with this delivery, and not with another one of the same message.
    func gave(_ handle: ReceiptHandle) -> Bool {
        (receiveCount == handle.receiveCount || Mutation.expiredHandlesCount.isOn)
            && (incarnation == handle.incarnation || Mutation.handlesOutliveOpenings.isOn)
    }
}

/// In which line a group stands.
enum Standing: Sendable {
    /// In none: its oldest message is in flight, held or delayed.
    case none
    /// Its oldest message can be delivered.
    case ready
    /// Its oldest message could be delivered, but must leave instead: it is older than the retention period, or was
    /// received too often.
    case leaving
}

/// One message group that has messages.
struct Group: Sendable {
    var hash: UInt64
    var head: UInt32
    var tail: UInt32
    /// Neighbours in the line in which it stands.
    var nextInLine = noPlace
    var previousInLine = noPlace
    var standing = Standing.none
}

/// The messages of one commit: one row of the shard's log.
struct Block: Sendable {
    var row: Int64
    var first: SequenceNumber
    /// Places of its messages, oldest first; `noPlace` where one was deleted. Empty when none is left.
    ///
    /// An array rather than links: a delete finds its own position in one step, however many groups share a commit.
    var places: [UInt32]
    /// Undeleted messages.
    var live: UInt32
    /// Bytes of the row's body.
    var byteCount: UInt32
    /// The oldest row of the log that names a deleted message of this block; 0 if none.
    var firstDeletionRow: Int64 = 0
    /// The row's body, while it is in the cache.
    var body: [UInt8]?
}

/// A block that needs deletion rows of the log, since some of its messages are gone and others are not.
struct Pin: Sendable {
    let block: UInt32
    let row: Int64
    /// The oldest row that it needs.
    let deletionRow: Int64
}

/// A doubly linked line of groups, first in first out.
struct GroupLine: Sendable {
    private(set) var first = noPlace
    private(set) var last = noPlace
    /// What a group in this line is told by.
    let standing: Standing

    mutating func append(_ group: UInt32, _ groups: inout Slab<Group>) {
        groups[group].standing = standing
        groups[group].nextInLine = noPlace
        groups[group].previousInLine = last
        if last == noPlace { first = group } else { groups[last].nextInLine = group }
        last = group
    }

    mutating func remove(_ group: UInt32, _ groups: inout Slab<Group>) {
        let (previous, next) = (groups[group].previousInLine, groups[group].nextInLine)
        if previous == noPlace { first = next } else { groups[previous].nextInLine = next }
        if next == noPlace { last = previous } else { groups[next].previousInLine = previous }
        groups[group].standing = .none
    }
}

/// A binary heap of deliveries by the end of their visibility timeout, with removal from the middle: a message that is
/// deleted in time leaves at once, so the heap is as large as what is in flight, not as what was received lately.
struct TimeoutHeap: Sendable {
    private(set) var places: [UInt32] = []

    var count: Int { places.count }
    var first: UInt32? { places.first }

    mutating func insert(_ place: UInt32, _ deliveries: inout Slab<Delivery>) {
        places.append(place)
        deliveries[place].heapIndex = UInt32(places.count - 1)
        siftUp(places.count - 1, &deliveries)
    }

    mutating func remove(_ place: UInt32, _ deliveries: inout Slab<Delivery>) {
        let index = Int(deliveries[place].heapIndex)
        deliveries[place].heapIndex = noPlace
        let last = places.removeLast()
        guard index < places.count else { return }
        set(index, last, &deliveries)
        siftUp(index, &deliveries)
        siftDown(Int(deliveries[last].heapIndex), &deliveries)
    }

    private mutating func set(_ index: Int, _ place: UInt32, _ deliveries: inout Slab<Delivery>) {
        places[index] = place
        deliveries[place].heapIndex = UInt32(index)
    }

    private mutating func siftUp(_ start: Int, _ deliveries: inout Slab<Delivery>) {
        var index = start
        let place = places[index]
        let time = deliveries[place].visibleAt
        while index > 0 {
            let parent = (index - 1) / 2
            guard time < deliveries[places[parent]].visibleAt else { break }
            set(index, places[parent], &deliveries)
            index = parent
        }
        set(index, place, &deliveries)
    }

    private mutating func siftDown(_ start: Int, _ deliveries: inout Slab<Delivery>) {
        var index = start
        let place = places[index]
        let time = deliveries[place].visibleAt
        while true {
            var child = 2 * index + 1
            guard child < places.count else { break }
            if child + 1 < places.count,
                deliveries[places[child + 1]].visibleAt < deliveries[places[child]].visibleAt
            {
                child += 1
            }
            guard deliveries[places[child]].visibleAt < time else { break }
            set(index, places[child], &deliveries)
            index = child
        }
        set(index, place, &deliveries)
    }
}
