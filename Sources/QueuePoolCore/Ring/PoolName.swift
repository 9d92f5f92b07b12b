// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The name of a pool, which is the name of the logical FIFO queue: 1...80 of `[A-Za-z0-9_-]`, ending in `.fifo`.
public struct PoolName: Hashable, Sendable, CustomStringConvertible {
    public let text: String

    /// - Returns: `nil` if the name breaks the rule of SQS queue names, or leaves no room for its shards' suffixes.
    public init?(_ text: String) {
        guard text.hasSuffix(".fifo"), text.utf8.count <= QueueLimits.queueNameBytesMax, text.utf8.count > 5 else {
            return nil
        }
        guard text.utf8.dropLast(5).allSatisfy(PoolName.isAllowed) else { return nil }
        self.text = text
    }

    public var description: String { text }

    /// `emails.fifo` -> `emails`.
    public var stem: String { String(text.dropLast(5)) }

    /// `emails.fifo` -> `emails-0003.fifo`.
    public func shardName(_ number: Int) -> String {
        let digits = String(number)
        return stem + "-" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits + ".fifo"
    }

    /// Whether a queue's name is one that a shard of this pool has, whatever its number.
    public func isShardName(_ queue: String) -> Bool {
        let digits = queue.dropFirst(stem.count + 1).dropLast(5)
        return digits.count >= 4 && Int(digits).map { shardName($0) == queue } == true
    }

    /// `emails.fifo` -> `emails-dlq.fifo`.
    public var deadLetterQueueName: String { stem + "-dlq.fifo" }

    /// How long the name of a pool may be so that the queues beside it have names too: the shards of a pool of several, and
    /// the dead-letter queue.
    public func bytesMax(shards: Int, deadLetterQueue: Bool) -> Int {
        var longest = text.utf8.count
        // Pools have at most 256 shards, whose names are equally long.
        if shards > 1 { longest = max(longest, shardName(0).utf8.count) }
        if deadLetterQueue { longest = max(longest, deadLetterQueueName.utf8.count) }
        return QueueLimits.queueNameBytesMax - (longest - text.utf8.count)
    }

    /// Letters, digits, hyphen, underscore.
    public static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
