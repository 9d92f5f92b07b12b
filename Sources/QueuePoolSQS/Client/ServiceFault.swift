// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

// What an error of the service means for the next attempt, decided in one place for all who ask it. Sources: SQS API
// reference, "Common Errors" and the errors of each action; service model sqs/2012-11-05; the AWS JSON protocol, which
// names an error in the member `__type` of its body, and by the older code of the Query protocol in the header
// `x-amzn-query-error`.

/// An error that the service answered, or the failure of one entry of a batch.
public struct ServiceFault: Hashable, Sendable {
    public enum Meaning: Hashable, Sendable {
        /// Refused for its rate, before it was carried out.
        case throttled
        /// Not carried out; the same request may succeed later.
        case retryable
        /// The service failed while it was at it: carried out or not.
        case unknownOutcome
        /// The receipt handle is no longer that of a message in flight: the queue delivers the message again, or it is
        /// gone. Nothing can be done with the handle any more. Told of entries with handles only.
        case lostHandle
        /// The same request will fail again.
        case permanent
    }

    /// As the service gave it, for people to look up.
    public let code: String
    public let status: Int

    public init(code: String, status: Int) {
        self.code = code
        self.status = status
    }

    /// Of an answer whose status is not 200.
    /// - Parameter queryError: the value of the header `x-amzn-query-error`, if there is one: code, `;` and whose fault.
    public init(status: Int, queryError: String?, body: [UInt8]) {
        let code = queryError.map { String($0.prefix { $0 != ";" }) } ?? ServiceFault.type(body) ?? "HTTP\(status)"
        self.init(code: code, status: status)
    }

    /// Of an entry of a batch that failed. An entry has no status of its own, only whose fault it is.
    public init(entryCode code: String, isSenderFault: Bool) {
        self.init(code: code, status: isSenderFault ? 400 : 500)
    }

    /// The code without what stands before it: a namespace with `#`, or `AWS.SimpleQueueService.`.
    public var name: String {
        code.split(whereSeparator: { $0 == "." || $0 == "#" }).last.map(String.init) ?? code
    }

    /// Of a request, or of an entry that is to be stored.
    public var meaning: Meaning {
        let name = name
        if ServiceFault.throttles.contains(name) || status == 429 { return .throttled }
        // A 503 comes from before the service proper; a 500, from within it.
        if status == 503 || name == "ServiceUnavailable" { return .retryable }
        return status >= 500 ? .unknownOutcome : .permanent
    }

    /// Of an entry with a receipt handle. Whose fault it is does not matter: done twice, a delete and a change of visibility
    /// do what they do once, so that whoever asks may always repeat them.
    public var meaningForHandle: Meaning {
        if ServiceFault.lostHandles.contains(name) { return .lostHandle }
        return ServiceFault(code: code, status: 400).meaning
    }

    /// SQS itself says RequestThrottled (with 403), its guide ThrottlingException; the others are those which AWS's SDKs
    /// take for throttling. OverLimit: too many messages in flight, which deletes bring down.
    private static let throttles: Set<String> = [
        "RequestThrottled", "ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException",
        "RequestThrottledException", "SlowDown", "OverLimit",
    ]

    /// - ReceiptHandleIsInvalid: the handle does not parse, or is another queue's.
    /// - InvalidParameterValue: what a FIFO queue says of a handle whose visibility timeout has run out, and both kinds of
    ///   a message that was deleted. It says so as well of a timeout beyond twelve hours from the receive: the handle is
    ///   good then, but cannot be kept, which comes to the same for its holder. The JSON shape ends in `Exception`.
    /// - MessageNotInflight: in the service model for changes of visibility.
    /// - InvalidReceiptHandle: not in the model; services that speak the protocol may say so, and it can mean nothing else.
    private static let lostHandles: Set<String> = [
        "ReceiptHandleIsInvalid", "InvalidParameterValue", "InvalidParameterValueException", "MessageNotInflight",
        "InvalidReceiptHandle",
    ]

    /// The member `__type` of an error's body.
    private static func type(_ body: [UInt8]) -> String? {
        try? ClientJSON.parse(body) { (json) throws(JSONFault) -> String? in
            var found: String?
            try json.beginObject()
            while let key = try json.nextKey() {
                if key.equals("__type") { found = try json.readString().text } else { try json.skipValue() }
            }
            return found
        }
    }
}

enum ClientJSON {
    /// Reads a body.
    static func parse<Value>(
        _ body: [UInt8], _ read: (inout JSONReader) throws(JSONFault) -> Value
    ) throws(JSONFault) -> Value {
        let result: Result<Value, JSONFault> = body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) { return .success(try read(&json)) } catch { return .failure(error) }
        }
        return try result.get()
    }
}
