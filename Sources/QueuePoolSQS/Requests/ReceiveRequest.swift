// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
import QueuePoolJSON

/// ReceiveMessage.
public struct ReceiveMessageRequest: Sendable {
    /// Name of the queue.
    public var queue = ""
    /// 1...10
    public var max = 1
    /// 0...43,200; `nil`: the queue's own.
    public var visibilitySeconds: Int?
    /// 0...20; `nil`: the queue's own.
    public var waitSeconds: Int?
    public var attemptID: String?
    public var systemAttributes: SystemAttributeNames = []
    public var attributes = MessageAttributeFilter()

    public init() {}

    /// - Throws: `missingParameter`, `invalidParameterValue` for a value out of its range, `serialization`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        var reader = try RequestReader(bytes)
        var queue: String?
        var deprecatedNames: SystemAttributeNames = []
        var hasSystemNames = false
        while let key = try reader.nextKey() {
            if key.equals("QueueUrl") {
                queue = try reader.queue()
            } else if key.equals("MaxNumberOfMessages") {
                max = try reader.int("MaxNumberOfMessages") ?? 1
            } else if key.equals("VisibilityTimeout") {
                visibilitySeconds = try reader.int("VisibilityTimeout")
            } else if key.equals("WaitTimeSeconds") {
                waitSeconds = try reader.int("WaitTimeSeconds")
            } else if key.equals("MessageSystemAttributeNames") {
                systemAttributes = try reader.systemAttributeNames("MessageSystemAttributeNames")
                hasSystemNames = !systemAttributes.isEmpty
            } else if key.equals("AttributeNames") {
                deprecatedNames = try reader.systemAttributeNames("AttributeNames")
            } else if key.equals("MessageAttributeNames") {
                try attributes.read(&reader)
            } else if key.equals("ReceiveRequestAttemptId") {
                attemptID = try reader.text("ReceiveRequestAttemptId")
            } else {
                try reader.skip()
            }
        }
        try reader.finish()
        guard let queue else { throw .missing("QueueUrl") }
        self.queue = queue
        if !hasSystemNames { systemAttributes = deprecatedNames }
        try checkRanges()
    }

    private func checkRanges() throws(SQSError) {
        guard (1...QueueLimits.batchEntriesMax).contains(max) else {
            throw .invalid("MaxNumberOfMessages", max, "Must be between 1 and 10, if provided.")
        }
        if let seconds = visibilitySeconds { try VisibilityRules.check(seconds) }
        if let seconds = waitSeconds, !(0...QueueLimits.waitSecondsMax).contains(seconds) {
            throw .invalid("WaitTimeSeconds", seconds, "Must be >= 0 and <= 20, if provided.")
        }
        if let id = attemptID, !MessageRules.isIdentifier(Array(id.utf8)) {
            throw .invalidIdentifier("ReceiveRequestAttemptId", id)
        }
    }
}

/// Which system attributes a receiver wants to see.
public struct SystemAttributeNames: OptionSet, Hashable, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }

    public static let senderID = Self(rawValue: 1)
    public static let sentTimestamp = Self(rawValue: 2)
    public static let approximateFirstReceiveTimestamp = Self(rawValue: 4)
    public static let approximateReceiveCount = Self(rawValue: 8)
    public static let messageGroupID = Self(rawValue: 16)
    public static let messageDeduplicationID = Self(rawValue: 32)
    public static let sequenceNumber = Self(rawValue: 64)
    public static let traceHeader = Self(rawValue: 128)
    public static let deadLetterQueueSourceArn = Self(rawValue: 256)
    public static let all = Self(rawValue: 511)

    /// Names that are no system attribute's are passed over: the deprecated list may name the queue's own.
    init(name: JSONString) {
        if name.equals("All") {
            self = .all
        } else if name.equals("SenderId") {
            self = .senderID
        } else if name.equals("SentTimestamp") {
            self = .sentTimestamp
        } else if name.equals("ApproximateFirstReceiveTimestamp") {
            self = .approximateFirstReceiveTimestamp
        } else if name.equals("ApproximateReceiveCount") {
            self = .approximateReceiveCount
        } else if name.equals("MessageGroupId") {
            self = .messageGroupID
        } else if name.equals("MessageDeduplicationId") {
            self = .messageDeduplicationID
        } else if name.equals("SequenceNumber") {
            self = .sequenceNumber
        } else if name.equals("AWSTraceHeader") {
            self = .traceHeader
        } else if name.equals("DeadLetterQueueSourceArn") {
            self = .deadLetterQueueSourceArn
        } else {
            self = []
        }
    }
}

extension RequestReader {
    mutating func systemAttributeNames(_ field: StaticString) throws(SQSError) -> SystemAttributeNames {
        guard try beginArray(field) else { return [] }
        var found: SystemAttributeNames = []
        while try nextElement() {
            guard let name = try string(field) else { continue }
            found.formUnion(SystemAttributeNames(name: name))
        }
        return found
    }
}

/// Which message attributes a receiver wants to see: all, those of some prefixes (`foo.*`), or some names.
public struct MessageAttributeFilter: Hashable, Sendable {
    /// Names and prefixes that one request may hold; SQS documents none, memory needs one.
    static let namesMax = 1_000

    public var isAll: Bool
    public private(set) var names: [String]
    /// With the full stop, without the star.
    public private(set) var prefixes: [String]

    public init(isAll: Bool = false, names: [String] = [], prefixes: [String] = []) {
        self.isAll = isAll
        self.names = names
        self.prefixes = prefixes
    }

    public var isEmpty: Bool { !isAll && names.isEmpty && prefixes.isEmpty }

    public func matches(_ name: String) -> Bool {
        isAll || names.contains(name) || prefixes.contains { name.hasPrefix($0) }
    }

    /// The attributes that match, in their order.
    public func subset(of attributes: [MessageAttribute]) -> [MessageAttribute] {
        isAll ? attributes : attributes.filter { matches($0.name) }
    }

    mutating func read(_ reader: inout RequestReader) throws(SQSError) {
        for name in try reader.texts("MessageAttributeNames", limit: Self.namesMax) {
            if name == "All" || name == ".*" || name == "*" {
                isAll = true
            } else if name.hasSuffix(".*") {
                prefixes.append(String(name.dropLast()))
            } else {
                names.append(name)
            }
        }
    }
}

enum VisibilityRules {
    static func check(_ seconds: Int) throws(SQSError) {
        guard (0...QueueLimits.visibilitySecondsMax).contains(seconds) else {
            throw .invalid("VisibilityTimeout", seconds, "Must be >= 0 and <= 43200, if provided.")
        }
    }
}
