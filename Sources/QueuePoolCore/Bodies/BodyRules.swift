// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What a pool's doors let pass.
public struct BodyRules: Hashable, Sendable {
    public let thresholdBytes: Int
    public let limitBytes: Int
    /// Attributes that a message may have beside its size; ten in all are allowed in queues of SQS, and in those of our own
    /// nobody sees the size.
    public let attributesMax: Int

    public init(thresholdBytes: Int, limitBytes: Int, attributesMax: Int) {
        self.thresholdBytes = thresholdBytes
        self.limitBytes = limitBytes
        self.attributesMax = attributesMax
    }

    /// Bytes of a pointer's text and of the attribute that says how large the body is, with room to spare.
    private static let pointerBytesMax = 2_048

    /// What keeps a message from being sent that does not fit in a queue.
    public enum Refusal: Hashable, Sendable {
        case body
        /// They stay in the queue, and do not fit in it.
        case attributes
        /// There is no place for the one that says how large the body is.
        case count
    }

    /// - Parameters:
    ///   - attributes: bytes of them.
    ///   - count: of attributes.
    public func refusal(body: Int, attributes: Int, count: Int) -> Refusal? {
        if body > limitBytes { return .body }
        if attributes > QueueLimits.messageBytesMax - BodyRules.pointerBytesMax { return .attributes }
        return count >= attributesMax ? .count : nil
    }

    /// Whether a message does not fit in a queue, or its body is one of those that do not go there.
    public func needsStore(body: Int, attributes: Int, count: Int) -> Bool {
        if body + attributes > QueueLimits.messageBytesMax { return true }
        // With a full set of attributes there is no place for the size, and without it no need.
        return body > thresholdBytes && count < attributesMax
    }
}
