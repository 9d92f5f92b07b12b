// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
import QueuePoolJSON

// The attributes of a queue as texts, which is how SQS sets, compares and shows them. What is kept is checked, in one
// form (numbers without leading zeros, booleans in lower case, redrive policies rewritten), so that equal means equal.
// Only what was set is kept; the rest is the default. Source: API reference of CreateQueue and SetQueueAttributes.

/// The settable attributes of one FIFO queue.
public struct QueueAttributeSet: Hashable, Sendable {
    private var texts: [QueueAttributeName: String] = [:]
    /// Parsed from `RedrivePolicy`.
    public private(set) var redrive: RedrivePolicy?
    /// Parsed from `RedriveAllowPolicy`.
    public private(set) var redriveAllow = RedriveAllowPolicy()

    /// Whether the queue is one of Amazon SQS, which encrypts and enforces policies. Files of our own do neither, and
    /// what is shown of them says so.
    public var isEnforced = true

    /// A FIFO queue with every default.
    public init() {}

    /// A queue that CreateQueue asks for.
    /// - Throws: `invalidParameterValue` unless name and attributes make it FIFO, and what `update` throws.
    public init(creating name: String, _ attributes: [String: String]) throws(SQSError) {
        let isFIFO = attributes[QueueAttributeName.fifoQueue.rawValue]?.lowercased() ?? "false"
        guard isFIFO == "true" || isFIFO == "false" else {
            throw .invalidAttribute("FifoQueue", "Must be true or false.")
        }
        switch (isFIFO == "true", name.hasSuffix(".fifo")) {
        case (true, true):
            break
        case (true, false):
            throw SQSError(
                .invalidParameterValue,
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end "
                    + "with .fifo suffix and be 1 to 80 in length")
        case (false, _):
            throw SQSError(
                .invalidParameterValue,
                "Only FIFO queues can be created here: the attribute FifoQueue must be true and the name must end "
                    + "with .fifo.")
        }
        try update(attributes, queue: name)
    }

    /// Sets attributes as SetQueueAttributes does: all of them, or none if one is refused.
    /// - Throws: `invalidAttributeName` for names unknown or read-only, `invalidAttributeValue`,
    ///   `invalidParameterValue` for policies.
    public mutating func update(_ attributes: [String: String], queue: String) throws(SQSError) {
        var changed = self
        // In the order of names, so that of several faults the same one is always told.
        for (text, value) in attributes.sorted(by: { $0.key < $1.key }) {
            guard let name = QueueAttributeName(rawValue: text), !name.isReadOnly else { throw .unknownAttribute(text) }
            try changed.set(name, value, queue: queue)
        }
        guard changed[.fifoThroughputLimit] == "perQueue" || changed[.deduplicationScope] == "messageGroup" else {
            throw .invalidAttribute(
                "FifoThroughputLimit",
                "It can be perMessageGroupId only when DeduplicationScope is messageGroup.")
        }
        self = changed
    }

    /// The text in force, set or default; `nil` if there is none.
    public subscript(_ name: QueueAttributeName) -> String? {
        if name == .sqsManagedSseEnabled {
            guard isEnforced else { return "false" }
            return texts[name] ?? (texts[.kmsMasterKeyId] == nil ? "true" : "false")
        }
        return texts[name] ?? name.initialText
    }

    /// What of it changes how the queue treats messages.
    public var queueAttributes: QueueAttributes {
        var attributes = QueueAttributes()
        attributes.delaySeconds = number(.delaySeconds)
        attributes.maximumMessageSize = number(.maximumMessageSize)
        attributes.retentionSeconds = number(.messageRetentionPeriod)
        attributes.receiveWaitSeconds = number(.receiveMessageWaitTimeSeconds)
        attributes.visibilityTimeoutSeconds = number(.visibilityTimeout)
        attributes.contentBasedDeduplication = self[.contentBasedDeduplication] == "true"
        attributes.deduplicationScope = self[.deduplicationScope] == "messageGroup" ? .messageGroup : .queue
        attributes.redrive = redrive
        return attributes
    }

    /// The attribute in which a CreateQueue of an existing queue differs from it; `nil` if it may have the queue.
    /// - Parameters:
    ///   - requested: the set that the request makes.
    ///   - named: the names that the request has; only they are compared.
    public func firstDifference(from requested: QueueAttributeSet, named: some Sequence<String>) -> String? {
        named.sorted().first { text in
            guard let name = QueueAttributeName(rawValue: text) else { return true }
            return self[name] != requested[name]
        }
    }

    /// Name and text of what GetQueueAttributes answers.
    public func shown(_ names: QueueAttributeNames, status: QueueStatus) -> [(name: QueueAttributeName, text: String)] {
        QueueAttributeName.allCases.compactMap { name in
            guard names.contains(name), let text = shown(name, status) else { return nil }
            return (name, text)
        }
    }

    private func shown(_ name: QueueAttributeName, _ status: QueueStatus) -> String? {
        switch name {
        case .queueArn: status.arn
        case .approximateNumberOfMessages: String(status.backlog)
        case .approximateNumberOfMessagesNotVisible: String(status.inFlight)
        case .approximateNumberOfMessagesDelayed: String(status.delayed)
        case .createdTimestamp: String(status.createdAt)
        case .lastModifiedTimestamp: String(status.modifiedAt)
        case .kmsDataKeyReusePeriodSeconds: self[name] == name.initialText ? nil : self[name]
        case .policy, .kmsMasterKeyId: isEnforced ? self[name] : nil
        default: self[name]
        }
    }

    /// Refuses what would promise an encryption or a policy that files of our own do not have.
    /// - Throws: `invalidAttributeValue`
    public static func refuseUnenforced(_ attributes: [String: String]) throws(SQSError) {
        for name in [QueueAttributeName.kmsMasterKeyId, .policy, .sqsManagedSseEnabled] {
            guard let value = attributes[name.rawValue], !value.isEmpty else { continue }
            if name == .sqsManagedSseEnabled, value.lowercased() != "true" { continue }
            throw .invalidAttribute(
                name.rawValue,
                name == .policy
                    ? "Policies are not enforced on this queue: who reaches the endpoint may use it."
                    : "This queue's messages are in files that are not encrypted.")
        }
    }

    private func number(_ name: QueueAttributeName) -> Int { self[name].flatMap { Int($0) } ?? 0 }

    /// The text of a `RedrivePolicy`, for queues that get one without being asked.
    public static func redrivePolicyText(deadLetterTargetArn arn: String, maxReceiveCount: Int) -> String {
        PolicyText.redriveText(arn: arn, maxReceiveCount)
    }

    // MARK: One attribute

    private mutating func set(_ name: QueueAttributeName, _ value: String, queue: String) throws(SQSError) {
        switch name {
        case .fifoQueue:
            guard try QueueAttributeSet.boolean(name, value) == "true" else {
                throw .invalidAttribute("FifoQueue", "Modifying queue type is not supported.")
            }
        case .contentBasedDeduplication, .sqsManagedSseEnabled:
            texts[name] = try QueueAttributeSet.boolean(name, value)
        case .deduplicationScope:
            texts[name] = try QueueAttributeSet.choice(name, value, ["queue", "messageGroup"])
        case .fifoThroughputLimit:
            texts[name] = try QueueAttributeSet.choice(name, value, ["perQueue", "perMessageGroupId"])
        case .kmsMasterKeyId:
            texts[name] = value.isEmpty ? nil : value
            if !value.isEmpty { texts[.sqsManagedSseEnabled] = nil }
        case .policy:
            guard value.isEmpty || PolicyText.isObject(value) else {
                throw .invalidAttribute("Policy", "Must be a JSON object or empty.")
            }
            texts[name] = value.isEmpty ? nil : value
        case .redrivePolicy:
            let parsed = try PolicyText.redrive(value, queue: queue)
            redrive = parsed?.policy
            texts[name] = parsed?.text
        case .redriveAllowPolicy:
            redriveAllow = try PolicyText.redriveAllow(value)
            texts[name] = value.isEmpty ? nil : value
        default:
            texts[name] = try QueueAttributeSet.numeric(name, value)
        }
    }

    private static func boolean(_ name: QueueAttributeName, _ value: String) throws(SQSError) -> String {
        try choice(name, value.lowercased(), ["true", "false"])
    }

    private static func choice(
        _ name: QueueAttributeName, _ value: String, _ allowed: [String]
    ) throws(SQSError) -> String {
        guard allowed.contains(value) else {
            throw .invalidAttribute(name.rawValue, "Must be \(allowed.joined(separator: " or ")).")
        }
        return value
    }

    private static func numeric(_ name: QueueAttributeName, _ value: String) throws(SQSError) -> String {
        guard let range = name.range else { throw .unknownAttribute(name.rawValue) }
        guard let number = Int(value), range.contains(number) else {
            throw .invalidAttribute(
                name.rawValue, "Must be a whole number between \(range.lowerBound) and \(range.upperBound).")
        }
        return String(number)
    }
}

extension QueueAttributeSet {
    /// One line of JSON to store; `init(encoded:)` reads it back.
    public func encoded() -> String {
        var json = JSONWriter()
        json.beginObject()
        for name in QueueAttributeName.allCases {
            guard let text = texts[name] else { continue }
            json.key(text: name.rawValue)
            json.string(text)
        }
        json.endObject()
        return String(decoding: json.bytes, as: UTF8.self)
    }

    /// - Throws: `serialization` or what `update` throws, if the text is not one that `encoded` made.
    public init(encoded: String) throws(SQSError) {
        let bytes = Array(encoded.utf8)
        let attributes = try bytes.withRaw { (raw) throws(SQSError) in
            var reader = try RequestReader(raw)
            var found: [String: String] = [:]
            while let key = try reader.nextKey() { found[key.text] = try reader.text("an attribute") }
            try reader.finish()
            return found
        }
        self.init()
        try update(attributes, queue: "")
    }
}
