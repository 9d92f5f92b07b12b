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
    /// Whom it is for, if others of its lane are not to wait for their answers.
    package var party: TransferParty?
    /// Bytes of the answer's body beyond which it fails.
    package var answerBytesMax: Int
    /// Whom it trusts, and what it shows of itself, where that is not for all to trust and see; `nil`: as usual.
    package var tls: TransferTLS?
    /// Asked just before the request is written to its connection; if it says no, nothing is, and the request is cancelled.
    /// Called on the engine's thread, so it must be short.
    package var mayBegin: (@Sendable () -> Bool)?

    package init(
        method: String, url: String, headers: [(name: String, value: String)] = [], body: [UInt8] = [],
        timeoutMilliseconds: Int = 60_000, lane: CurlLane = .calls, party: TransferParty? = nil,
        answerBytesMax: Int = 16 << 20
    ) {
        self.lane = lane
        self.party = party
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

/// Why a transfer came to nothing. Carries codes and sizes only.
package enum CurlError: Error, Hashable, Sendable {
    /// The host's name was not found or nobody answered there.
    case unreachable
    case timeout
    /// TLS was required and not offered, or a certificate did not hold.
    case tls
    /// The server refused with this code.
    case refused(code: Int)
    case answerTooLarge(limit: Int)
    case cancelled
    case closed
    /// A URL, header or address with a line break or NUL, or no recipient: nothing was sent.
    case invalid
    /// Anything else, by libcurl's number (libcurl-errors).
    case other(code: Int)
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
    /// Why TLS came to nothing, if that is what failed and another try would change nothing.
    package internal(set) var tls: TLSTrouble?

    package init(error: CurlError, wasSent: Bool) {
        self.error = error
        self.wasSent = wasSent
    }
}
