// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolCurl
import Synchronization

/// Loses the first answer to each request, or to those of some actions; what was asked for is done.
final class ForgetfulCaller: AWSCaller {
    private struct Request: Hashable {
        let method: String
        let url: String
        let body: [UInt8]
    }

    private let inner: any AWSCaller
    private let actions: [String]?
    /// Those whose answers were lost.
    private let lost = Mutex<Set<Request>>([])

    /// - Parameter actions: names of DynamoDB's; `nil`: every request loses its answer.
    init(_ inner: any AWSCaller, losing actions: [String]? = nil) {
        self.inner = inner
        self.actions = actions
    }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse {
        try await withCheckedContinuation { done in perform(request) { done.resume(returning: $0) } }.get()
    }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        let isLost = isForgotten(request) && isFirst(request)
        inner.perform(request) { completion(isLost ? .failure(.unknownOutcome(code: "lost")) : $0) }
    }

    private func isForgotten(_ request: AWSRequest) -> Bool {
        guard let actions else { return true }
        let target = request.headers.first { $0.name == "X-Amz-Target" }?.value ?? ""
        return actions.contains { target.hasSuffix("." + $0) }
    }

    /// The second attempt is the same request; a later call that is the same is a new one, and loses again.
    private func isFirst(_ request: AWSRequest) -> Bool {
        let request = Request(method: request.method, url: request.url, body: request.body)
        return lost.withLock { $0.remove(request) == nil && $0.insert(request).inserted }
    }
}
