// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime
import QueuePoolSettings

/// The HTTP client of the commands.
/// - Throws: `CommandFailure` that names a file that cannot be read.
func makeHTTPClient(_ settings: ClientSettings) throws(CommandFailure) -> any HTTPClient {
    CurlClient(
        engine: CurlEngine(), server: try transferTLS(settings.tls, token: settings.token), shown: settings.token?.name)
}

/// What transfers to a server are told of TLS, and what they show.
/// - Throws: `CommandFailure` that names a file that cannot be read.
func transferTLS(_ settings: ClientTLSSettings, token: TokenSettings?) throws(CommandFailure) -> TransferTLS {
    let files = [
        (Setting.clientTLSCA, settings.authorities), (.clientTLSCertificate, settings.certificate),
        (.clientTLSKey, settings.key),
    ]
    for (setting, path) in files {
        guard let path else { continue }
        let byte = try? FileHandle(forReadingAtPath: path)?.read(upToCount: 1)
        guard byte?.isEmpty == false else {
            throw CommandFailure(setting, file: path, "cannot be read, or is empty")
        }
    }
    return TransferTLS(
        authorities: settings.authorities, certificate: settings.certificate, key: settings.key,
        token: try token?.callerToken())
}

private struct CurlClient: HTTPClient {
    let engine: CurlEngine
    let server: TransferTLS
    /// The setting of its token, in words.
    let shown: String?
    /// More than twice the time between two looks.
    private static let newKeyMilliseconds: Int64 = 1_000

    func perform(_ request: ClientRequest) async throws(NoAnswer) -> ClientAnswer {
        let http = HTTPRequest(
            method: request.method, url: request.url,
            headers: request.contentType.map { [("Content-Type", $0)] } ?? [], body: request.body,
            timeoutMilliseconds: request.timeoutMilliseconds)
        var outcome = await engine.outcome(http, at: server)
        if case .success(let response) = outcome, response.status == 401, server.token != nil {
            // A new key is known to a server only when it has looked at its store again.
            await SystemClock().sleep(milliseconds: CurlClient.newKeyMilliseconds)
            outcome = await engine.outcome(http, at: server)
        }
        switch outcome {
        case .success(let response):
            return ClientAnswer(
                status: response.status, headers: response.headers, body: response.body, shown: shown)
        case .failure(let failure):
            if let trouble = failure.tls { throw NoAnswer(description: trouble.description, isUntrusted: true) }
            throw NoAnswer(description: Self.text(failure.error))
        }
    }

    private static func text(_ error: CurlError) -> String {
        switch error {
        case .unreachable: "nobody answers there"
        case .timeout: "no answer in time"
        default: "\(error)"
        }
    }
}
