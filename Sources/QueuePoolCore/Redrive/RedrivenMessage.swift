// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Where a message came from is in its record if a server moved it, and in the attribute `queuepool.pool`, or else in the
// deduplication id, if a worker gave it up.

extension ReceivedMessage {
    /// The shard in which the message had its first id, if its record says so.
    public var originShard: ShardTag? { withView { $0.origin?.messageID.shard } }

    /// The pool that a worker noted on the message when it gave it up.
    public var notedPool: String? {
        withView { view in
            let named = view.hasAttributes ? view.attributes.first { $0.name == WorkerAttributes.pool } : nil
            return named.map { String(decoding: $0.value, as: UTF8.self) }
                ?? DeadLetterMark.pool(ofDeduplicationID: view.deduplicationID)
        }
    }

    /// The message as a new one: it gets a new id and enqueue time where it goes.
    public func redriven() -> OutgoingMessage {
        withView { view in
            let record = MessageRecord(
                group: Array(view.group), deduplicationID: Array(view.deduplicationID), body: view.body,
                attributes: view.attributes.filter {
                    !$0.name.hasPrefix(WorkerAttributes.prefix) || $0.name == WorkerAttributes.recipients
                },
                systemAttributes: view.systemAttributes, bodyMD5: view.bodyMD5)
            return OutgoingMessage(record: record, groupHash: XXHash64.hash(view.group))
        }
    }
}
