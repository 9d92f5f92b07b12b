// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCurl

/// One request to a service of AWS, not signed yet.
package struct AWSRequest: Sendable {
    /// The name that signatures use: `sqs`, `dynamodb`, `s3`, `sts`, `kms`.
    package var service: String
    package var region: String
    package var method: String
    /// Complete, with the query; every byte beyond RFC 3986's unreserved ones is percent-encoded.
    package var url: String
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    package var timeoutMilliseconds: Int
    /// Receives are not among the rest: they wait at the service.
    package var isLongPoll: Bool
    /// Whom it is for, if requests to others are not to wait for its answer.
    package var party: TransferParty?
    /// Bytes of the answer's body beyond which it fails; `nil`: what the largest answer of a queue takes.
    package var answerBytesMax: Int?

    package init(
        service: String, region: String, method: String = "POST", url: String,
        headers: [(name: String, value: String)] = [], body: [UInt8] = [], timeoutMilliseconds: Int = 10_000,
        isLongPoll: Bool = false, party: TransferParty? = nil, answerBytesMax: Int? = nil
    ) {
        self.party = party
        self.answerBytesMax = answerBytesMax
        self.isLongPoll = isLongPoll
        self.service = service
        self.region = region
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

/// Why a request to AWS came to nothing, sorted by what a caller may do next. Carries codes and sizes only.
package enum AWSError: Error, Hashable, Sendable {
    /// Refused for its rate; nothing was done.
    case throttled(code: String)
    /// Nothing was done, and the same request may succeed later.
    case retryable(code: String)
    /// The same request will fail again.
    case permanent(code: String, status: Int)
    /// It may have been done or not: no answer came back.
    case unknownOutcome(code: String)
    /// No credentials could be had; nothing was sent.
    case credentials(reason: String)
    case cancelled
}

/// Signs requests and performs them. Any HTTP status is an answer; errors are for those that got none.
package protocol AWSCaller: Sendable {
    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse
    /// The same without a task; the completion is called once, on any thread.
    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void)
}
