// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import QueuePoolCurl
import Synchronization

// Calls that set things up and calls of the control store: a few a minute, made by commands and by the registry's own
// queue, whose port blocks. So a call here blocks its thread on a semaphore until the caller's completion; it must never
// be made from an event loop or a task, and the caller's completions must not need the thread that waits.
//
// Throttled and retryable failures, and those of unknown outcome, are tried again a few times with full jitter. An
// operation that may not be done twice says so by a condition, and finds out afterwards whether the first attempt did it.

/// One service of AWS that speaks JSON with `X-Amz-Target`.
package struct JSONService: Sendable {
    package static let attemptsMax = 5

    private let caller: any AWSCaller
    /// The name that signatures use.
    private let service: String
    private let targetPrefix: String
    private let jsonVersion: String
    package let region: String
    /// Base URL, without a slash at its end.
    package let endpoint: String
    private let clock: any Clock
    private let attemptsMax: Int
    private let timeoutMilliseconds: Int

    /// - Parameters:
    ///   - jsonVersion: of AWS's protocol.
    ///   - clock: by which another attempt waits.
    ///   - attemptsMax: 1 for a caller that decides itself when to try again.
    ///   - timeoutMilliseconds: of each attempt.
    package init(
        caller: any AWSCaller, service: String, targetPrefix: String, region: String, endpoint: String,
        clock: any Clock, jsonVersion: String = "1.0", attemptsMax: Int = JSONService.attemptsMax,
        timeoutMilliseconds: Int = 10_000
    ) {
        self.jsonVersion = jsonVersion
        self.attemptsMax = attemptsMax
        self.timeoutMilliseconds = timeoutMilliseconds
        self.caller = caller
        self.service = service
        self.targetPrefix = targetPrefix
        self.region = region
        self.endpoint = endpoint
        self.clock = clock
    }

    /// Performs an action, blocking.
    /// - Throws: `AWSError`; `permanent` carries the service's own code.
    package func call(_ action: String, _ body: JSONTree) throws(AWSError) -> JSONTree {
        let request = AWSRequest(
            service: service, region: region, url: endpoint + "/",
            headers: [
                ("Content-Type", "application/x-amz-json-\(jsonVersion)"),
                ("X-Amz-Target", "\(targetPrefix).\(action)"),
            ], body: body.bytes, timeoutMilliseconds: timeoutMilliseconds)
        var attempt = 1
        while true {
            do throws(AWSError) {
                return try JSONService.answer(wait(for: request))
            } catch {
                guard error.isWorthAnotherAttempt, attempt < attemptsMax else { throw error }
            }
            clock.block(milliseconds: Int64.random(in: 0...(50 << Int64(attempt))))
            attempt += 1
        }
    }

    private func wait(for request: AWSRequest) throws(AWSError) -> HTTPResponse {
        let arrival = Arrival()
        caller.perform(request) { arrival.put($0) }
        return try arrival.wait().get()
    }

    /// What an answer says.
    static func answer(_ response: HTTPResponse) throws(AWSError) -> JSONTree {
        let tree = (try? JSONTree(response.body)) ?? .null
        guard (200...299).contains(response.status) else { throw error(status: response.status, tree) }
        guard case .object = tree else {
            // SQS answers some actions with no body at all.
            if response.body.isEmpty { return [:] }
            throw .unknownOutcome(code: "UnreadableAnswer")
        }
        return tree
    }

    private static func error(status: Int, _ body: JSONTree) -> AWSError {
        // `com.amazonaws.dynamodb.v20120810#ResourceNotFoundException`: the name is what counts.
        let type = body["__type"]?.text ?? ""
        var code = type.split(separator: "#").last.map(String.init) ?? "HTTP\(status)"
        if code == "TransactionCanceledException" {
            let reasons = (body["CancellationReasons"]?.elements ?? []).compactMap { $0["Code"]?.text }
            code = reasons.first { $0 != "None" } ?? code
        }
        if throttles.contains(code) { return .throttled(code: code) }
        if contentions.contains(code) { return .retryable(code: code) }
        return status >= 500 ? .unknownOutcome(code: code) : .permanent(code: code, status: status)
    }

    /// Source: "Error handling with DynamoDB" and "Error messages" of SQS.
    private static let throttles: Set<String> = [
        "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "RequestThrottled",
        "Throttling", "ThrottlingError", "ProvisionedThroughputExceeded", "LimitExceededException",
    ]
    private static let contentions: Set<String> = [
        "TransactionConflict", "TransactionConflictException", "TransactionInProgressException",
        "ResourceInUseException",
    ]
}

extension AWSError {
    /// Whether the same request may do better, if doing it twice does no harm.
    var isWorthAnotherAttempt: Bool {
        switch self {
        case .throttled, .retryable, .unknownOutcome: true
        case .permanent, .credentials, .cancelled: false
        }
    }

    /// The service's own name of what went wrong.
    package var code: String {
        switch self {
        case .throttled(let code), .retryable(let code), .unknownOutcome(let code), .permanent(let code, _): code
        case .credentials: "Credentials"
        case .cancelled: "Cancelled"
        }
    }
}

/// One answer on its way from the caller's thread to the one that waits.
private final class Arrival: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    private let result = Mutex<Result<HTTPResponse, AWSError>?>(nil)

    func put(_ result: Result<HTTPResponse, AWSError>) {
        self.result.withLock { $0 = result }
        semaphore.signal()
    }

    func wait() -> Result<HTTPResponse, AWSError> {
        semaphore.wait()
        return result.withLock { $0 } ?? .failure(.cancelled)
    }
}
