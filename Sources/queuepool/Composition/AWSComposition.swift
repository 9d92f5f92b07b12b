// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolAWS
import QueuePoolCurl
import QueuePoolSettings

/// How this process reaches AWS: one engine, region and endpoints.
struct AWSAccess: Sendable {
    let caller: any AWSCaller
    let region: String
    private let endpointSetting: String?
    private let environment: [String: String]

    /// - Throws: `CommandFailure` if nobody named a region.
    init(_ settings: ControlSettings, environment: [String: String] = ProcessInfo.processInfo.environment) throws {
        func text(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        guard let region = settings.awsRegion ?? text("AWS_REGION") ?? text("AWS_DEFAULT_REGION") else {
            throw CommandFailure(
                "no region of AWS is named; give --region or set AWS_REGION", status: ExitStatus.configuration)
        }
        self.region = region
        endpointSetting = settings.awsEndpoint
        self.environment = environment
        caller = UnsignedCaller(engine: CurlEngine())
    }

    /// Base URL of a service, without a slash at its end.
    func endpoint(_ service: String) -> String {
        let named = ["AWS_ENDPOINT_URL_" + service.uppercased(), "AWS_ENDPOINT_URL"].lazy.compactMap {
            environment[$0].flatMap { $0.isEmpty ? nil : $0 }
        }
        guard let url = endpointSetting ?? named.first else { return "https://\(service).\(region).amazonaws.com" }
        return url.hasSuffix("/") ? String(url.dropLast()) : url
    }

    /// The endpoint that a pool's shards remember: one that was named, `nil` for the region's own.
    var rememberedEndpoint: String? {
        let url = endpoint("sqs")
        return url.hasSuffix(".amazonaws.com") ? nil : url
    }
}

/// Requests without a signature that counts, for services on this machine that ask for none; others are refused here.
struct UnsignedCaller: AWSCaller {
    private let engine: CurlEngine

    init(engine: CurlEngine) { self.engine = engine }

    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse {
        let isLoopback = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"].contains { request.url.hasPrefix($0) }
        guard isLoopback else { throw .credentials(reason: "requests off loopback must be signed") }
        let scope = "any/20260101/\(request.region)/\(request.service)/aws4_request"
        let headers =
            request.headers + [
                ("Authorization", "AWS4-HMAC-SHA256 Credential=\(scope), SignedHeaders=host, Signature=0")
            ]
        do throws(CurlError) {
            return try await engine.perform(
                HTTPRequest(
                    method: request.method, url: request.url, headers: headers, body: request.body,
                    timeoutMilliseconds: request.timeoutMilliseconds))
        } catch {
            switch error {
            case .unreachable: throw .retryable(code: "Unreachable")
            case .invalid: throw .permanent(code: "InvalidRequest", status: 0)
            case .cancelled, .closed: throw .cancelled
            default: throw .unknownOutcome(code: "\(error)")
            }
        }
    }

    func perform(_ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
        Task {
            do throws(AWSError) { completion(.success(try await perform(request))) } catch { completion(.failure(error)) }
        }
    }
}
