// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON

// Requests that administer queues are rare, so one reader collects the members of all of them, and each request takes
// those that it knows. Members that another request knows are read, and so held to their types, too.

struct AdminMembers {
    var queue: String?
    var name: String?
    var prefix: String?
    var max: Int?
    var nextToken: String?
    var attributes: [String: String]?
    var attributeNames: [String] = []
    var tags: [String: String]?
    var tagKeys: [String]?
    var label: String?
    var accounts: [String] = []
    var actions: [String] = []
    var sourceArn: String?
    var destinationArn: String?
    var maxPerSecond: Int?
    var taskHandle: String?

    /// Names, keys or pairs in one list; SQS has at most 50 of any.
    private static let listMax = 200

    init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        var reader = try RequestReader(bytes)
        while let key = try reader.nextKey() { try read(key.text, &reader) }
        try reader.finish()
    }

    private mutating func read(_ key: String, _ reader: inout RequestReader) throws(SQSError) {
        switch key {
        case "QueueUrl": queue = try reader.queue()
        case "QueueName": name = try reader.text("QueueName")
        case "QueueNamePrefix": prefix = try reader.text("QueueNamePrefix")
        case "MaxResults": max = try reader.int("MaxResults")
        case "NextToken": nextToken = try reader.text("NextToken")
        case "Attributes": attributes = try reader.textMap("Attributes", limit: Self.listMax)
        case "AttributeNames": attributeNames = try reader.texts("AttributeNames", limit: Self.listMax)
        // CreateQueue spells it in lower case, TagQueue does not.
        case "tags", "Tags": tags = try reader.textMap("Tags", limit: Self.listMax)
        case "TagKeys": tagKeys = try reader.texts("TagKeys", limit: Self.listMax)
        case "Label": label = try reader.text("Label")
        case "AWSAccountIds": accounts = try reader.texts("AWSAccountIds", limit: Self.listMax)
        case "Actions": actions = try reader.texts("Actions", limit: Self.listMax)
        case "SourceArn": sourceArn = try reader.text("SourceArn")
        case "DestinationArn": destinationArn = try reader.text("DestinationArn")
        case "MaxNumberOfMessagesPerSecond": maxPerSecond = try reader.int("MaxNumberOfMessagesPerSecond")
        case "TaskHandle": taskHandle = try reader.text("TaskHandle")
        default: try reader.skip()
        }
    }

    func requiredQueue() throws(SQSError) -> String { try required(queue, "QueueUrl") }

    func required(_ value: String?, _ name: String) throws(SQSError) -> String {
        guard let value, !value.isEmpty else { throw .missing(name) }
        return value
    }

    /// An empty one is there, and no name that a queue may have.
    func requiredName() throws(SQSError) -> String {
        guard let name else { throw .missing("QueueName") }
        guard !name.isEmpty else { throw .invalidQueueName }
        return name
    }

    func page(_ limit: Int) throws(SQSError) -> Int? {
        guard let max else { return nil }
        guard (1...limit).contains(max) else {
            throw .invalid("MaxResults", max, "Must be between 1 and \(limit), if provided.")
        }
        return max
    }
}

enum AdminRules {
    /// 1...80 of `[A-Za-z0-9_-]`, of which `.fifo` may be the end.
    static func checkName(_ name: String) throws(SQSError) {
        let stem = name.hasSuffix(".fifo") ? name.utf8.dropLast(5) : name.utf8[...]
        guard name.utf8.count <= QueueLimits.queueNameBytesMax, !stem.isEmpty, stem.allSatisfy(PoolName.isAllowed)
        else { throw .invalidQueueName }
    }

    /// At most 50 tags; keys of 1...128 characters, values of at most 256 (AWS, "Tag restrictions").
    static func checkTags(_ tags: [String: String], existing: Int, queue: String) throws(SQSError) {
        guard tags.count + existing <= QueueLimits.tagsMax else { throw .tooManyTags }
        for (key, value) in tags {
            guard (1...128).contains(key.unicodeScalars.count), value.unicodeScalars.count <= 256 else {
                throw SQSError(
                    .invalidParameterValue,
                    "A tag's key has 1 to 128 characters and its value at most 256; one has "
                        + "\(key.unicodeScalars.count) and \(value.unicodeScalars.count).")
            }
        }
    }
}
