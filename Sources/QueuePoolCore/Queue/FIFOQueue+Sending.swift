// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where one record lies in a block's body; also the row's directory, from which the index is rebuilt at open.
public struct DirectoryEntry: Hashable, Sendable {
    public var sequence: SequenceNumber
    public var offset: UInt32
    public var length: UInt32
    public var groupHash: UInt64

    public init(sequence: SequenceNumber, offset: UInt32, length: UInt32, groupHash: UInt64) {
        self.sequence = sequence
        self.offset = offset
        self.length = length
        self.groupHash = groupHash
    }
}

/// The messages of one commit as they go to the log: bodies end to end, a directory, and the deduplication keys.
public struct BlockDraft: Sendable {
    public var directory: [DirectoryEntry] = []
    public var body: [UInt8] = []
    /// One key for each entry of `directory`.
    public var keys: [Hash128] = []

    public init() {}

    /// One with room for so many messages and for so many bytes of records.
    public init(count: Int, bytes: Int) {
        directory.reserveCapacity(count)
        keys.reserveCapacity(count)
        body.reserveCapacity(bytes)
    }

    public var isEmpty: Bool { directory.isEmpty }
}

extension FIFOQueue {
    /// The keys of messages that a commit is about to judge, in their order.
    public mutating func keys(of sends: some Sequence<[OutgoingMessage]>, count: Int, now: Timestamp) -> CommitKeys {
        scopes.advance(isEmpty: window.count == 0, now: now)
        var keys: [Hash128] = []
        keys.reserveCapacity(count)
        for messages in sends {
            for message in messages { keys.append(deduplicationKey(of: message, scopes.current)) }
        }
        window.fetch(keys)
        return CommitKeys(keys)
    }

    /// Judges one send: gives a new message its place in the draft and answers a duplicate with the first message.
    ///
    /// Nothing is visible or remembered until `publish`, so a commit that fails leaves no trace but a gap in the
    /// sequence numbers.
    /// - Parameter keys: of the commit's messages, with that of this one next.
    /// - Returns: the receipt, which holds once the draft is durable.
    public mutating func draft(
        _ message: OutgoingMessage, into draft: inout BlockDraft, keys: inout CommitKeys, now: Timestamp
    ) -> SendReceipt {
        defer { keys.advance() }
        let key = keys.current ?? deduplicationKey(of: message, scopes.current)
        var first = keys.earlier ?? window.first(key, now: now)
        if first == nil, let other = scopes.other(now: now) {
            first = window.first(deduplicationKey(of: message, other), now: now)
        }
        if let first {
            duplicateCount += 1
            return receipt(first, isDuplicate: true)
        }
        let sequence = nextSequence(now)
        if !Mutation.twinsInACommit.isOn { keys.take(sequence) }
        draft.keys.append(key)
        draft.directory.append(
            DirectoryEntry(
                sequence: sequence, offset: Mutation.bodiesOverlap.isOn ? 0 : UInt32(draft.body.count),
                length: UInt32(message.record.bytes.count),
                groupHash: message.groupHash))
        draft.body.append(contentsOf: message.record.bytes)
        return receipt(sequence, isDuplicate: false)
    }

    /// Makes the messages of a durable draft receivable.
    public mutating func publish(_ draft: BlockDraft, row: Int64, now: Timestamp) {
        for (entry, key) in zip(draft.directory, draft.keys) { window.insert(key, entry.sequence) }
        sentCount += draft.directory.count
        let place = append(row: row, directory: draft.directory, byteCount: UInt32(draft.body.count), now: now)
        if let place { keep(draft.body, of: place) }
    }

    /// Adds a block of the log to the index; also the way in which the index is rebuilt at open.
    /// - Parameter directory: ascending by sequence number, later than every block before.
    /// - Returns: the block's place, or `nil` if the directory is empty.
    @discardableResult
    public mutating func append(
        row: Int64, directory: [DirectoryEntry], byteCount: UInt32, now: Timestamp
    ) -> UInt32? {
        guard let first = directory.first, let last = directory.last else { return nil }
        lastSequence = max(lastSequence, last.sequence)
        let block = blocks.insert(
            Block(
                row: row, first: first.sequence, places: [], live: UInt32(directory.count), byteCount: byteCount))
        blockOrder.append(block)
        var places: [UInt32] = []
        places.reserveCapacity(directory.count)
        for (index, item) in directory.enumerated() {
            places.append(appendToGroup(item, block: block, index: UInt32(index), now: now))
        }
        blocks[block].places = places
        messageCount += directory.count
        return block
    }

    private mutating func appendToGroup(_ item: DirectoryEntry, block: UInt32, index: UInt32, now: Timestamp) -> UInt32
    {
        let known = groupPlaces[item.groupHash]
        let group = known ?? groups.insert(Group(hash: item.groupHash, head: noPlace, tail: noPlace))
        if known == nil { groupPlaces[item.groupHash] = group }
        let tail = groups[group].tail
        let place = entries.insert(
            Entry(
                sequence: item.sequence, block: block, offset: item.offset, length: item.length, group: group,
                next: noPlace, previous: tail, delivery: noPlace, indexInBlock: index))
        if tail == noPlace { groups[group].head = place } else { entries[tail].next = place }
        groups[group].tail = place
        if tail == noPlace { refresh(group, now) }
        return place
    }

    /// Remembers a deduplication key read back from the log.
    public mutating func restore(key: Hash128, sequence: SequenceNumber) {
        lastSequence = max(lastSequence, sequence)
        window.insert(key, sequence)
    }

    func receipt(_ sequence: SequenceNumber, isDuplicate: Bool) -> SendReceipt {
        SendReceipt(
            messageID: MessageID(shard: tag, sequence: sequence), sequence: sequence, isDuplicate: isDuplicate)
    }

    private mutating func nextSequence(_ now: Timestamp) -> SequenceNumber {
        let clock = SequenceNumber(firstOf: now)
        let next = SequenceNumber(rawValue: lastSequence.rawValue + 1)
        lastSequence = Mutation.sequenceRunsBack.isOn ? clock : max(clock, next)
        return lastSequence
    }

    /// Keys of different scopes are never equal: no group is empty.
    private func deduplicationKey(of message: OutgoingMessage, _ scope: DeduplicationScope) -> Hash128 {
        message.record.withView { view in
            switch scope {
            case .messageGroup: deduplicationHash.hash(view.group, view.deduplicationID)
            case .queue: deduplicationHash.hash(UnsafeRawBufferPointer(start: nil, count: 0), view.deduplicationID)
            }
        }
    }
}
