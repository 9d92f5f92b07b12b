// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolSigning

@Suite struct `Verifying signatures` {
    @Test func `takes what boto3, the AWS CLI and curl send`() {
        #expect(Recording.all.requests.count >= 14)
        let verifier = SignatureVerifier()
        // Twice, so that the second round verifies with kept keys.
        for request in Recording.all.requests + Recording.all.requests {
            #expect(fault(request, verifier) == nil, "\(request.name)")
        }
    }

    /// One change to a request, and what it is refused with.
    struct Change: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let code: String
        let make: @Sendable (inout Recording.Request) -> Void

        init(
            _ name: String, _ code: String = "SignatureDoesNotMatch",
            _ make: @escaping @Sendable (inout Recording.Request) -> Void
        ) {
            testDescription = name
            self.code = code
            self.make = make
        }
    }

    static let changes = [
        Change("method") { $0.method = $0.method == "PUT" ? "GET" : "PUT" },
        Change("path") { $0.target = "/x" + $0.target },
        Change("query") { $0.target += $0.target.contains("?") ? "&a=" : "?a=" },
        Change("host") { $0.edit("host") { $0 + "0" } },
        Change("body") { $0.body += " " },
        Change("no body") { $0.body = $0.body.isEmpty ? "x" : "" },
        Change("unsigned header") { $0.headers.append(["X-Amz-Meta", "x"]) },
        Change("region") { $0.editSignature { $0.replacing("eu-central-1", with: "eu-central-2") } },
        Change("service") { $0.editSignature { $0.replacing("sqs", with: "sns") } },
        Change("terminator") { $0.editSignature { $0.replacing("aws4_request", with: "aws5_request") } },
        Change("day") {
            $0.editSignature { $0.replacing("QR/2026", with: "QR/2025").replacing("QR%2F2026", with: "QR%2F2025") }
        },
        Change("no host", "SignatureDoesNotMatch") {
            $0.editSignature {
                $0.replacing("host;", with: "hosu;").replacing("host&", with: "hosu&").replacing(
                    "host%3B", with: "hosu%3B")
            }
        },
        Change("short signature") { $0.editSignature { String($0.dropLast()) } },
        Change("long signature") { $0.editSignature { $0 + "0" } },
        Change("upper-case signature") {
            $0.editSignature { text in
                guard let mark = text.firstRange(of: "Signature=") else { return text }
                return text[..<mark.upperBound] + text[mark.upperBound...].uppercased()
            }
        },
        Change("other signature") { $0.editSignature { String($0.dropLast()) + ($0.last == "0" ? "1" : "0") } },
        Change("no signature", "IncompleteSignature") {
            $0.editSignature { $0.replacing("Signature=", with: "Signatura=") }
        },
        Change("no credential", "IncompleteSignature") {
            $0.editSignature { $0.replacing("Credential=", with: "Kredential=") }
        },
        Change("broken scope", "IncompleteSignature") {
            $0.editSignature { $0.replacing("/sqs", with: "").replacing("%2Fsqs", with: "") }
        },
        Change("other algorithm", "IncompleteSignature") {
            $0.editSignature { $0.replacing("HMAC-SHA256", with: "HMAC-SHA512") }
        },
        Change("no date", "IncompleteSignature") {
            $0.headers.removeAll { $0[0].lowercased() == "x-amz-date" }
            $0.target = $0.target.replacing("X-Amz-Date", with: "X-Amz-Tate")
        },
        Change("two authorizations", "IncompleteSignature") {
            $0.headers += [["authorization", "Bearer x"], ["Authorization", "Bearer y"]]
        },
        Change("two ways", "IncompleteSignature") {
            $0.headers.append(["Authorization", "AWS4-HMAC-SHA256 x"])
            if !$0.target.contains("X-Amz-Algorithm") { $0.target += "?X-Amz-Algorithm=AWS4-HMAC-SHA256" }
        },
    ]

    @Test(arguments: changes) func `refuses a request that was changed`(change: Change) {
        for original in Recording.all.requests {
            var request = original
            change.make(&request)
            #expect(fault(request)?.code == change.code, "\(original.name)")
        }
    }

    @Test func `refuses a change of each signed header`() throws {
        let original = try Recording.named("boto3 list_queues with a session token")
        for name in ["content-type", "x-amz-target", "x-amzn-query-mode", "x-amz-security-token"] {
            var request = original
            request.edit(name) { $0 + "x" }
            #expect(fault(request)?.code == "SignatureDoesNotMatch", "\(name)")
            request.headers.removeAll { $0[0].lowercased() == name }
            #expect(fault(request)?.code == "SignatureDoesNotMatch", "\(name)")
        }
        var later = original
        later.edit("x-amz-date") { $0.dropLast(2) + ($0.hasSuffix("0Z") ? "1Z" : "0Z") }
        #expect(later.headers.flatMap { $0 } != original.headers.flatMap { $0 })
        #expect(fault(later)?.code == "SignatureDoesNotMatch")
    }

    @Test func `takes each live secret and no other`() {
        for request in Recording.all.requests {
            #expect(fault(request, secrets: []) == .invalidClientTokenId)
            #expect(fault(request, secrets: ["other"])?.code == "SignatureDoesNotMatch")
            #expect(fault(request, secrets: ["other", Recording.all.secret]) == nil)
        }
    }

    @Test func `takes a request within five minutes, and a presigned one until it expires`() {
        for request in Recording.all.requests {
            let end = request.expires.map { $0 * 1_000 } ?? 300_000
            #expect(fault(request, ago: -300_000) == nil)
            #expect(fault(request, ago: -300_001)?.code == "RequestExpired")
            #expect(fault(request, ago: end) == nil)
            #expect(fault(request, ago: end + 1)?.code == "RequestExpired")
        }
    }

    @Test(arguments: ["0", "604801", "1000000", "-1", "", "1e3"])
    func `takes no presigned request for longer than a week`(seconds: String) throws {
        var request = try Recording.named("botocore presigned GET")
        request.target = request.target.replacing("X-Amz-Expires=604800", with: "X-Amz-Expires=\(seconds)")
        #expect(fault(request)?.code == "IncompleteSignature")
    }

    @Test func `takes the regions it was given`() {
        for request in Recording.all.requests {
            #expect(fault(request, SignatureVerifier(regions: ["eu-central-1", "x"])) == nil)
            #expect(fault(request, SignatureVerifier(regions: ["x"]))?.code == "SignatureDoesNotMatch")
        }
    }

    @Test func `what has no signature of this kind is nobody's`() throws {
        let verifier = SignatureVerifier()
        var request = SignedRequest(method: "GET", target: "/?a=b&X-Amz-Date=1")
        #expect(try verifier.claim(in: request) == nil)
        request.add(name: "Authorization", value: "Bearer qp_x")
        #expect(try verifier.claim(in: request) == nil)
        // And nothing of the request before is left in a request that is filled again.
        request.begin(method: "GET", target: "/")
        #expect(try verifier.claim(in: request) == nil)
    }
}
