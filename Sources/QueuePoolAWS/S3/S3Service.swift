// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import QueuePoolCurl

// S3's REST protocol, as far as bodies need it: the status says whether it was done, an XML document why not. Signing a
// request hashes its body, which takes a while for a large one, so it is never done on the thread that asks nor on a
// clock's. There are no HEAD requests: what they would tell, a GET of nothing tells too, and with a code.
// Source: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html

/// One region's S3, or what speaks like it.
package struct S3Service: Sendable {
    package static let attemptsMax = 3

    package let region: String
    /// Base URL, without a slash at its end.
    package let endpoint: String
    private let caller: any AWSCaller
    private let clock: any Clock
    private let timeoutMilliseconds: Int
    /// Where requests are signed and answers are given out.
    private let queue = DispatchQueue(label: "queuepool.s3", attributes: .concurrent)

    /// - Parameters:
    ///   - clock: by which another attempt waits.
    ///   - timeoutMilliseconds: of each attempt, for the largest body.
    package init(
        caller: any AWSCaller, region: String, endpoint: String, clock: any Clock, timeoutMilliseconds: Int = 60_000
    ) {
        self.caller = caller
        self.region = region
        self.endpoint = endpoint
        self.clock = clock
        self.timeoutMilliseconds = timeoutMilliseconds
    }

    /// Performs a request that may be done twice; an answer that failed for the moment is asked for again.
    /// - Parameters:
    ///   - key: `nil`: of the bucket itself.
    ///   - query: encoded.
    ///   - statuses: that are an answer to this request beside the ones of success.
    ///   - answerBytesMax: of the answer's body; a larger one is `permanent`, with the code `AnswerTooLarge`.
    ///   - completion: called once, later, on a thread of the service's.
    func call(
        _ method: String, _ bucket: String, key: String? = nil, query: String = "",
        headers: [(name: String, value: String)] = [], body: [UInt8] = [],
        alsoTaking statuses: Set<Int> = [], answerBytesMax: Int = 1 << 20,
        completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void
    ) {
        let request = AWSRequest(
            service: "s3", region: region, method: method, url: url(bucket, key, query), headers: headers, body: body,
            timeoutMilliseconds: timeoutMilliseconds, answerBytesMax: answerBytesMax)
        // Without a key the path is the bucket's: a DELETE would remove that.
        guard key.map(S3Folder.isKey) ?? true else {
            return later { completion(.failure(.permanent(code: "InvalidKey", status: 0))) }
        }
        attempt(request, statuses, 1, FullJitter(seed: .random(in: .min ... .max)), completion)
    }

    /// Calls `body` on a thread of the service's, and never within this call.
    func later(_ body: @escaping @Sendable () -> Void) { queue.async(execute: body) }

    private func attempt(
        _ request: AWSRequest, _ statuses: Set<Int>, _ number: Int, _ jitter: FullJitter,
        _ completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void
    ) {
        queue.async {
            caller.perform(request) { result in
                let result = result.flatMap { S3Service.answer($0, statuses) }
                guard case .failure(let error) = result, error.isWorthAnotherAttempt, number < S3Service.attemptsMax
                else {
                    queue.async { completion(result) }
                    return
                }
                var jitter = jitter
                let delay = jitter.delay(failures: number)
                clock.schedule(afterMilliseconds: delay) { [jitter] in
                    attempt(request, statuses, number + 1, jitter, completion)
                }
            }
        }
    }

    // MARK: - Where

    /// Amazon's own hosts have the bucket in their name, where its certificate covers that; all others in the path.
    private func url(_ bucket: String, _ key: String?, _ query: String) -> String {
        var url = "\(endpoint)/\(bucket)"
        let mark = "https://s3."
        if endpoint.hasPrefix(mark), endpoint.hasSuffix(".amazonaws.com") || endpoint.hasSuffix(".amazonaws.com.cn"),
            !bucket.contains(".")
        {
            url = "https://\(bucket).s3.\(endpoint.dropFirst(mark.count))"
        }
        let path = (key ?? "").split(separator: "/", omittingEmptySubsequences: false)
        url += "/" + path.map { percentEncoded(String($0)) }.joined(separator: "/")
        return query.isEmpty ? url : "\(url)?\(query)"
    }

    // MARK: - Answers

    private static func answer(_ response: HTTPResponse, _ statuses: Set<Int>) -> Result<HTTPResponse, AWSError> {
        guard !(200...299).contains(response.status), !statuses.contains(response.status) else {
            return .success(response)
        }
        let code = XMLText(response.body.prefix(4_096)).first("Code").map(safeCode) ?? ""
        return .failure(error(status: response.status, code: code.isEmpty ? "HTTP\(response.status)" : code))
    }

    private static func error(status: Int, code: String) -> AWSError {
        if throttles.contains(code) || status == 429 { return .throttled(code: code) }
        if passing.contains(code) || status == 408 { return .retryable(code: code) }
        return status >= 500 ? .unknownOutcome(code: code) : .permanent(code: code, status: status)
    }

    private static let throttles: Set<String> = [
        "SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "RequestLimitExceeded",
    ]
    /// Answered with a status that says it is the client's fault, though the same request may succeed.
    private static let passing: Set<String> = [
        "RequestTimeout", "OperationAborted", "ConditionalRequestConflict",
    ]
}
