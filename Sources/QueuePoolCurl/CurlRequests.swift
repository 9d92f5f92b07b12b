// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// One HTTP request.
package struct HTTPRequest: Sendable {
    package var method: String
    package var url: String
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]
    /// From when it is handed in to the end of its answer.
    package var timeoutMilliseconds: Int
    package var lane: CurlLane
    /// Bytes of the answer's body beyond which it fails.
    package var answerBytesMax: Int

    package init(
        method: String, url: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [],
        timeoutMilliseconds: Int = 60_000, lane: CurlLane = .calls, answerBytesMax: Int = 16 << 20
    ) {
        self.lane = lane
        self.answerBytesMax = answerBytesMax
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

/// Its answer.
package struct HTTPResponse: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: [UInt8]

    package init(status: Int, headers: [(name: String, value: String)], body: [UInt8]) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    package func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }
}

/// One mail for an SMTP server.
package struct MailTransfer: Sendable {
    /// `smtp://HOST:PORT` or `smtps://HOST:PORT`
    package var url: String
    package var user: String?
    package var password: String?
    /// Refuse to go on without TLS.
    package var requiresTLS: Bool
    package var from: String
    package var recipients: [String]
    /// The mail with lines ending in CR LF; dots are stuffed on the way.
    package var payload: [UInt8]
    package var timeoutMilliseconds: Int

    package init(
        url: String, user: String? = nil, password: String? = nil, requiresTLS: Bool, from: String,
        recipients: [String], payload: [UInt8], timeoutMilliseconds: Int = 60_000
    ) {
        self.url = url
        self.user = user
        self.password = password
        self.requiresTLS = requiresTLS
        self.from = from
        self.recipients = recipients
        self.payload = payload
        self.timeoutMilliseconds = timeoutMilliseconds
    }
}

/// Why a transfer came to nothing. Carries codes and sizes only.
package enum CurlError: Error, Hashable, Sendable {
    /// The host's name was not found or nobody answered there.
    case unreachable
    case timeout
    /// TLS was required and not offered, or a certificate did not hold.
    case tls
    /// An SMTP server refused with this code.
    case refused(code: Int)
    case answerTooLarge(limit: Int)
    case cancelled
    case closed
    /// A URL, header or address with a line break or NUL, or no recipient: nothing was sent.
    case invalid
    /// Anything else, by libcurl's number (libcurl-errors).
    case other(code: Int)

    /// Whether the same transfer may succeed later.
    package var isRetryable: Bool {
        switch self {
        // Codes about who we are, not about the mail (RFC 4954, 6): right again once the credentials are.
        case .refused(let code): code < 500 || [530, 534, 535, 538].contains(code)
        case .answerTooLarge, .invalid: false
        default: true
        }
    }
}

/// A transfer under way, for `cancel`.
package struct TransferID: Hashable, Sendable {
    let number: UInt64
}

/// Why a transfer came to nothing, and whether the other side may have seen it.
package struct CurlFailure: Error, Hashable, Sendable {
    package let error: CurlError
    /// Bytes of the request were written to a connection.
    package let wasSent: Bool

    package init(error: CurlError, wasSent: Bool) {
        self.error = error
        self.wasSent = wasSent
    }
}
