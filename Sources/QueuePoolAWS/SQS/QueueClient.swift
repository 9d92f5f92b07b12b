// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolJSON
import QueuePoolSQS

// The messages' side of the SQS protocol (AWS JSON 1.0), without a task a request. What an error means for the next
// attempt is decided here, in one place: an answer that says so was not carried out; a 500 and a missing answer may have
// been. Source: SQS API reference, "Common Errors" and the errors of each action; service model sqs/2012-11-05.

/// One remote queue.
package struct QueueAddress: Hashable, Sendable {
    /// Base URL, without a slash at its end.
    package var endpoint: String
    package var region: String
    /// As the service gave it; sent as `QueueUrl`.
    package var queueURL: String

    package init(endpoint: String, region: String, queueURL: String) {
        self.endpoint = endpoint
        self.region = region
        self.queueURL = queueURL
    }
}

struct QueueClient: Sendable {
    let address: QueueAddress
    let caller: any AWSCaller

    /// Performs an action; the members after `QueueUrl` are written by `write`.
    func call(
        _ action: SQSAction, timeoutMilliseconds: Int = 10_000, capacity: Int = 512,
        _ write: (inout JSONWriter) -> Void,
        completion: @escaping @Sendable (Result<[UInt8], AWSError>) -> Void
    ) {
        var json = JSONWriter(capacity: capacity)
        json.beginObject()
        json.key("QueueUrl")
        json.string(address.queueURL)
        write(&json)
        json.endObject()
        let request = AWSRequest(
            service: "sqs", region: address.region, url: address.endpoint + "/",
            headers: [("Content-Type", SQSAction.contentType), ("X-Amz-Target", action.target)], body: json.take(),
            timeoutMilliseconds: timeoutMilliseconds, isLongPoll: action == .receiveMessage)
        caller.perform(request) { result in completion(result.flatMap(QueueClient.answer)) }
    }

    private static func answer(_ response: HTTPResponse) -> Result<[UInt8], AWSError> {
        if response.status == 200 { return .success(response.body) }
        let code =
            response.header("x-amzn-query-error").map { String($0.prefix { $0 != ";" }) }
            ?? type(response.body) ?? "HTTP\(response.status)"
        return .failure(error(code: code, status: response.status))
    }

    /// Sorts the service's own codes.
    static func error(code: String, status: Int) -> AWSError {
        let name = code.split(whereSeparator: { $0 == "." || $0 == "#" }).last.map(String.init) ?? code
        if throttles.contains(name) || status == 429 { return .throttled(code: name) }
        if status == 503 || name == "ServiceUnavailable" { return .retryable(code: name) }
        return status >= 500 ? .unknownOutcome(code: name) : .permanent(code: name, status: status)
    }

    private static let throttles: Set<String> = [
        "RequestThrottled", "ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException",
        "RequestThrottledException", "SlowDown", "OverLimit",
    ]

    /// The member `__type` of an error's body.
    private static func type(_ body: [UInt8]) -> String? {
        try? parse(body) { (json) throws(JSONFault) -> String? in
            var found: String?
            try json.beginObject()
            while let key = try json.nextKey() {
                if key.equals("__type") { found = try json.readString().text } else { try json.skipValue() }
            }
            return found
        }
    }

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

extension AWSError {
    /// As everything above the shard border sees it.
    var asShardError: ShardError {
        switch self {
        case .throttled: .quotaExceeded(retryAfterMilliseconds: 1_000)
        case .retryable, .credentials: .unavailable(retryAfterMilliseconds: 1_000)
        case .unknownOutcome: .unknownOutcome
        case .permanent(let code, _): .refused(code: code)
        case .cancelled: .closed
        }
    }

    /// What it means for the messages of a request.
    var asRequestFailure: RequestFailure {
        switch self {
        case .throttled: .throttled
        case .retryable, .credentials: .retryable
        case .unknownOutcome, .cancelled: .unknownOutcome
        case .permanent: .permanent(asShardError)
        }
    }
}
