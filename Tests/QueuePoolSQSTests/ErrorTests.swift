// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS
import Testing

@Suite struct `Errors of the SQS protocol` {
    @Test(arguments: [
        (SQSError.Kind.queueDoesNotExist, "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", 400),
        (.queueNameExists, "QueueAlreadyExists", "QueueNameExists", 400),
        (.queueDeletedRecently, "AWS.SimpleQueueService.QueueDeletedRecently", "QueueDeletedRecently", 400),
        (.purgeQueueInProgress, "AWS.SimpleQueueService.PurgeQueueInProgress", "PurgeQueueInProgress", 403),
        (.invalidAttributeName, "InvalidAttributeName", "InvalidAttributeName", 400),
        (.invalidAttributeValue, "InvalidAttributeValue", "InvalidAttributeValue", 400),
        (.invalidParameterValue, "InvalidParameterValue", "InvalidParameterValueException", 400),
        (.missingParameter, "MissingParameter", "MissingRequiredParameterException", 400),
        (.invalidMessageContents, "InvalidMessageContents", "InvalidMessageContents", 400),
        (.receiptHandleIsInvalid, "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 400),
        (.emptyBatchRequest, "AWS.SimpleQueueService.EmptyBatchRequest", "EmptyBatchRequest", 400),
        (
            .tooManyEntriesInBatchRequest, "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
            "TooManyEntriesInBatchRequest", 400
        ),
        (.batchEntryIdsNotDistinct, "AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "BatchEntryIdsNotDistinct", 400),
        (.invalidBatchEntryId, "AWS.SimpleQueueService.InvalidBatchEntryId", "InvalidBatchEntryId", 400),
        (.batchRequestTooLong, "AWS.SimpleQueueService.BatchRequestTooLong", "BatchRequestTooLong", 400),
        (.messageNotInflight, "AWS.SimpleQueueService.MessageNotInflight", "MessageNotInflight", 400),
        (.unsupportedOperation, "AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation", 400),
        (.overLimit, "OverLimit", "OverLimit", 403),
        (.requestThrottled, "RequestThrottled", "RequestThrottled", 403),
        (.resourceNotFound, "ResourceNotFoundException", "ResourceNotFoundException", 404),
        (.invalidAction, "InvalidAction", "InvalidAction", 400),
    ])
    func `have their code, shape and status`(_ kind: SQSError.Kind, _ code: String, _ shape: String, _ status: Int) {
        let error = SQSError(kind, "text")
        #expect(error.code == code && error.shape == shape && error.status == status)
        #expect(error.queryErrorHeader == code + ";Sender")
        let body = String(decoding: error.body(), as: UTF8.self)
        #expect(body == "{\"__type\":\"com.amazonaws.sqs#\(shape)\",\"message\":\"text\"}")
    }

    @Test func `the server's own faults are the receiver's`() {
        #expect(SQSError(ShardError.storageFull).queryErrorHeader == "ServiceUnavailable;Receiver")
        #expect(SQSError(ShardError.storageFailed(code: 10)).status == 500)
        #expect(SQSError(ShardError.storageFailed(code: ShardError.codeOfMovedFile)).status == 503)
        #expect(
            SQSError(ShardError.quotaExceeded(retryAfterMilliseconds: 3)).queryErrorHeader == "RequestThrottled;Sender")
    }

    @Test func `texts say how long what was sent is, and repeat nothing of it`() {
        let error = SQSError.invalidHandle(String(repeating: "é", count: 5_000))
        #expect(error.message == "The input receipt handle (10000 bytes) is not a valid receipt handle.")
        var entry = soundEntry()
        entry.groupID = .decoded([UInt8](repeating: 0x61, count: 100_000))
        #expect((refusal(of: entry)?.message.utf8.count ?? 0) < 400)
    }

    @Test func `operations are read from their target`() {
        for action in SQSAction.allCases { #expect(SQSAction(target: action.target) == action) }
        #expect(SQSAction.allCases.count == 23)
        #expect(SQSAction(target: "AmazonSQS.SendMessage") == .sendMessage)
        for target in ["", "SendMessage", "AmazonSQS.", "AmazonSQS.sendMessage", "DynamoDB.SendMessage"] {
            #expect(SQSAction(target: target) == nil)
        }
    }
}
