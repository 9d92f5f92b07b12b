// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCurl
import QueuePoolSettings

/// The HTTP client of the commands.
/// - Throws: `CommandFailure` that names a file of TLS that cannot be read.
func makeHTTPClient(_ tls: ClientTLSSettings) throws(CommandFailure) -> any HTTPClient {
    CurlClient(engine: CurlEngine(), tls: try transferTLS(tls))
}

/// What transfers to a server are told of TLS.
/// - Throws: `CommandFailure` that names a file that cannot be read.
func transferTLS(_ settings: ClientTLSSettings) throws(CommandFailure) -> TransferTLS {
    let files = [
        (Setting.clientTLSCA, settings.authorities), (.clientTLSCertificate, settings.certificate),
        (.clientTLSKey, settings.key),
    ]
    for (setting, path) in files {
        guard let path else { continue }
        let byte = try? FileHandle(forReadingAtPath: path)?.read(upToCount: 1)
        guard byte?.isEmpty == false else {
            throw CommandFailure(
                "setting '\(setting.key)': the file '\(SettingError.printable(path, scalarsMax: 1_024))' cannot be "
                    + "read, or is empty; allowed: \(setting.allowed)", status: ExitStatus.configuration)
        }
    }
    return TransferTLS(authorities: settings.authorities, certificate: settings.certificate, key: settings.key)
}

private struct CurlClient: HTTPClient {
    let engine: CurlEngine
    let tls: TransferTLS

    func perform(_ request: ClientRequest) async throws(NoAnswer) -> ClientAnswer {
        var http = HTTPRequest(
            method: request.method, url: request.url,
            headers: request.contentType.map { [("Content-Type", $0)] } ?? [], body: request.body,
            timeoutMilliseconds: request.timeoutMilliseconds)
        http.tls = tls
        switch await engine.outcome(http) {
        case .success(let response):
            return ClientAnswer(status: response.status, headers: response.headers, body: response.body)
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
