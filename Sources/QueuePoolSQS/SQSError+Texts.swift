// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolJSON

// The texts of errors, word for word as SQS writes them where that is known: people search for them and programs match
// them. A text names parameters and attributes that SQS knows, and says how long what the caller sent is; it repeats
// nothing of it, be it a name, an id or a value, for that may be somebody's data and errors end in logs.

extension SQSError {
    /// How long what a caller sent is, for the place where its text would stand.
    public static func sized(_ text: String) -> String { sized(text.utf8.count) }

    public static func sized(_ bytes: [UInt8]) -> String { sized(bytes.count) }

    private static func sized(_ count: Int) -> String { "(\(count) \(count == 1 ? "byte" : "bytes"))" }

    // MARK: Parameters

    public static func missing(_ parameter: String) -> SQSError {
        SQSError(.missingParameter, "The request must contain the parameter \(parameter).")
    }

    public static func invalid(_ parameter: String, _ value: String, _ reason: String) -> SQSError {
        SQSError(
            .invalidParameterValue, "Value \(sized(value)) for parameter \(parameter) is invalid. Reason: \(reason)")
    }

    /// The same for a number, which is shown.
    public static func invalid(_ parameter: String, _ value: Int, _ reason: String) -> SQSError {
        SQSError(.invalidParameterValue, "Value \(value) for parameter \(parameter) is invalid. Reason: \(reason)")
    }

    static func invalidIdentifier(_ parameter: String, _ value: String) -> SQSError {
        invalid(
            parameter, value,
            "\(parameter) can only include alphanumeric and punctuation characters. 1 to 128 in length.")
    }

    /// A member's value is of another JSON type than it should be.
    static func wrongType(_ field: String, _ allowed: String) -> SQSError {
        SQSError(.serialization, "\(field) must be \(allowed).")
    }

    public static func malformed(_ fault: JSONFault) -> SQSError {
        SQSError(.serialization, "The request is not valid JSON: \(fault.reason.rawValue) at byte \(fault.offset).")
    }

    // MARK: Queues

    public static let noSuchQueue = SQSError(.queueDoesNotExist, "The specified queue does not exist.")

    /// - Parameter attribute: one that SQS knows.
    public static func alreadyExists(differingIn attribute: String) -> SQSError {
        SQSError(
            .queueNameExists,
            "A queue already exists with the same name and a different value for attribute \(attribute)")
    }

    public static let deletedRecently = SQSError(
        .queueDeletedRecently,
        "You must wait 60 seconds after deleting a queue before you can create another with the same name.")

    public static let purgeInProgress = SQSError(
        .purgeQueueInProgress, "Only one PurgeQueue operation on a queue is allowed every 60 seconds.")

    public static let invalidQueueName = SQSError(
        .invalidParameterValue,
        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")

    public static func unknownAttribute(_ name: String) -> SQSError {
        let known = QueueAttributeName(rawValue: name)?.rawValue
        return SQSError(.invalidAttributeName, "Unknown Attribute \(known ?? sized(name)).")
    }

    public static func invalidAttribute(_ name: String, _ reason: String) -> SQSError {
        SQSError(.invalidAttributeValue, "Invalid value for the parameter \(name). Reason: \(reason)")
    }

    public static let tooManyTags = SQSError(.invalidParameterValue, "Too many tags added for the queue.")

    public static func unknownOperation(_ name: String) -> SQSError {
        SQSError(.unknownOperation, "The operation \(sized(name)) is not known to this endpoint.")
    }

    // MARK: Receipt handles

    public static func invalidHandle(_ handle: String) -> SQSError {
        SQSError(
            .receiptHandleIsInvalid, "The input receipt handle \(sized(handle)) is not a valid receipt handle.")
    }

    public static func expiredHandle(_ handle: String) -> SQSError {
        invalid("ReceiptHandle", handle, "The receipt handle has expired.")
    }

    public static func unavailableHandle(_ handle: String) -> SQSError {
        invalid(
            "ReceiptHandle", handle, "Message does not exist or is not available for visibility timeout change.")
    }

    public static func visibilityBeyondLimit(_ seconds: Int) -> SQSError {
        invalid(
            "VisibilityTimeout", seconds,
            "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
    }

    // MARK: Batches

    static func emptyBatch(_ entryShape: String) -> SQSError {
        SQSError(.emptyBatchRequest, "There should be at least one \(entryShape) in the request.")
    }

    static func tooManyEntries(_ count: Int) -> SQSError {
        SQSError(
            .tooManyEntriesInBatchRequest,
            "Maximum number of entries per request are 10. You have sent \(count).")
    }

    /// - Parameter position: of the second entry with that id, from 0.
    static func repeatedID(at position: Int) -> SQSError {
        SQSError(.batchEntryIdsNotDistinct, "Id of entry \(position + 1) repeated.")
    }

    static let invalidBatchEntryID = SQSError(
        .invalidBatchEntryId,
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. "
            + "It can be at most 80 letters long.")

    static func batchTooLong(_ bytes: Int) -> SQSError {
        SQSError(
            .batchRequestTooLong,
            "Batch requests cannot be longer than 1048576 bytes. You have sent \(bytes) bytes.")
    }

    // MARK: Messages

    static func messageTooLong(_ limit: Int, inBatch: Bool) -> SQSError {
        SQSError(
            .invalidParameterValue,
            "One or more parameters \(inBatch ? "cannot be validated" : "are invalid"). "
                + "Reason: Message must be shorter than \(limit) bytes.")
    }

    static let invalidBody = SQSError(
        .invalidMessageContents,
        "Invalid binary character was found in the message body, the set of allowed characters is "
            + "#x9 | #xA | #xD | [#x20 to #xD7FF] | [#xE000 to #xFFFD] | [#x10000 to #x10FFFF]")

    static let missingDeduplicationID = SQSError(
        .invalidParameterValue,
        "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")

    /// A batch with an entry that has no group id: not the code that a single send gets.
    static let missingGroupIDInBatch = SQSError(
        .invalidParameterValue, "The request must contain the parameter MessageGroupId.")
}
