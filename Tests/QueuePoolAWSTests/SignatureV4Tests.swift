// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolCurl
import QueuePoolTestSupport
import Testing

@testable import QueuePoolAWS

/// What botocore signs, and where it finds services; written and checked by Tests/Outside/test_signing.py.
private struct Vectors: Decodable, Sendable {
    struct Case: Decodable, Sendable, CustomTestStringConvertible {
        let name, service, region, method, url, body, accessKeyID, secretAccessKey: String
        let headers: [[String]]
        let seconds: Int64
        let sessionToken, published: String?
        let added: [String: String]
        var testDescription: String { name }

        var request: AWSRequest {
            AWSRequest(
                service: service, region: region, method: method, url: url, headers: headers.map { ($0[0], $0[1]) },
                body: Array(body.utf8))
        }
        var credentials: AWSCredentials {
            AWSCredentials(accessKeyID: accessKeyID, secretAccessKey: secretAccessKey, sessionToken: sessionToken)
        }
    }

    struct Endpoint: Decodable, Sendable {
        let service, region, url: String
    }

    let cases: [Case]
    let endpoints: [Endpoint]

    static func read() throws -> Vectors {
        let url = try #require(Bundle.module.url(forResource: "vectors", withExtension: "json"))
        return try JSONDecoder().decode(Vectors.self, from: Data(contentsOf: url))
    }
}

@Suite struct `Signature version 4` {
    @Test func `is botocore's on every request of the vectors`() throws {
        let signer = SignatureV4()
        let cases = try Vectors.read().cases
        #expect(cases.count >= 64)
        // Twice, so that the second round signs with kept keys.
        for vector in cases + cases {
            let added = signer.headers(
                for: vector.request, vector.credentials, at: Timestamp(milliseconds: vector.seconds * 1_000 + 999))
            let ours = Dictionary(uniqueKeysWithValues: added.map { ($0.name.lowercased(), $0.value) })
            #expect(ours == vector.added, "\(vector.name)")
        }
    }

    @Test func `is the published one on the cases of AWS's suite`() throws {
        for vector in try Vectors.read().cases {
            guard let published = vector.published else { continue }
            let added = SignatureV4().headers(
                for: vector.request, vector.credentials, at: Timestamp(milliseconds: vector.seconds * 1_000))
            let authorization = try #require(added.last)
            #expect(authorization.value.hasSuffix("Signature=\(published)"), "\(vector.name)")
        }
    }

    @Test func `takes no day's key for another's`() {
        let signer = SignatureV4()
        let request = AWSRequest(service: "sqs", region: "eu-central-1", url: "https://example.com/")
        let credentials = AWSCredentials(accessKeyID: "A", secretAccessKey: "B")
        for day in [0, 1, 20_000] as [Int64] {
            let time = Timestamp(milliseconds: day * 86_400_000)
            let kept = signer.headers(for: request, credentials, at: time).last?.value
            #expect(kept == SignatureV4().headers(for: request, credentials, at: time).last?.value)
        }
    }

    @Test func `services are where botocore finds them`() throws {
        let nothing = AWSSurroundings(
            variable: { _ in nil }, file: { _ in nil }, perform: { _ throws(CurlError) in throw CurlError.unreachable },
            clock: ServiceClock(ManualClock(Timestamp(milliseconds: 0))))
        for endpoint in try Vectors.read().endpoints {
            let url = try AWSEndpoints(nothing).url(service: endpoint.service, region: endpoint.region)
            #expect(url == endpoint.url)
        }
    }
}
