// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// When credentials are fetched again, decided without a clock: old ones are used on while new ones are fetched, so that
// sending never pauses for a rotation; only when they have expired does a caller wait. A failed fetch is tried again
// after a growing pause. The start of a refresh is spread, so that many processes do not ask the same source at once.

/// The life of one set of credentials.
package struct CredentialRefresh: Sendable {
    /// What a caller does now.
    package enum Decision: Sendable {
        /// Sign with these; start a fetch too if told so.
        case use(AWSCredentials, startsFetch: Bool)
        /// Wait for the fetch under way; start it if told so.
        case wait(startsFetch: Bool)
        /// The last fetch failed a moment ago.
        case fail(CredentialError)
    }

    /// Milliseconds before expiry at which a fetch begins, at the latest.
    static let lead: Int64 = 300_000
    /// Added to the lead: up to this much.
    static let spread: Int64 = 60_000
    /// Not used for this long before their expiry: a request takes time to arrive, and clocks differ.
    static let margin: Int64 = 10_000
    static let firstPause: Int64 = 1_000
    /// While the old ones are good.
    static let longestPause: Int64 = 60_000
    /// While there are none to sign with: everybody waits for the next fetch, which is one request of this process.
    static let longestPauseOfNone: Int64 = 8_000

    private var current: AWSCredentials?
    private var refreshAt = Timestamp.distantFuture
    private var isFetching = false
    private var failure: CredentialError?
    private var failedAt = Timestamp.distantPast
    /// After the last failure; 0 without one.
    private var pause: Int64 = 0
    /// What a service said has expired.
    private var refused: AWSCredentials?

    package init() {}

    package mutating func decide(at now: Timestamp) -> Decision {
        if let current, isUsable(current, at: now) {
            let starts = !isFetching && now >= refreshAt && now >= failedAt + pause
            if starts { isFetching = true }
            return .use(current, startsFetch: starts)
        }
        if isFetching { return .wait(startsFetch: false) }
        if let failure, now < failedAt + min(pause, CredentialRefresh.longestPauseOfNone) { return .fail(failure) }
        isFetching = true
        return .wait(startsFetch: true)
    }

    /// - Parameter random: 0..<1, by which the next refresh is spread.
    /// - Returns: what callers that wait get.
    package mutating func fetched(
        _ result: Result<AWSCredentials, CredentialError>, at now: Timestamp, random: Double
    ) -> Result<AWSCredentials, CredentialError> {
        isFetching = false
        switch result {
        case .success(let new) where new == refused:
            return failed(CredentialError(source: "credentials", reason: "the service says they have expired"), now)
        case .success(let new) where !isUsable(new, at: now):
            return failed(CredentialError(source: "credentials", reason: "the source gave expired ones"), now)
        case .success(let new):
            current = new
            failure = nil
            failedAt = .distantPast
            pause = 0
            refreshAt = .distantFuture
            if let end = new.expiresAt {
                // Credentials that live shorter than the lead: half of their life.
                let lead = min(
                    CredentialRefresh.lead + Int64(Double(CredentialRefresh.spread) * random), (end - now) / 2)
                refreshAt = end + -lead
            }
            return .success(new)
        case .failure(let error):
            return failed(error, now)
        }
    }

    /// A service said that these have expired: they are not used again.
    package mutating func refuse(_ credentials: AWSCredentials) {
        guard credentials == current else { return }
        refused = credentials
    }

    private mutating func failed(
        _ error: CredentialError, _ now: Timestamp
    ) -> Result<AWSCredentials, CredentialError> {
        failure = error
        failedAt = now
        pause = min(max(CredentialRefresh.firstPause, pause * 2), CredentialRefresh.longestPause)
        // Those that wait for a refresh get on with what there is.
        if let current, isUsable(current, at: now) { return .success(current) }
        return .failure(error)
    }

    private func isUsable(_ credentials: AWSCredentials, at now: Timestamp) -> Bool {
        guard credentials != refused else { return false }
        return credentials.expiresAt.map { now + CredentialRefresh.margin < $0 } ?? true
    }
}
