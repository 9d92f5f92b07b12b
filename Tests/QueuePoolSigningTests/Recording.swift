// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Testing

@testable import QueuePoolSigning

/// Requests as clients sent them; recorded and checked by Tests/Outside/test_signing.py.
struct Recording: Decodable, Sendable {
    struct Request: Decodable, Sendable, CustomTestStringConvertible {
        var name, method, target, body: String
        var headers: [[String]]
        let expires: Int64?
        var testDescription: String { name }

        var signed: SignedRequest {
            var request = SignedRequest(method: method, target: target)
            for header in headers { request.add(name: header[0], value: header[1]) }
            return request
        }

        /// Changes the value of a header.
        mutating func edit(_ name: String, _ change: (String) -> String) {
            for index in headers.indices where headers[index][0].lowercased() == name {
                headers[index][1] = change(headers[index][1])
            }
        }

        /// Changes what carries the signature.
        mutating func editSignature(_ change: (String) -> String) {
            if expires == nil { edit("authorization", change) } else { target = change(target) }
        }
    }

    let accessKeyID, secret: String
    let requests: [Request]

    static let all: Recording = {
        // A recording that cannot be read is an empty one, which the first test refuses.
        guard let url = Bundle.module.url(forResource: "vectors", withExtension: "json"),
            let data = try? Data(contentsOf: url), let read = try? JSONDecoder().decode(Recording.self, from: data)
        else { return Recording(accessKeyID: "", secret: "", requests: []) }
        return read
    }()

    static func named(_ name: String) throws -> Request { try #require(all.requests.first { $0.name == name }) }
}

/// The fault of a request, or `nil` if it is taken.
///
/// - Parameter ago: milliseconds since the time of the request.
func fault(
    _ request: Recording.Request, secrets: [String] = [Recording.all.secret], ago: Int64 = 0,
    unsigned: Bool = false, _ verifier: SignatureVerifier = SignatureVerifier()
) -> SignatureFault? {
    let signed = request.signed
    do throws(SignatureFault) {
        guard let claim = try verifier.claim(in: signed) else { return .missingAuthenticationToken }
        var thrown: SignatureFault?
        Array(request.body.utf8).withUnsafeBytes { body in
            do throws(SignatureFault) {
                try verifier.verify(
                    claim, signed, .bytes(body), secrets: secrets, allowsUnsignedPayload: unsigned,
                    now: claim.time + ago)
            } catch { thrown = error }
        }
        return thrown
    } catch { return error }
}

/// Signs a request of our own as a client would; `payload` stands for the body.
func written(
    method: String = "POST", target: String = "/", headers: [[String]] = [], body: String = "", payload: String? = nil,
    signs: [[String]] = [["host", "localhost"]], seconds: Int64 = 1_440_938_160, day: Int64? = nil,
    region: String = "eu-central-1", service: String = "sqs"
) -> Recording.Request {
    let covered = signs + [["x-amz-date", WallTime.basic(seconds)]]
    var request = SignedRequest(method: method, target: target)
    for header in covered { request.add(name: header[0], value: header[1]) }
    let scope = SigningScope(
        day: day ?? seconds / 86_400, region: region, service: service, accessKeyID: Recording.all.accessKeyID,
        secret: Recording.all.secret)
    let authorization = RequestAuthor().authorization(
        request, payload: payload ?? RequestAuthor.hash(Array(body.utf8)), seconds: seconds, scope)
    return Recording.Request(
        name: "written", method: method, target: target, body: body,
        headers: covered + headers + [["Authorization", authorization]], expires: nil)
}
