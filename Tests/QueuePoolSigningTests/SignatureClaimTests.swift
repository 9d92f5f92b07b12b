// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import QueuePoolCore
import Testing

@testable import QueuePoolSigning

// What no client of the recording sends, and a server must know all the same.
@Suite struct `Claims of signatures` {
    @Test func `fields are folded and joined as they are signed`() {
        let signs = [["host", "localhost"], ["x-a", "  one \t two "], ["X-A", "three"], ["x-b", ""]]
        let request = written(signs: signs)
        #expect(fault(request) == nil)
        var folded = request
        folded.edit("x-a") { $0 == "three" ? $0 : "one two" }
        #expect(fault(folded) == nil)
        var joined = request
        joined.headers.removeAll { $0[0] == "X-A" }
        joined.edit("x-a") { _ in "one two,three" }
        #expect(fault(joined) == nil)
        joined.edit("x-a") { _ in "three,one two" }
        #expect(fault(joined)?.code == "SignatureDoesNotMatch")
    }

    @Test func `Authorization has spaces after its commas or none`() {
        var request = written()
        request.edit("authorization") { $0.replacing(", ", with: ",") }
        #expect(fault(request) == nil)
        request.edit("authorization") { $0.replacing(",", with: " ,  ") }
        #expect(fault(request) == nil)
    }

    @Test(arguments: [
        "x-amz-date;host", "Host;x-amz-date", "host;host;x-amz-date", "host;;x-amz-date", ";host", "",
        (0..<70).map { "h\($0 + 100)" }.joined(separator: ";") + ";host",
    ]) func `names of signed headers are a sorted list in lower case`(names: String) {
        var request = written()
        request.edit("authorization") { $0.replacing("=host;x-amz-date", with: "=\(names)") }
        #expect(fault(request)?.code == "IncompleteSignature")
    }

    @Test func `a signed header is there`() {
        var request = written(signs: [["host", "localhost"], ["x-a", ""]])
        #expect(fault(request) == nil)
        request.headers.removeAll { $0[0] == "x-a" }
        #expect(fault(request)?.message == "SignedHeaders names a header that the request does not have.")
    }

    @Test func `a day of the scope is the day of the time`() {
        let midnight: Int64 = 20_000 * 86_400
        #expect(fault(written(seconds: midnight)) == nil)
        #expect(fault(written(seconds: midnight, day: 19_999))?.code == "SignatureDoesNotMatch")
        #expect(fault(written(seconds: midnight - 1, day: 20_000))?.code == "SignatureDoesNotMatch")
        #expect(fault(written(region: ""))?.code == "SignatureDoesNotMatch")
        #expect(fault(written(service: "s3"))?.code == "SignatureDoesNotMatch")
    }

    @Test func `what a request says of its body is compared with the body`() {
        func said(_ body: String) -> String { RequestAuthor.hash(Array(body.utf8)) }
        let hash = said("body")
        func request(_ said: String, body: String = "body") -> Recording.Request {
            written(body: body, payload: said, signs: [["host", "localhost"], ["x-amz-content-sha256", said]])
        }
        #expect(fault(request(hash)) == nil)
        #expect(fault(request(hash, body: "other"))?.code == "SignatureDoesNotMatch")
        #expect(fault(request(hash.uppercased()))?.code == "IncompleteSignature")
        #expect(fault(request("UNSIGNED-PAYLOAD"))?.code == "SignatureDoesNotMatch")
        #expect(fault(request("UNSIGNED-PAYLOAD"), unsigned: true) == nil)
        #expect(fault(request("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), unsigned: true)?.code == "IncompleteSignature")
        // Said of another body than the one that was signed.
        let two = written(body: "body", signs: [["host", "localhost"], ["x-amz-content-sha256", said("other")]])
        #expect(fault(two)?.message == "X-Amz-Content-Sha256 is not the hash of the body.")
        // The word signed, but not said.
        #expect(fault(written(body: "body", payload: "UNSIGNED-PAYLOAD"), unsigned: true) != nil)
    }

    @Test func `a body that comes later is compared at its end`() throws {
        let verifier = SignatureVerifier()
        let hash = Array(SHA256.hash(data: Array("body".utf8)))
        let said = RequestAuthor.hash(Array("body".utf8))
        let request = written(payload: said, signs: [["host", "localhost"], ["x-amz-content-sha256", said]]).signed
        let claim = try #require(try verifier.claim(in: request))
        let secrets = [Recording.all.secret]
        try verifier.verify(claim, request, .later, secrets: secrets, now: claim.time)
        try verifier.verify(claim, request, .hash(hash), secrets: secrets, now: claim.time)
        try SignatureVerifier.check(bodyHash: hash, claim)
        #expect(throws: SignatureFault.self) { try SignatureVerifier.check(bodyHash: hash.reversed(), claim) }

        let silent = written(body: "body").signed
        let other = try #require(try verifier.claim(in: silent))
        try verifier.verify(other, silent, .hash(hash), secrets: secrets, now: other.time)
        #expect(throws: SignatureFault.self) {
            try verifier.verify(other, silent, .later, secrets: secrets, now: other.time)
        }
    }

    @Test func `nothing shows a signature or a secret`() throws {
        let request = written()
        let claim = try #require(try SignatureVerifier().claim(in: request.signed))
        let signature = try #require(claim.signature)
        var text = ""
        dump(claim, to: &text)
        #expect(!"\(text) \(claim) \(String(reflecting: claim))".contains("\(signature[0]), \(signature[1])"))
        let scope = SigningScope(day: 1, region: "r", service: "s", accessKeyID: "k", secret: "geheim")
        dump(scope, to: &text)
        #expect(!"\(text) \(scope) \(String(reflecting: scope))".contains("geheim"))
    }

    @Test func `only keys of right signatures are kept, and no more than the limit`() {
        let keys = SigningKeys(limit: 8)
        func scope(_ day: Int64) -> SigningScope {
            SigningScope(day: day, region: "r", service: "sqs", accessKeyID: "k", secret: "s")
        }
        for day in 0..<100 {
            keys.keep(scope(Int64(day)).derived(), scope(Int64(day)))
            #expect(keys.count <= 8)
            // One that is used stays.
            #expect(keys.kept(scope(0)) != nil)
        }
        #expect(keys.kept(scope(1)) == nil)

        let verifier = SignatureVerifier()
        #expect(fault(written(), secrets: ["other"], verifier) != nil)
        #expect(verifier.keptKeys == 0)
        #expect(fault(written(), secrets: ["other", Recording.all.secret], verifier) == nil)
        #expect(verifier.keptKeys == 1)
    }
}
