// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
public import QueuePoolCore
import QueuePoolJSON

// From a sender's description to the bytes that a shard stores. All rules are checked here, once, and all digests that
// the answer and later receives need are computed here. The order of the checks is that of SQS: body, size, characters,
// group id, deduplication id, delay, attributes.

/// A message that may be sent, and what the answer must say about it.
public struct PreparedSend: Sendable {
    public let message: OutgoingMessage
    public let bodyMD5: MD5Digest
    /// `nil` if there are no attributes.
    public let attributesMD5: MD5Digest?
    public let systemAttributesMD5: MD5Digest?
}

/// Turns one entry of a request into a message.
/// - Parameters:
///   - traceHeader: value of the request header `X-Amzn-Trace-Id`, if any; becomes `AWSTraceHeader`.
///   - bodies: `nil`: a message is as large as the queue takes it.
///   - isBatch: whether the entry is one of a batch, whose texts differ.
///   - bodyMD5: of the entry's body, if it is known already.
/// - Throws: the error that answers a single send, or becomes the entry's failure in a batch.
public func prepare(
    _ entry: SendEntry, attributes: QueueAttributes, isBatch: Bool, traceHeader: String? = nil,
    bodies: BodyRules? = nil, bodyMD5: MD5Digest? = nil
) throws(SQSError) -> PreparedSend {
    guard !entry.body.isEmpty else { throw .missing("MessageBody") }
    try checkSize(entry, attributes.maximumMessageSize, bodies, isBatch)
    guard MessageRules.isAllowed(entry.body) else { throw .invalidBody }
    guard let group = entry.groupID else { throw isBatch ? .missingGroupIDInBatch : .missing("MessageGroupId") }
    guard group.withBytes(MessageRules.isIdentifier) else { throw .invalidIdentifier("MessageGroupId", group.text) }
    let deduplicationID = try deduplicationID(of: entry, attributes)
    try checkDelay(entry.delaySeconds)
    if entry.attributesCount > 0 || !entry.attributes.isEmpty {
        try MessageRules.check(entry.attributes, count: max(entry.attributesCount, entry.attributes.count))
    }
    if !entry.systemAttributes.isEmpty { try MessageRules.checkSystem(entry.systemAttributes) }

    let bodyMD5 = bodyMD5 ?? entry.body.withBytes { MD5Digest(of: $0) }
    var systemAttributes = entry.systemAttributes
    if systemAttributes.isEmpty, let traceHeader {
        // A header that cannot be an attribute is nobody's error: the trace is lost, not the message.
        let attribute = MessageAttribute(name: "AWSTraceHeader", text: traceHeader)
        if (try? MessageRules.checkSystem([attribute])) != nil { systemAttributes = [attribute] }
    }
    let record = group.withBytes { group in
        deduplicationID.withBytes { deduplicationID in
            entry.body.withBytes { body in
                MessageRecord(
                    group: group, deduplicationID: deduplicationID, body: body, attributes: entry.attributes,
                    systemAttributes: systemAttributes, bodyMD5: bodyMD5)
            }
        }
    }
    return PreparedSend(
        message: OutgoingMessage(record: record, groupHash: group.withBytes { XXHash64.hash($0) }),
        bodyMD5: bodyMD5, attributesMD5: MD5Digest(of: entry.attributes),
        systemAttributesMD5: MD5Digest(of: entry.systemAttributes))
}

private func checkSize(_ entry: SendEntry, _ limit: Int, _ bodies: BodyRules?, _ isBatch: Bool) throws(SQSError) {
    guard entry.countedBytes > limit else { return }
    guard let bodies else { throw .messageTooLong(limit, inBatch: isBatch) }
    let attributes = entry.countedBytes - entry.body.count
    switch bodies.refusal(body: entry.body.count, attributes: attributes, count: entry.attributesCount) {
    case .body: throw .messageTooLong(bodies.limitBytes, inBatch: isBatch)
    case .attributes: throw .messageTooLong(limit, inBatch: isBatch)
    case .count:
        throw SQSError(
            .invalidParameterValue,
            "Number of message attributes [\(entry.attributesCount)] exceeds the maximum allowed for large-payload "
                + "messages [\(bodies.attributesMax - 1)].")
    case nil: return
    }
}

private func deduplicationID(of entry: SendEntry, _ attributes: QueueAttributes) throws(SQSError) -> JSONString {
    if let id = entry.deduplicationID {
        guard id.withBytes(MessageRules.isIdentifier) else {
            throw .invalidIdentifier("MessageDeduplicationId", id.text)
        }
        return id
    }
    guard attributes.contentBasedDeduplication else { throw .missingDeduplicationID }
    return .decoded(entry.body.withBytes { contentDeduplicationID($0) })
}

/// The id of a message whose sender left it to the content: lower-case hexadecimal SHA-256 of the body.
public func contentDeduplicationID(_ body: [UInt8]) -> [UInt8] { body.withUnsafeBytes { contentDeduplicationID($0) } }

private func contentDeduplicationID(_ body: UnsafeRawBufferPointer) -> [UInt8] {
    var hasher = SHA256()
    hasher.update(bufferPointer: body)
    return hasher.finalize().withUnsafeBytes { digest in
        var out: [UInt8] = []
        out.reserveCapacity(2 * digest.count)
        for byte in digest {
            out.append(Hexadecimal.digit(UInt64(byte >> 4)))
            out.append(Hexadecimal.digit(UInt64(byte & 15)))
        }
        return out
    }
}

/// A FIFO queue has its own delay only: 0 is accepted and changes nothing.
private func checkDelay(_ seconds: Int?) throws(SQSError) {
    guard let seconds, seconds != 0 else { return }
    guard seconds > 0, seconds <= QueueLimits.delaySecondsMax else {
        throw .invalid("DelaySeconds", seconds, "DelaySeconds must be >= 0 and <= 900.")
    }
    throw .invalid(
        "DelaySeconds", seconds, "The request include parameter that is not valid for this queue type.")
}
