// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON

/// CreateQueue. The attributes are checked by `QueueAttributeSet`.
public struct CreateQueueRequest: Sendable {
    public var name: String
    public var attributes: [String: String]
    public var tags: [String: String]

    /// - Throws: `missingParameter`, `invalidParameterValue` for a name that no queue may have, `serialization`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        name = try members.requiredName()
        attributes = members.attributes ?? [:]
        tags = members.tags ?? [:]
        try AdminRules.checkName(name)
        try AdminRules.checkTags(tags, existing: 0, queue: name)
    }
}

/// DeleteQueue, PurgeQueue, ListQueueTags: an operation on a queue without parameters.
public struct QueueRequest: Sendable {
    public var queue: String

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        queue = try AdminMembers(bytes).requiredQueue()
    }
}

/// GetQueueUrl.
public struct GetQueueUrlRequest: Sendable {
    public var name: String

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        name = try members.requiredName()
    }
}

/// ListQueues.
public struct ListQueuesRequest: Sendable {
    public var prefix: String
    /// 1...1,000; `nil`: all, without pages.
    public var max: Int?
    public var nextToken: String?

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        prefix = members.prefix ?? ""
        max = try members.page(1_000)
        nextToken = members.nextToken
    }
}

/// ListDeadLetterSourceQueues.
public struct ListDeadLetterSourceQueuesRequest: Sendable {
    public var queue: String
    /// 1...1,000; `nil`: all, without pages.
    public var max: Int?
    public var nextToken: String?

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        max = try members.page(1_000)
        nextToken = members.nextToken
    }
}

/// GetQueueAttributes.
public struct GetQueueAttributesRequest: Sendable {
    public var queue: String
    public var names: QueueAttributeNames

    /// - Throws: `missingParameter`, `invalidAttributeName`, `serialization`.
    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        names = try QueueAttributeNames(members.attributeNames)
    }
}

/// SetQueueAttributes. The attributes are checked by `QueueAttributeSet`.
public struct SetQueueAttributesRequest: Sendable {
    public var queue: String
    public var attributes: [String: String]

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        guard let attributes = members.attributes else { throw .missing("Attributes") }
        self.attributes = attributes
    }
}

/// TagQueue.
public struct TagQueueRequest: Sendable {
    public var queue: String
    public var tags: [String: String]

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        guard let tags = members.tags, !tags.isEmpty else { throw .missing("Tags") }
        self.tags = tags
        try AdminRules.checkTags(tags, existing: 0, queue: queue)
    }

    /// The queue's tags with these in place.
    /// - Throws: `invalidParameterValue` when they would be more than 50.
    public func applied(to existing: [String: String]) throws(SQSError) -> [String: String] {
        let merged = existing.merging(tags) { _, new in new }
        guard merged.count <= QueueLimits.tagsMax else { throw .tooManyTags }
        return merged
    }
}

/// UntagQueue.
public struct UntagQueueRequest: Sendable {
    public var queue: String
    public var keys: [String]

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        guard let keys = members.tagKeys else { throw .missing("TagKeys") }
        self.keys = keys
    }
}

/// AddPermission.
public struct AddPermissionRequest: Sendable {
    public var queue: String
    public var label: String
    public var accounts: [String]
    public var actions: [String]

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        label = try members.required(members.label, "Label")
        guard !members.accounts.isEmpty else { throw .missing("AWSAccountIds") }
        guard !members.actions.isEmpty else { throw .missing("Actions") }
        accounts = members.accounts
        actions = members.actions
    }
}

/// RemovePermission.
public struct RemovePermissionRequest: Sendable {
    public var queue: String
    public var label: String

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        label = try members.required(members.label, "Label")
    }
}

/// StartMessageMoveTask.
public struct StartMessageMoveTaskRequest: Sendable {
    public var sourceArn: String
    public var destinationArn: String?
    /// 1...500; `nil`: as fast as it goes.
    public var maxPerSecond: Int?

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        sourceArn = try members.required(members.sourceArn, "SourceArn")
        destinationArn = members.destinationArn
        maxPerSecond = members.maxPerSecond
        if let rate = maxPerSecond, !(1...500).contains(rate) {
            throw .invalid("MaxNumberOfMessagesPerSecond", rate, "Must be between 1 and 500, if provided.")
        }
    }
}

/// ListMessageMoveTasks.
public struct ListMessageMoveTasksRequest: Sendable {
    public var sourceArn: String
    /// 1...10
    public var max: Int

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        sourceArn = try members.required(members.sourceArn, "SourceArn")
        max = try members.page(10) ?? 1
    }
}

/// CancelMessageMoveTask.
public struct CancelMessageMoveTaskRequest: Sendable {
    public var taskHandle: String

    public init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        taskHandle = try members.required(members.taskHandle, "TaskHandle")
    }
}
