// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCurl

// Requests to AWS: signed with the credentials of the moment, performed by the engine, without a task of their own. Two
// answers are mended here because no caller can: a clock that is off is learned from the service's Date, and credentials
// that have expired are not used again; both are then `retryable`. libcurl repeats a request by itself when a kept
// connection turns out closed before any byte of an answer, so a request may arrive twice: senders carry
// deduplication ids, and control writes are conditional.

/// Signs and performs.
package final class SignedCaller: AWSCaller {
    private let engine: CurlEngine
    private let provider: CredentialProvider
    private let clock: ServiceClock
    private let signer = SignatureV4()

    /// - Parameter clock: the one by which the provider's credentials expire too.
    package init(engine: CurlEngine, provider: CredentialProvider, clock: ServiceClock) {
        self.engine = engine
        self.provider = provider
        self.clock = clock
    }

    /// - Important: the completion is called on the engine's thread, or at once; it must be short.
    package func perform(
        _ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void
    ) {
        provider.credentials { [self] result in
            switch result {
            case .failure(let error):
                completion(.failure(error))
            case .success(let credentials):
                engine.start(signed(request, credentials)) { [self] result in
                    completion(answer(result, credentials))
                }
            }
        }
    }

    /// Cancelling the task aborts the transfer.
    package func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse {
        let credentials = try await provider.credentials()
        let result = await engine.outcome(signed(request, credentials))
        return try answer(result, credentials).get()
    }

    private func signed(_ request: AWSRequest, _ credentials: AWSCredentials) -> HTTPRequest {
        let added = signer.headers(for: request, credentials, at: clock.now())
        return HTTPRequest(
            method: request.method, url: request.url,
            headers: request.headers.filter { !SignatureV4.isOurs($0.name) } + added, body: request.body,
            timeoutMilliseconds: request.timeoutMilliseconds, lane: request.isLongPoll ? .polls : .calls,
            party: request.party, answerBytesMax: request.answerBytesMax ?? SignedCaller.answerBytesMax)
    }

    /// Ten messages of 1 MiB, every character of them escaped as six (`\u0022`), and their attributes.
    private static let answerBytesMax = 64 << 20

    private func answer(
        _ result: Result<HTTPResponse, CurlFailure>, _ credentials: AWSCredentials
    ) -> Result<HTTPResponse, AWSError> {
        switch result {
        case .failure(let failure): return .failure(SignedCaller.error(failure))
        case .success(let response):
            guard response.status == 400 || response.status == 401 || response.status == 403 else {
                return .success(response)
            }
            if let code = AnswerCode.first(of: SignedCaller.expiry, in: response) {
                provider.refuse(credentials)
                return .failure(.retryable(code: code))
            }
            if let code = clock.learn(from: response) { return .failure(.retryable(code: code)) }
            return .success(response)
        }
    }

    // MARK: - Codes

    private static let expiry = ["ExpiredTokenException", "ExpiredToken"]

    /// Sorted by what a caller may do: only a request that never left is surely undone.
    static func error(_ failure: CurlFailure) -> AWSError {
        switch failure.error {
        case .cancelled, .closed: .cancelled
        case .invalid: .permanent(code: "InvalidRequest", status: 0)
        case .tls where !failure.wasSent: .permanent(code: "TLS", status: 0)
        case .answerTooLarge: .permanent(code: "AnswerTooLarge", status: 0)
        case let error where failure.wasSent: .unknownOutcome(code: code(error))
        case let error: .retryable(code: code(error))
        }
    }

    private static func code(_ error: CurlError) -> String {
        switch error {
        case .unreachable: "Unreachable"
        case .timeout: "Timeout"
        case .tls: "TLS"
        case .other(let code): "Curl\(code)"
        case .refused(let code): "Refused\(code)"
        case .answerTooLarge, .cancelled, .closed, .invalid: "Other"
        }
    }
}
