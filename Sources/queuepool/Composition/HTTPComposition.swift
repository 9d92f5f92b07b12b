// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCurl

/// The HTTP client of the commands.
func makeHTTPClient() throws -> any HTTPClient { CurlClient(engine: CurlEngine()) }

private struct CurlClient: HTTPClient {
    let engine: CurlEngine

    func perform(_ request: ClientRequest) async throws(NoAnswer) -> ClientAnswer {
        do throws(CurlError) {
            let response = try await engine.perform(
                HTTPRequest(
                    method: request.method, url: request.url,
                    headers: request.contentType.map { [("Content-Type", $0)] } ?? [], body: request.body,
                    timeoutMilliseconds: request.timeoutMilliseconds))
            return ClientAnswer(status: response.status, headers: response.headers, body: response.body)
        } catch { throw NoAnswer(description: Self.text(error)) }
    }

    private static func text(_ error: CurlError) -> String {
        switch error {
        case .unreachable: "nobody answers there"
        case .timeout: "no answer in time"
        default: "\(error)"
        }
    }
}
