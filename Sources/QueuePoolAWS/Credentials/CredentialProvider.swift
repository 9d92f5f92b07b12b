// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

/// Credentials for many callers from one source: at once when there are any, with one fetch in the background.
package final class CredentialProvider: Sendable {
    package typealias Completion = @Sendable (Result<AWSCredentials, AWSError>) -> Void

    private struct State {
        var refresh = CredentialRefresh()
        var waiting: [Completion] = []
    }

    private let source: any CredentialSource
    private let clock: ServiceClock
    private let random: @Sendable () -> Double
    private let state = Mutex(State())

    package init(
        source: any CredentialSource, clock: ServiceClock,
        random: @escaping @Sendable () -> Double = { Double.random(in: 0..<1) }
    ) {
        self.source = source
        self.clock = clock
        self.random = random
    }

    /// Calls back at once, on the caller's thread, when there are credentials; else after the fetch, on another.
    package func credentials(_ completion: @escaping Completion) {
        let decision = state.withLock { state in
            let decision = state.refresh.decide(at: clock.now())
            if case .wait = decision { state.waiting.append(completion) }
            return decision
        }
        switch decision {
        case .use(let credentials, let startsFetch):
            if startsFetch { fetch() }
            completion(.success(credentials))
        case .wait(let startsFetch):
            if startsFetch { fetch() }
        case .fail(let error):
            completion(.failure(error.aws))
        }
    }

    package func credentials() async throws(AWSError) -> AWSCredentials {
        try await withCheckedContinuation { continuation in
            credentials { continuation.resume(returning: $0) }
        }.get()
    }

    /// A service said that these have expired: the next caller waits for others.
    package func refuse(_ credentials: AWSCredentials) {
        state.withLock { $0.refresh.refuse(credentials) }
    }

    /// One task for a fetch, not one for a request.
    private func fetch() {
        Task {
            let result: Result<AWSCredentials, CredentialError>
            do throws(CredentialError) {
                if let credentials = try await source.load() {
                    result = .success(credentials)
                } else {
                    result = .failure(CredentialError(source: "credentials", reason: "no source is set up"))
                }
            } catch {
                result = .failure(error)
            }
            let (answer, waiting) = state.withLock { state in
                let answer = state.refresh.fetched(result, at: clock.now(), random: random())
                defer { state.waiting = [] }
                return (answer, state.waiting)
            }
            for completion in waiting { completion(answer.mapError(\.aws)) }
        }
    }
}
