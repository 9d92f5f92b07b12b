// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON

/// CreateQueue. The attributes are checked by `QueueAttributeSet`.
package struct CreateQueueRequest: Sendable {
    package var name: String
    package var attributes: [String: String]
    package var tags: [String: String]

    /// - Throws: `missingParameter`, `invalidParameterValue` for a name that no queue may have, `serialization`.
    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        name = try members.requiredName()
        attributes = members.attributes ?? [:]
        tags = members.tags ?? [:]
        try AdminRules.checkName(name)
        try AdminRules.checkTags(tags, existing: 0, queue: name)
    }
}

/// DeleteQueue, PurgeQueue, ListQueueTags: an operation on a queue without parameters.
package struct QueueRequest: Sendable {
    package var queue: String

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        queue = try AdminMembers(bytes).requiredQueue()
    }
}

/// GetQueueUrl.
package struct GetQueueUrlRequest: Sendable {
    package var name: String

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        name = try members.requiredName()
    }
}

/// ListQueues.
package struct ListQueuesRequest: Sendable {
    package var prefix: String
    /// 1...1,000; `nil`: all, without pages.
    package var max: Int?
    package var nextToken: String?

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        prefix = members.prefix ?? ""
        max = try members.page(1_000)
        nextToken = members.nextToken
    }
}

/// ListDeadLetterSourceQueues.
package struct ListDeadLetterSourceQueuesRequest: Sendable {
    package var queue: String
    /// 1...1,000; `nil`: all, without pages.
    package var max: Int?
    package var nextToken: String?

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        max = try members.page(1_000)
        nextToken = members.nextToken
    }
}

/// GetQueueAttributes.
package struct GetQueueAttributesRequest: Sendable {
    package var queue: String
    package var names: QueueAttributeNames

    /// - Throws: `missingParameter`, `invalidAttributeName`, `serialization`.
    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        names = try QueueAttributeNames(members.attributeNames)
    }
}

/// SetQueueAttributes. The attributes are checked by `QueueAttributeSet`.
package struct SetQueueAttributesRequest: Sendable {
    package var queue: String
    package var attributes: [String: String]

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        guard let attributes = members.attributes else { throw .missing("Attributes") }
        self.attributes = attributes
    }
}

/// TagQueue.
package struct TagQueueRequest: Sendable {
    package var queue: String
    package var tags: [String: String]

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        guard let tags = members.tags, !tags.isEmpty else { throw .missing("Tags") }
        self.tags = tags
        try AdminRules.checkTags(tags, existing: 0, queue: queue)
    }

    /// The queue's tags with these in place.
    /// - Throws: `invalidParameterValue` when they would be more than 50.
    package func applied(to existing: [String: String]) throws(SQSError) -> [String: String] {
        let merged = existing.merging(tags) { _, new in new }
        guard merged.count <= QueueLimits.tagsMax else { throw .tooManyTags }
        return merged
    }
}

/// UntagQueue.
package struct UntagQueueRequest: Sendable {
    package var queue: String
    package var keys: [String]

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        guard let keys = members.tagKeys else { throw .missing("TagKeys") }
        self.keys = keys
    }
}

/// AddPermission.
package struct AddPermissionRequest: Sendable {
    package var queue: String
    package var label: String
    package var accounts: [String]
    package var actions: [String]

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
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
package struct RemovePermissionRequest: Sendable {
    package var queue: String
    package var label: String

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        queue = try members.requiredQueue()
        label = try members.required(members.label, "Label")
    }
}

/// StartMessageMoveTask.
package struct StartMessageMoveTaskRequest: Sendable {
    package var sourceArn: String
    package var destinationArn: String?
    /// 1...500; `nil`: as fast as it goes.
    package var maxPerSecond: Int?

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
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
package struct ListMessageMoveTasksRequest: Sendable {
    package var sourceArn: String
    /// 1...10
    package var max: Int

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        sourceArn = try members.required(members.sourceArn, "SourceArn")
        max = try members.page(10) ?? 1
    }
}

/// CancelMessageMoveTask.
package struct CancelMessageMoveTaskRequest: Sendable {
    package var taskHandle: String

    package init(_ bytes: UnsafeRawBufferPointer) throws(SQSError) {
        let members = try AdminMembers(bytes)
        taskHandle = try members.required(members.taskHandle, "TaskHandle")
    }
}
