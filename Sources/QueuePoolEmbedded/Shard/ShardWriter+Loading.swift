// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// Bodies that are not in memory.

extension ShardWriter {
    /// Fetches what a receive handed out.
    func load(
        _ decision: ReceiveDecision, _ bodies: inout [Int64: [UInt8]],
        _ completion: @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) {
        var messages: [ReceivedMessage] = []
        messages.reserveCapacity(decision.received.count)
        var failure: ShardError?
        var heldBack: Set<SequenceNumber> = []
        for (place, entry) in decision.received.enumerated() where !heldBack.contains(entry.sequence) {
            switch find(entry, &bodies) {
            case .success(let message?): messages.append(message)
            // Deleted since by another handle's delete, or purged.
            case .success(nil): continue
            // Other groups have nothing to do with it.
            case .failure(let error) where error.isUnopenedRow:
                failure = error
                heldBack.formUnion(putAside(entry, rest: decision.received[(place + 1)...]))
            // What was handed out becomes visible again when its timeout ends.
            case .failure(let error): return completion(.failure(error))
            }
        }
        if messages.isEmpty, let failure { return completion(.failure(failure)) }
        completion(.success(messages))
    }

    func find(
        _ entry: ReceivedEntry, _ bodies: inout [Int64: [UInt8]]
    ) -> Result<ReceivedMessage?, ShardError> {
        if let body = entry.body { return .success(entry.message(in: body)) }
        // The row may have been rewritten, or its body cached, since the decision.
        guard let place = shard.index.withLock({ $0.locate(entry.handle) }) else { return .success(nil) }
        if let body = place.body ?? bodies[place.row] { return .success(entry.message(place, in: body)) }
        do throws(DatabaseError) {
            guard let body = try store.file.body(row: place.row), place.offset + place.length <= body.count else {
                return .failure(.storageFailed(code: 11))
            }
            let message = entry.message(place, in: body)
            // A row that nothing seals may have changed on the disk; lengths in it must not be gone by unseen.
            guard message.isSound else { throw .unopened(place.row) }
            bodies[place.row] = body
            shard.index.withLock { $0.keep(body, row: place.row, for: entry.handle) }
            return .success(message)
        } catch {
            if error.isUnopenedRow { noteUnopened(row: place.row) }
            return .failure(.storageFailed(code: error.code))
        }
    }
}

extension ShardError {
    /// Whether a row of a sealed log did not open.
    fileprivate var isUnopenedRow: Bool { self == .storageFailed(code: DatabaseError.unopenedRow) }
}

extension ReceivedEntry {
    /// This delivery, with the record where it lies now.
    func message(_ place: ReceivedEntry, in storage: [UInt8]) -> ReceivedMessage {
        ReceivedMessage(
            handle: handle, messageID: MessageID(shard: handle.shard, sequence: handle.sequence),
            receiveCount: Int(handle.receiveCount), firstReceivedAt: firstReceivedAt, storage: storage,
            offset: place.offset, length: place.length)
    }
}

extension ReceivedMessage {
    /// The message as it goes to the dead-letter queue: same id and group, its deduplication id replaced by its message
    /// id, its receive count to be counted on from (SQS developer guide, dead-letter queues).
    func deadLetter() -> OutgoingMessage {
        withView { view in
            let origin = MessageOrigin(
                messageID: view.origin?.messageID ?? messageID,
                receiveCount: UInt32(clamping: receiveCount + Int(view.origin?.receiveCount ?? 0)))
            let record = MessageRecord(
                group: Array(view.group), deduplicationID: origin.messageID.utf8, body: view.body,
                attributes: view.attributes, systemAttributes: view.systemAttributes, bodyMD5: view.bodyMD5,
                origin: origin)
            return OutgoingMessage(record: record, groupHash: XXHash64.hash(view.group))
        }
    }
}
