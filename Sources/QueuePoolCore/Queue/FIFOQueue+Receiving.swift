// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A message that a receive hands out.
public struct ReceivedEntry: Sendable {
    public let handle: ReceiptHandle
    public let firstReceivedAt: Timestamp
    /// Where the record lies: the log's row, and the part of its body.
    public let row: Int64
    public let offset: Int
    public let length: Int
    /// The row's body if it is in the cache.
    public let body: [UInt8]?

    public var sequence: SequenceNumber { handle.sequence }
    public var receiveCount: UInt32 { handle.receiveCount }
}

/// What one receive came to.
public struct ReceiveDecision: Sendable {
    public var received: [ReceivedEntry] = []
    /// Messages whose next delivery would exceed the redrive policy's count: held until they are moved.
    public var toDeadLetter: [ReceivedEntry] = []
    /// Messages older than the retention period that the receive met: held until their deletion is written.
    public var expired: [ReceiptHandle] = []

    /// At most so many leave in one receive: it holds the index's lock, and whoever asked for one message waits for it.
    public static let deadLettersMax = 10
    public static let expiredMax = 100

    var hasRoomForDeadLetter: Bool { toDeadLetter.count < ReceiveDecision.deadLettersMax }
    var hasRoomForExpired: Bool { expired.count < ReceiveDecision.expiredMax }
}

extension FIFOQueue {
    /// Delivers up to `limit` messages: as many of one group as possible, in order, then the next group in line.
    /// - Parameters:
    ///   - visibilityMilliseconds: 0...43,200,000; with 0 the messages stay visible.
    ///   - attemptID: a repeat with the same id within five minutes gets the same messages and handles.
    /// - Important: call `advance(to:)` first.
    public mutating func receive(
        limit: Int, visibilityMilliseconds: Int64, attemptID: String?, now: Timestamp
    ) -> ReceiveDecision {
        var decision = ReceiveDecision()
        if let attemptID, let replayed = replay(attemptID, visibilityMilliseconds, now) {
            decision.received = replayed
            return decision
        }
        var served: [UInt32] = []
        var left = min(limit, QueueLimits.inFlightMax - inFlightCount)
        if left > 0 { letGo(now, &decision) }
        while left > 0, ready.first != noPlace {
            let group = ready.first
            ready.remove(group, &groups)
            served.append(group)
            left -= serve(group, limit: left, visibilityMilliseconds, now, &decision)
        }
        // Only now do the served groups go back to the end of the line, so that none is served twice in one receive.
        for group in served { refresh(group, now) }
        if let attemptID, !decision.received.isEmpty {
            replays.remember(attemptID, decision.received.map(\.handle), now: now)
        }
        receivedCount += decision.received.count
        return decision
    }

    /// What must leave, without a receive: a slice of it, held like a receive holds it.
    /// - Important: call `advance(to:)` first.
    public mutating func takeLeaving(now: Timestamp) -> ReceiveDecision {
        var decision = ReceiveDecision()
        letGo(now, &decision)
        return decision
    }

    /// Takes out what must leave before its group can be served. The followers have their turn when that is durable.
    private mutating func letGo(_ now: Timestamp, _ decision: inout ReceiveDecision) {
        while leaving.first != noPlace {
            let group = leaving.first
            let place = holdExpired(groups[group].head, now, &decision)
            // Who finds no room waits in front of the line: for the next receive, or for upkeep.
            if place != noPlace, isAvailable(place, now), isPastRetention(place, now) { break }
            if place == groups[group].head, isSpent(place), !holdSpent(place, &decision) { break }
            refresh(group, now)
        }
    }

    /// Holds a group's messages that are past retention, as many as there is room for.
    /// - Returns: the first one that it left, or `noPlace`.
    private mutating func holdExpired(
        _ head: UInt32, _ now: Timestamp, _ decision: inout ReceiveDecision
    ) -> UInt32 {
        var place = head
        // Followers are younger, so whoever is past retention stands in front.
        while place != noPlace, decision.hasRoomForExpired, isAvailable(place, now), isPastRetention(place, now) {
            if let handle = hold(place, now) { decision.expired.append(handle) }
            place = entries[place].next
        }
        return place
    }

    /// - Returns: whether there was room.
    private mutating func holdSpent(_ place: UInt32, _ decision: inout ReceiveDecision) -> Bool {
        guard decision.hasRoomForDeadLetter else { return false }
        deliveries[entries[place].delivery].isHeld = true
        deliveries[entries[place].delivery].isLeaving = true
        heldCount += 1
        decision.toDeadLetter.append(receivedEntry(place))
        return true
    }

    private mutating func serve(
        _ group: UInt32, limit: Int, _ visibility: Int64, _ now: Timestamp, _ decision: inout ReceiveDecision
    ) -> Int {
        var count = 0
        let isSkipped = Mutation.heldHeadIsPassed.isOn && !isAvailable(groups[group].head, now)
        var place = holdExpired(isSkipped ? groups[group].tail : groups[group].head, now, &decision)
        while count < limit, place != noPlace, isAvailable(place, now), !isPastRetention(place, now) {
            if isSpent(place) {
                _ = holdSpent(place, &decision)
                break
            }
            deliver(place, Mutation.followersStayVisible.isOn && count > 0 ? 0 : visibility, now)
            decision.received.append(receivedEntry(place))
            count += 1
            place = entries[place].next
        }
        return count
    }

    mutating func deliver(_ place: UInt32, _ visibility: Int64, _ now: Timestamp) {
        var delivery = entries[place].delivery
        if delivery == noPlace {
            delivery = deliveries.insert(
                Delivery(entry: place, receiveCount: 0, visibleAt: now, receivedAt: now, firstReceivedAt: now))
            entries[place].delivery = delivery
        }
        if deliveries[delivery].receiveCount == 0 { deliveries[delivery].firstReceivedAt = now }
        deliveries[delivery].receiveCount += 1
        deliveries[delivery].incarnation = incarnation
        deliveries[delivery].receivedAt = now
        deliveries[delivery].isChanged = false
        deliveries[delivery].visibleAt = now + (Mutation.timeoutTooShort.isOn ? visibility / 4 : visibility)
        if visibility > 0 { timeouts.insert(delivery, &deliveries) }
    }

    func receivedEntry(_ place: UInt32) -> ReceivedEntry {
        let entry = entries[place]
        let delivery = deliveries[entry.delivery]
        let block = blocks[entry.block]
        return ReceivedEntry(
            handle: sealedHandle(place, of: delivery),
            firstReceivedAt: delivery.firstReceivedAt, row: block.row, offset: Int(entry.offset),
            length: Int(entry.length), body: block.body)
    }

    /// Where a message lies now, if it is still there: rows may have been rewritten since a receive.
    public func locate(_ handle: ReceiptHandle) -> ReceivedEntry? {
        guard let place = place(of: handle), entries[place].delivery != noPlace else { return nil }
        return receivedEntry(place)
    }

    /// Holds a message back that was handed out and cannot be read: it is invisible for a while, and so its group is locked.
    /// What follows it is visible again at once, behind it.
    /// - Parameter rest: handles of what was handed out after it, in their order.
    /// - Returns: the numbers of those that follow it in its group.
    public mutating func putAside(
        _ handle: ReceiptHandle, rest: [ReceiptHandle], milliseconds: Int64, now: Timestamp
    ) -> Set<SequenceNumber> {
        guard let group = place(of: handle).map({ entries[$0].group }) else { return [] }
        _ = changeVisibility(handle, milliseconds: milliseconds, now: now)
        let followers = rest.filter { place(of: $0).map { entries[$0].group } == group }
        for follower in followers.reversed() { _ = changeVisibility(follower, milliseconds: 0, now: now) }
        return Set(followers.map(\.sequence))
    }

    private mutating func replay(_ id: String, _ visibility: Int64, _ now: Timestamp) -> [ReceivedEntry]? {
        guard let handles = replays.handles(id, now: now) else { return nil }
        var places: [UInt32] = []
        for handle in handles {
            guard let place = place(of: handle), entries[place].delivery != noPlace else { return nil }
            let delivery = deliveries[entries[place].delivery]
            guard delivery.gave(handle), delivery.heapIndex != noPlace, !delivery.isHeld, !delivery.isChanged,
                !isPastRetention(place, now)
            else { return nil }
            places.append(place)
        }
        for place in places { setVisibleAt(entries[place].delivery, now + visibility) }
        return places.map(receivedEntry)
    }

    /// Moves the end of a running timeout; the delivery stays in flight.
    mutating func setVisibleAt(_ delivery: UInt32, _ time: Timestamp) {
        timeouts.remove(delivery, &deliveries)
        deliveries[delivery].visibleAt = time
        timeouts.insert(delivery, &deliveries)
    }
}
