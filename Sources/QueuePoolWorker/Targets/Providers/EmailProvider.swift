// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCurl

// What the email services have in common, and in what they differ. Each is a value of `EmailProvider`, and one target
// speaks to them all. Sources: the services' references of their APIs for sending one email.

/// How one email service is asked to send an email, and what its answers say.
struct EmailProvider: Sendable {
    /// What an answer means where it is not what its status says by itself.
    enum Verdict: Sendable {
        case again
        case refused
        /// It is about the account, and not about the message.
        case unavailable
    }

    /// A status and the service's own code for an error.
    struct Answer: Hashable, Sendable {
        let status: Int
        let code: String
    }

    /// How a request shows whose it is.
    enum Authorization: Sendable {
        /// A header made of the key.
        case key(@Sendable (String) -> (name: String, value: String))
        /// Signature Version 4 for the service of this name.
        case signature(service: String)
    }

    /// Of its URLs; also the beginning of its error classes.
    let scheme: String
    /// What stands behind the colon of its URL; `nil`: nothing may.
    var name: NameRule?
    /// Options beside those that all have.
    var options: Set<String> = []
    /// `https://HOST`
    let base: @Sendable (ProviderURL) -> String
    let path: @Sendable (ProviderURL) -> String
    let authorization: Authorization
    /// The header by which it knows a repeated request; `nil`: it has none, so that a request whose answer is lost may
    /// send the mail twice.
    var idempotencyHeader: String?
    /// Whether it sends no mail that has nobody in To.
    var needsTo = true
    /// The body of a request, and its content type.
    let body: @Sendable (ProviderMail) -> (type: String, bytes: [UInt8])
    /// Its own code of an error, if the answer has one.
    var code: @Sendable (HTTPResponse) -> String? = { _ in nil }
    var verdicts: [Answer: Verdict] = [:]

    /// What may stand behind a scheme's colon.
    struct NameRule: Sendable {
        /// In words.
        let what: String
        let allows: @Sendable (String) -> Bool
    }

    /// The service of a URL's scheme; `nil` if it is none's.
    static func of(_ scheme: String) -> EmailProvider? { all.first { $0.scheme == scheme } }

    static let all: [EmailProvider] = [.ses, .sendGrid, .mailgun, .postmark, .resend]
}

/// Headers that make a request one of an account, and whom to tell what came of it.
package struct RequestSignature: Sendable {
    package var headers: [(name: String, value: String)]
    /// Learns from an answer, e.g. that the credentials have expired.
    package var answered: @Sendable (HTTPResponse) -> Void

    package init(headers: [(name: String, value: String)], answered: @escaping @Sendable (HTTPResponse) -> Void) {
        self.headers = headers
        self.answered = answered
    }
}

/// Signs a request to a service of AWS in a region; `nil` if there are no credentials.
package typealias RequestSigner =
    @Sendable (
        _ request: HTTPRequest, _ service: String, _ region: String
    ) async -> RequestSignature?
