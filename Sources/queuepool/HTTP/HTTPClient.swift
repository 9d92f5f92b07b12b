// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// One request to a server.
struct ClientRequest: Sendable {
    var method: String
    var url: String
    var contentType: String?
    var body: [UInt8] = []
    var timeoutMilliseconds = 60_000
}

/// A whole answer.
struct ClientAnswer: Sendable {
    var status: Int
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []
    /// By which setting the request showed a key; `nil`: it showed none.
    var shown: String?

    func header(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    /// Seconds of a `Retry-After` header; a date or nonsense counts as absent.
    var retryAfterSeconds: Double? { header("Retry-After").flatMap(Double.init).flatMap { $0 >= 0 ? $0 : nil } }
}

/// No answer came: no connection, a timeout, a connection that broke. Whether the request took effect is unknown.
struct NoAnswer: Error, Hashable, CustomStringConvertible {
    let description: String
    /// TLS does not hold, and will not before somebody changes a file or an address.
    var isUntrusted = false

    /// What a command that cannot do without the answer ends with.
    var failure: CommandFailure {
        isUntrusted
            ? CommandFailure("the server is not trusted: \(description)", status: ExitStatus.configuration)
            : CommandFailure("the server does not answer: \(description)", status: ExitStatus.unavailable)
    }
}

/// What the commands need of HTTP.
protocol HTTPClient: Sendable {
    /// - Throws: `NoAnswer`; an answer with any status is returned.
    func perform(_ request: ClientRequest) async throws(NoAnswer) -> ClientAnswer
}
