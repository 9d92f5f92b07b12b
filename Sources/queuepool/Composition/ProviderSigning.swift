// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime
import QueuePoolWorker

/// Signs requests of targets that are services of AWS, with credentials from where those for queues come; `nil` if there
/// is no such target.
func providerSigner(for targets: [String]) -> RequestSigner? {
    let prefix = "ses:"
    guard let target = targets.first(where: { $0.lowercased().hasPrefix(prefix) }) else { return nil }
    // Of the token service, where nobody named another.
    let region = String(target.dropFirst(prefix.count).prefix { $0 != "?" })
    let environment = ProcessInfo.processInfo.environment
    let engine = CurlEngine()
    let clock = ServiceClock(SystemClock())
    let surroundings = AWSSurroundings(
        variable: { environment[$0] }, file: { try? String(contentsOfFile: $0, encoding: .utf8) },
        perform: { (request) async throws(CurlError) in try await engine.perform(request) }, clock: clock)
    let named = AWSEndpoints(surroundings).region == nil ? region : nil
    let chain = CredentialChain(surroundings, AWSEndpoints(surroundings, region: named))
    let provider = CredentialProvider(source: chain, clock: clock)
    let signature = SignatureV4()
    return { request, service, region in
        guard let credentials = try? await provider.credentials() else { return nil }
        let unsigned = AWSRequest(
            service: service, region: region, method: request.method, url: request.url, headers: request.headers,
            body: request.body)
        return RequestSignature(headers: signature.headers(for: unsigned, credentials, at: clock.now())) { response in
            // Both are mended for the next request; this one was refused.
            _ = clock.learn(from: response)
            if isExpiry(response) { provider.refuse(credentials) }
        }
    }
}

private func isExpiry(_ response: HTTPResponse) -> Bool {
    guard response.status == 400 || response.status == 401 || response.status == 403 else { return false }
    let code = response.header("x-amzn-errortype") ?? String(decoding: response.body.prefix(1_024), as: UTF8.self)
    return code.contains("ExpiredToken")
}
