// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

public import QueuePoolCore
import QueuePoolJSON

// One table of what can go wrong, as SQS names it: the legacy code that SDKs show to programs (header
// `x-amzn-query-error`), the shape's name (`__type`), the HTTP status and whose fault it is. Source: service model
// sqs/2012-11-05 and the protocol trait `awsQueryCompatible`. Two shapes end in `Exception` in JSON only.

/// An error answer of the SQS protocol.
public struct SQSError: Error, Hashable, Sendable {
    public enum Kind: String, CaseIterable, Hashable, Sendable {
        case queueDoesNotExist
        case queueNameExists
        case queueDeletedRecently
        case purgeQueueInProgress
        case invalidAttributeName
        case invalidAttributeValue
        case invalidParameterValue
        case missingParameter
        case invalidMessageContents
        case receiptHandleIsInvalid
        case emptyBatchRequest
        case tooManyEntriesInBatchRequest
        case batchEntryIdsNotDistinct
        case invalidBatchEntryId
        case batchRequestTooLong
        case messageNotInflight
        case unsupportedOperation
        case overLimit
        case requestThrottled
        case resourceNotFound
        case invalidAction
        case invalidAddress
        case invalidSecurity
        case accessDenied
        case missingAuthenticationToken
        case incompleteSignature
        case invalidClientTokenId
        case signatureDoesNotMatch
        case requestExpired
        /// The request is no JSON, or a member has another type than it should.
        case serialization
        /// No such operation.
        case unknownOperation
        /// The request's body is larger than the server takes.
        case requestTooLarge
        case serviceUnavailable
        case internalFailure
    }

    public let kind: Kind
    public let message: String
    /// Of a shard's quota that is spent: whose it is, and the milliseconds until a request may come.
    public private(set) var throttling: Throttling?

    /// What is told of a quota that is spent.
    public struct Throttling: Hashable, Sendable {
        public let quota: ShardQuota
        public let retryAfterMilliseconds: Int
    }

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    /// What programs compare: the code of the Query protocol.
    public var code: String { kind.row.code }
    /// The shape's name in the service model.
    public var shape: String { kind.row.shape ?? kind.row.code }
    public var status: Int { kind.row.status }
    /// Whether the request is at fault, not the server.
    public var isSenderFault: Bool { kind.row.status < 500 }

    /// Value of the header `x-amzn-query-error`.
    public var queryErrorHeader: String { code + (isSenderFault ? ";Sender" : ";Receiver") }

    /// The answer's body.
    public func body() -> [UInt8] {
        var json = JSONWriter(capacity: 96 + message.utf8.count)
        json.beginObject()
        json.key("__type")
        json.string(kind.row.namespace + "#" + shape)
        json.key("message")
        json.string(message)
        json.endObject()
        return json.take()
    }
}

extension SQSError {
    /// What a shard's refusal is called over SQS.
    public init(_ error: ShardError) {
        switch error {
        case .quotaExceeded(let milliseconds, let quota):
            guard let quota else {
                self.init(.requestThrottled, "The shard of this message group is over its rate of requests. Try again.")
                return
            }
            let rate = quota.requestsPerSecond.map { " of \($0) requests a second" } ?? ""
            self.init(.requestThrottled, "The shard \(quota.shard) is over its quota\(rate). Try again.")
            throttling = Throttling(quota: quota, retryAfterMilliseconds: milliseconds)
        case .overloaded:
            self.init(.serviceUnavailable, "Too many requests wait for this shard. Try again.")
        case .storageFull:
            self.init(.serviceUnavailable, "The shard's disk has no room: nothing was stored.")
        case .storageFailed(ShardError.codeOfMovedFile):
            self.init(.serviceUnavailable, "The shard's file was moved or removed: nothing was acknowledged.")
        case .storageFailed(let code):
            self.init(.internalFailure, "The shard's file could not be written (SQLite result code \(code)).")
        case .closed:
            self.init(.serviceUnavailable, "The shard is closing. Try again.")
        case .unavailable:
            self.init(.serviceUnavailable, "The shard did not take the message in time: nothing was stored. Try again.")
        case .unknownOutcome:
            self.init(
                .serviceUnavailable,
                "The shard did not say whether it stored the message. Try again with the same deduplication id.")
        case .refused(let code):
            self.init(.internalFailure, "The shard refused the message (error code \(code)).")
        case .injected:
            self.init(.internalFailure, "An error was injected for a test.")
        case .invalid(let code):
            self.init(.invalidParameterValue, "The entry is not valid (\(code)).")
        case .earlierEntryFailed(let reason): self = SQSError(reason).ofEarlierEntry
        }
    }

    /// The error of a later entry of the same message group in the same request: same code, and a text that says why.
    public var ofEarlierEntry: SQSError {
        SQSError(
            kind,
            "An earlier entry of this message group in the request failed, so this one was not sent. Its reason: "
                + message)
    }
}

extension SQSError.Kind {
    fileprivate struct Row {
        let code: String
        var shape: String?
        var status = 400
        var namespace = "com.amazonaws.sqs"
    }

    private static let prefix = "AWS.SimpleQueueService."

    private func prefixed(_ shape: String, status: Int = 400) -> Row {
        Row(code: Self.prefix + shape, shape: shape, status: status)
    }

    fileprivate var row: Row {
        switch self {
        case .queueDoesNotExist: Row(code: Self.prefix + "NonExistentQueue", shape: "QueueDoesNotExist")
        case .queueNameExists: Row(code: "QueueAlreadyExists", shape: "QueueNameExists")
        case .queueDeletedRecently: prefixed("QueueDeletedRecently")
        case .purgeQueueInProgress: prefixed("PurgeQueueInProgress", status: 403)
        case .invalidAttributeName: Row(code: "InvalidAttributeName")
        case .invalidAttributeValue: Row(code: "InvalidAttributeValue")
        case .invalidParameterValue: Row(code: "InvalidParameterValue", shape: "InvalidParameterValueException")
        case .missingParameter: Row(code: "MissingParameter", shape: "MissingRequiredParameterException")
        case .invalidMessageContents: Row(code: "InvalidMessageContents")
        case .receiptHandleIsInvalid: Row(code: "ReceiptHandleIsInvalid")
        case .emptyBatchRequest: prefixed("EmptyBatchRequest")
        case .tooManyEntriesInBatchRequest: prefixed("TooManyEntriesInBatchRequest")
        case .batchEntryIdsNotDistinct: prefixed("BatchEntryIdsNotDistinct")
        case .invalidBatchEntryId: prefixed("InvalidBatchEntryId")
        case .batchRequestTooLong: prefixed("BatchRequestTooLong")
        case .messageNotInflight: prefixed("MessageNotInflight")
        case .unsupportedOperation: prefixed("UnsupportedOperation")
        case .overLimit: Row(code: "OverLimit", status: 403)
        case .requestThrottled: Row(code: "RequestThrottled", status: 403)
        case .resourceNotFound: Row(code: "ResourceNotFoundException", status: 404)
        case .invalidAction: Row(code: "InvalidAction")
        case .invalidAddress: Row(code: "InvalidAddress")
        case .invalidSecurity: Row(code: "InvalidSecurity")
        case .accessDenied: Row(code: "AccessDenied", shape: "AccessDeniedException", status: 403)
        case .missingAuthenticationToken: Row(code: "MissingAuthenticationToken", status: 403)
        case .incompleteSignature: Row(code: "IncompleteSignature")
        case .invalidClientTokenId: Row(code: "InvalidClientTokenId", status: 403)
        case .signatureDoesNotMatch: Row(code: "SignatureDoesNotMatch", status: 403)
        case .requestExpired: Row(code: "RequestExpired")
        case .serialization: Row(code: "SerializationException", namespace: "com.amazon.coral.service")
        case .unknownOperation: Row(code: "UnknownOperationException", namespace: "com.amazon.coral.service")
        case .requestTooLarge: Row(code: "RequestEntityTooLarge", status: 413)
        case .serviceUnavailable: Row(code: "ServiceUnavailable", status: 503)
        case .internalFailure: Row(code: "InternalFailure", status: 500)
        }
    }
}
