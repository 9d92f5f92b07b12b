// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// A signature is in `Authorization`, or, of a presigned request, in the query. A request with both is refused: whoever
// checks the one must not be followed by somebody who believes the other.

extension SignatureClaim {
    /// Reads a request.
    /// - Returns: `nil` if it is not signed in this way.
    static func read(_ request: SignedRequest) throws(SignatureFault) -> SignatureClaim? {
        let authorization = try request.only("authorization")
        let query = try QueryClaim(request)
        if let authorization, SigningText.has(request.bytes, authorization, prefix: "AWS") {
            guard query == nil else { throw .incompleteSignature("The request is signed in two ways.") }
            return try read(authorization: authorization, request)
        }
        guard let query else { return nil }
        guard authorization == nil else { throw .incompleteSignature("The request is authorized in two ways.") }
        if let payload = try query.payload { return try query.claim(payload: payload) }
        return try query.claim(payload: payload(of: request))
    }

    private static func read(
        authorization: Range<Int>, _ request: SignedRequest
    ) throws(SignatureFault) -> SignatureClaim {
        let bytes = request.bytes
        let algorithm: StaticString = "AWS4-HMAC-SHA256 "
        guard SigningText.has(bytes, authorization, prefix: algorithm) else {
            throw .incompleteSignature("Authorization is not of AWS4-HMAC-SHA256.")
        }
        var credential: Range<Int>?
        var names: Range<Int>?
        var signature: Range<Int>?
        var place = authorization.lowerBound + algorithm.utf8CodeUnitCount
        while place < authorization.upperBound {
            var end = place
            while end < authorization.upperBound, bytes[end] != UInt8(ascii: ",") { end += 1 }
            var part = place..<end
            place = end + 1
            while let first = part.first, SigningText.isBlank(bytes[first]) { part = (first + 1)..<part.upperBound }
            while let last = part.last, SigningText.isBlank(bytes[last]) { part = part.lowerBound..<last }
            if SigningText.has(bytes, part, prefix: "Credential="), credential == nil {
                credential = (part.lowerBound + 11)..<part.upperBound
            } else if SigningText.has(bytes, part, prefix: "SignedHeaders="), names == nil {
                names = (part.lowerBound + 14)..<part.upperBound
            } else if SigningText.has(bytes, part, prefix: "Signature="), signature == nil {
                signature = (part.lowerBound + 10)..<part.upperBound
            } else {
                throw .incompleteSignature("Authorization has a part that is unknown, or one twice.")
            }
        }
        guard let credential else { throw .incompleteSignature("Authorization has no Credential.") }
        guard let names else { throw .incompleteSignature("Authorization has no SignedHeaders.") }
        guard let signature else { throw .incompleteSignature("Authorization has no Signature.") }
        return try SignatureClaim(
            SignatureParts(
                credential: Array(bytes[credential]), signedHeaders: Array(bytes[names]),
                signature: Array(bytes[signature])),
            time: time(of: request), expirySeconds: nil, payload: payload(of: request))
    }

    private static func time(of request: SignedRequest) throws(SignatureFault) -> Timestamp {
        guard let range = try request.only("x-amz-date") else {
            throw .incompleteSignature("The request has no X-Amz-Date.")
        }
        return try time(request.bytes[range])
    }

    fileprivate static func time(_ text: ArraySlice<UInt8>) throws(SignatureFault) -> Timestamp {
        guard let seconds = WallTime.parseBasic(text) else {
            throw .incompleteSignature("X-Amz-Date is not YYYYMMDDTHHMMSSZ.")
        }
        return Timestamp(milliseconds: seconds * 1_000)
    }

    private static func payload(of request: SignedRequest) throws(SignatureFault) -> Payload {
        guard let range = try request.only("x-amz-content-sha256") else { return .unsaid }
        return try payload(request.bytes, range)
    }

    fileprivate static func payload(_ bytes: [UInt8], _ range: Range<Int>) throws(SignatureFault) -> Payload {
        if let hash = SigningText.hash(bytes, range) { return .literal(hash) }
        if SigningText.equal(bytes, range, "UNSIGNED-PAYLOAD") { return .unsigned }
        if SigningText.has(bytes, range, prefix: "STREAMING-") { return .streaming }
        throw .incompleteSignature("X-Amz-Content-Sha256 is not 64 lower-case hex digits.")
    }
}

/// The parameters of a presigned request.
private struct QueryClaim {
    private var values: [[UInt8]?] = Array(repeating: nil, count: QueryClaim.names.count)

    private static let names: [StaticString] = [
        "X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders",
        "X-Amz-Signature", "X-Amz-Content-Sha256",
    ]

    /// `nil` if the query has none of those without which there is no signature.
    init?(_ request: SignedRequest) throws(SignatureFault) {
        guard !request.query.isEmpty else { return nil }
        for pair in QueryPairs(request) where SigningText.has(request.bytes, pair.name, prefix: "X-Amz-") {
            let name = QueryClaim.names.firstIndex { SigningText.equal(request.bytes, pair.name, $0) }
            guard let name else { continue }
            guard values[name] == nil, let value = SigningText.decoded(request.bytes, pair.value) else {
                throw .incompleteSignature("A parameter of the signature is there twice, or badly encoded.")
            }
            values[name] = value
        }
        if values[0] == nil, values[1] == nil, values[5] == nil { return nil }
    }

    var payload: SignatureClaim.Payload? {
        get throws(SignatureFault) {
            guard let value = values[6] else { return nil }
            return try SignatureClaim.payload(value, 0..<value.count)
        }
    }

    func claim(payload: SignatureClaim.Payload) throws(SignatureFault) -> SignatureClaim {
        guard let algorithm = values[0], algorithm.elementsEqual("AWS4-HMAC-SHA256".utf8) else {
            throw .incompleteSignature("X-Amz-Algorithm is not AWS4-HMAC-SHA256.")
        }
        guard let credential = values[1] else { throw .incompleteSignature("The query has no X-Amz-Credential.") }
        guard let date = values[2] else { throw .incompleteSignature("The query has no X-Amz-Date.") }
        guard let expires = values[3], (1...6).contains(expires.count),
            expires.allSatisfy({ (48...57).contains($0) })
        else { throw .incompleteSignature("X-Amz-Expires is not a number of seconds, a week at most.") }
        let seconds = expires.reduce(Int64(0)) { $0 * 10 + Int64($1 - 48) }
        guard (1...604_800).contains(seconds) else {
            throw .incompleteSignature("X-Amz-Expires is not a number of seconds, a week at most.")
        }
        guard let names = values[4] else { throw .incompleteSignature("The query has no X-Amz-SignedHeaders.") }
        guard let signature = values[5] else { throw .incompleteSignature("The query has no X-Amz-Signature.") }
        return try SignatureClaim(
            SignatureParts(credential: credential, signedHeaders: names, signature: signature),
            time: SignatureClaim.time(date[...]), expirySeconds: seconds, payload: payload)
    }
}
