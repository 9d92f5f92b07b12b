// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolJSON

extension SQSAnswer {
    /// CreateQueue, GetQueueUrl.
    public static func queueURL(_ url: String, to json: inout JSONWriter) {
        json.beginObject()
        json.key("QueueUrl")
        json.string(url)
        json.endObject()
    }

    /// ListQueues.
    /// - Parameter nextToken: `nil` on the last page.
    public static func listQueues(urls: [String], nextToken: String?, to json: inout JSONWriter) {
        json.beginObject()
        if !urls.isEmpty {
            json.key("QueueUrls")
            write(urls, to: &json)
        }
        write(nextToken: nextToken, to: &json)
        json.endObject()
    }

    /// ListDeadLetterSourceQueues, whose list is there also when it is empty.
    public static func listDeadLetterSourceQueues(urls: [String], nextToken: String?, to json: inout JSONWriter) {
        json.beginObject()
        json.key("queueUrls")
        write(urls, to: &json)
        write(nextToken: nextToken, to: &json)
        json.endObject()
    }

    /// GetQueueAttributes.
    public static func queueAttributes(
        _ attributes: [(name: QueueAttributeName, text: String)], to json: inout JSONWriter
    ) {
        json.beginObject()
        if !attributes.isEmpty {
            json.key("Attributes")
            json.beginObject()
            for attribute in attributes {
                json.key(text: attribute.name.rawValue)
                json.string(attribute.text)
            }
            json.endObject()
        }
        json.endObject()
    }

    /// ListQueueTags.
    public static func tags(_ tags: [String: String], to json: inout JSONWriter) {
        json.beginObject()
        if !tags.isEmpty {
            json.key("Tags")
            json.beginObject()
            for (key, value) in tags.sorted(by: { $0.key < $1.key }) {
                json.key(text: key)
                json.string(value)
            }
            json.endObject()
        }
        json.endObject()
    }

    /// StartMessageMoveTask.
    public static func taskHandle(_ handle: String, to json: inout JSONWriter) {
        json.beginObject()
        json.key("TaskHandle")
        json.string(handle)
        json.endObject()
    }

    /// CancelMessageMoveTask.
    public static func movedMessages(_ count: Int, to json: inout JSONWriter) {
        json.beginObject()
        json.key("ApproximateNumberOfMessagesMoved")
        json.int(count)
        json.endObject()
    }

    /// ListMessageMoveTasks.
    /// - Parameter tasks: newest first.
    public static func moveTasks(_ tasks: [MoveTaskState], to json: inout JSONWriter) {
        json.beginObject()
        if !tasks.isEmpty {
            json.key("Results")
            json.beginArray()
            for task in tasks { write(task, to: &json) }
            json.endArray()
        }
        json.endObject()
    }

    private static func write(_ task: MoveTaskState, to json: inout JSONWriter) {
        json.beginObject()
        // A task that has ended has no handle any more.
        if task.status == .running {
            json.key("TaskHandle")
            json.string(task.handle)
        }
        json.key("Status")
        json.string(task.status.rawValue)
        json.key("SourceArn")
        json.string(task.sourceArn)
        if let arn = task.destinationArn {
            json.key("DestinationArn")
            json.string(arn)
        }
        if let rate = task.maxPerSecond {
            json.key("MaxNumberOfMessagesPerSecond")
            json.int(rate)
        }
        json.key("ApproximateNumberOfMessagesMoved")
        json.int(task.moved)
        if let total = task.toMove {
            json.key("ApproximateNumberOfMessagesToMove")
            json.int(total)
        }
        if let reason = task.failureReason {
            json.key("FailureReason")
            json.string(reason)
        }
        json.key("StartedTimestamp")
        json.int(task.startedAtMilliseconds)
        json.endObject()
    }

    private static func write(_ texts: [String], to json: inout JSONWriter) {
        json.beginArray()
        for text in texts { json.string(text) }
        json.endArray()
    }

    private static func write(nextToken: String?, to json: inout JSONWriter) {
        guard let nextToken else { return }
        json.key("NextToken")
        json.string(nextToken)
    }
}

/// What ListMessageMoveTasks tells of one task.
public struct MoveTaskState: Hashable, Sendable {
    public enum Status: String, Hashable, Sendable {
        case running = "RUNNING"
        case completed = "COMPLETED"
        case cancelling = "CANCELLING"
        case cancelled = "CANCELLED"
        case failed = "FAILED"
    }

    public var handle: String
    public var status: Status
    public var sourceArn: String
    /// Only if the request named one.
    public var destinationArn: String?
    public var maxPerSecond: Int?
    public var moved: Int
    /// Messages that there were to move at the start.
    public var toMove: Int?
    /// A code, such as `AWS.SimpleQueueService.NonExistentQueue`.
    public var failureReason: String?
    /// Milliseconds since 1970.
    public var startedAtMilliseconds: Int64

    public init(
        handle: String, status: Status, sourceArn: String, destinationArn: String? = nil, maxPerSecond: Int? = nil,
        moved: Int, toMove: Int? = nil, failureReason: String? = nil, startedAtMilliseconds: Int64
    ) {
        self.handle = handle
        self.status = status
        self.sourceArn = sourceArn
        self.destinationArn = destinationArn
        self.maxPerSecond = maxPerSecond
        self.moved = moved
        self.toMove = toMove
        self.failureReason = failureReason
        self.startedAtMilliseconds = startedAtMilliseconds
    }
}
