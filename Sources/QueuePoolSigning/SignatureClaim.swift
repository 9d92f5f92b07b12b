// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// What a request says of its signature: whose it is, of when, for what. Nothing of it is proven yet.
package struct SignatureClaim: Hashable, Sendable {
    /// What the request says of its body.
    package enum Payload: Hashable, Sendable {
        /// Nothing: the signature covers the SHA-256 of the body.
        case unsaid
        /// The SHA-256 of the body.
        case literal([UInt8])
        /// `UNSIGNED-PAYLOAD`
        case unsigned
        /// One of the forms whose chunks are signed one by one; not taken.
        case streaming
    }

    package let accessKeyID: String
    /// Days since 1970, of the scope.
    package let day: Int64
    package let region: String
    package let service: String
    /// In lower case, sorted, with `;` between.
    package let signedHeaders: [UInt8]
    /// To the second.
    package let time: Timestamp
    /// Seconds for which a presigned request is good; `nil` for any other.
    package let expirySeconds: Int64?
    package let payload: Payload
    /// As it is signed: the credential without the access key id.
    let scope: [UInt8]
    /// `nil` if it is not 64 lower-case hex digits; then it is nobody's.
    let signature: [UInt8]?

    /// Whether the signature is in the query, made for somebody else to send.
    package var isPresigned: Bool { expirySeconds != nil }

    init(
        _ parts: SignatureParts, time: Timestamp, expirySeconds: Int64?, payload: Payload
    ) throws(SignatureFault) {
        let part = parts.credential.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard part.count == 5, !part[0].isEmpty, let day = WallTime.parseBasicDay(part[1]) else {
            throw .incompleteSignature("Credential is not KEY/YYYYMMDD/REGION/SERVICE/aws4_request.")
        }
        guard part[4].elementsEqual("aws4_request".utf8) else {
            throw .signatureDoesNotMatch("Credential does not end in aws4_request.")
        }
        accessKeyID = String(decoding: part[0], as: UTF8.self)
        self.day = day
        region = String(decoding: part[2], as: UTF8.self)
        service = String(decoding: part[3], as: UTF8.self)
        scope = Array(parts.credential[part[1].startIndex...])
        signedHeaders = try SignatureClaim.checked(names: parts.signedHeaders)
        signature = SigningText.hash(parts.signature, 0..<parts.signature.count)
        self.time = time
        self.expirySeconds = expirySeconds
        self.payload = payload
    }

    /// More than any client signs, and few enough to look each up.
    private static let namesMax = 64

    /// The names, if they are in lower case, sorted, each once, and `host` is among them.
    private static func checked(names: [UInt8]) throws(SignatureFault) -> [UInt8] {
        let fault = SignatureFault.incompleteSignature("SignedHeaders is not a sorted list of names in lower case.")
        var last: ArraySlice<UInt8> = []
        var (count, hasHost) = (0, false)
        for name in names.split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false) {
            guard last.lexicographicallyPrecedes(name), !name.contains(where: { $0 &- UInt8(ascii: "A") < 26 }) else {
                throw fault
            }
            if name.elementsEqual("host".utf8) { hasHost = true }
            last = name
            count += 1
        }
        guard count <= namesMax else { throw .incompleteSignature("SignedHeaders has too many names.") }
        guard hasHost else { throw .signatureDoesNotMatch("SignedHeaders does not name host.") }
        return names
    }
}

// Whoever logs a claim does not log the signature, with which a presigned request can be sent.
extension SignatureClaim: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "claim of \(accessKeyID)" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: ["accessKeyID": accessKeyID]) }
}

/// The three parts that a signature has wherever it stands.
struct SignatureParts {
    let credential: [UInt8]
    let signedHeaders: [UInt8]
    let signature: [UInt8]
}
