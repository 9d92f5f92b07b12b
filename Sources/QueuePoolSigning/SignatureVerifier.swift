// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import QueuePoolCore

// Verifies as AWS does: the signature is made again from the request as it came in, with the secrets of whom the request
// names. No clock, no I/O. The key of a scope is kept only after a signature with it was right, so that nobody without a
// secret can fill the memory or push the keys of others out.

/// The body that came with a request.
package enum SignedPayload {
    case bytes(UnsafeRawBufferPointer)
    /// Its SHA-256, of a body that was not kept.
    case hash([UInt8])
    /// Not here yet: the request must have said its hash, and the caller compares it at the end (see `check`).
    case later
}

/// Verifies signatures of Signature Version 4.
package final class SignatureVerifier: Sendable {
    /// Milliseconds by which a request's time may be off, either way.
    package static let skewMilliseconds: Int64 = 300_000

    private let service: String
    private let regions: Set<String>?
    private let keys: SigningKeys

    /// - Parameters:
    ///   - regions: those that a scope may name; `nil`: any.
    ///   - keysMax: derived keys that are kept.
    package init(service: String = "sqs", regions: Set<String>? = nil, keysMax: Int = 4_096) {
        self.service = service
        self.regions = regions
        keys = SigningKeys(limit: keysMax)
    }

    /// How many derived keys are kept, for tests.
    var keptKeys: Int { keys.count }

    /// What a request says of its signature.
    /// - Returns: `nil` if it has none of this kind.
    package func claim(in request: SignedRequest) throws(SignatureFault) -> SignatureClaim? {
        try SignatureClaim.read(request)
    }

    /// Throws unless the request is as who holds one of the secrets signed it.
    ///
    /// - Parameters:
    ///   - claim: of this request.
    ///   - secrets: those of the claim's access key id that are accepted, the newest first; none: it is not known.
    ///   - allowsUnsignedPayload: whether a body may be unsigned in a request that is not presigned: over TLS it may.
    ///   - now: when the request's head came.
    package func verify(
        _ claim: SignatureClaim, _ request: SignedRequest, _ payload: SignedPayload, secrets: [String],
        allowsUnsignedPayload: Bool = false, now: Timestamp
    ) throws(SignatureFault) {
        try checkScope(claim)
        guard !secrets.isEmpty else { throw .invalidClientTokenId }
        try SignatureVerifier.checkTime(claim, now)
        guard let signature = claim.signature else { throw .mismatch }

        var canonical: [UInt8] = []
        canonical.reserveCapacity(request.bytes.count + 256)
        let hash = try SignatureVerifier.hash(claim, payload, allowsUnsignedPayload)
        let coverage = CanonicalRequest.add(request, names: claim.signedHeaders, payload: hash, to: &canonical)
        guard coverage.missing == 0 else {
            throw .signatureDoesNotMatch("SignedHeaders names a header that the request does not have.")
        }
        guard coverage.amazonFields == request.amazonFields else {
            throw .signatureDoesNotMatch("SignedHeaders does not name each header that begins with x-amz-.")
        }
        for secret in secrets where isRight(signature, claim, canonical, secret) { return }
        throw .mismatch
    }

    /// For a body that came `later`.
    /// - Parameter bodyHash: its SHA-256.
    package static func check(bodyHash: [UInt8], _ claim: SignatureClaim) throws(SignatureFault) {
        guard case .literal(let hash) = claim.payload, hash != bodyHash else { return }
        throw .signatureDoesNotMatch("X-Amz-Content-Sha256 is not the hash of the body.")
    }

    // MARK: - Steps

    private func checkScope(_ claim: SignatureClaim) throws(SignatureFault) {
        guard claim.service == service else {
            throw .signatureDoesNotMatch("Credential is not scoped to the service.")
        }
        guard regions?.contains(claim.region) ?? !claim.region.isEmpty else {
            throw .signatureDoesNotMatch("Credential is not scoped to a region of this server.")
        }
        guard claim.time.milliseconds / 86_400_000 == claim.day else {
            throw .signatureDoesNotMatch("Credential is not scoped to the day of X-Amz-Date.")
        }
    }

    private static func checkTime(_ claim: SignatureClaim, _ now: Timestamp) throws(SignatureFault) {
        let age = now - claim.time
        guard age >= -skewMilliseconds else { throw .requestExpired("X-Amz-Date is in the future.") }
        if let seconds = claim.expirySeconds {
            guard age <= seconds * 1_000 else { throw .requestExpired("X-Amz-Expires is over.") }
        } else {
            guard age <= skewMilliseconds else { throw .requestExpired("X-Amz-Date is more than 5 minutes ago.") }
        }
    }

    /// What stands for the body in the canonical request.
    private static func hash(
        _ claim: SignatureClaim, _ payload: SignedPayload, _ allowsUnsigned: Bool
    ) throws(SignatureFault) -> [UInt8] {
        switch claim.payload {
        case .streaming:
            throw .incompleteSignature("X-Amz-Content-Sha256 asks for signed chunks, which are not taken.")
        case .unsigned:
            guard claim.isPresigned || allowsUnsigned else {
                throw .signatureDoesNotMatch("X-Amz-Content-Sha256 may be UNSIGNED-PAYLOAD over TLS only.")
            }
            return Array("UNSIGNED-PAYLOAD".utf8)
        case .unsaid, .literal: break
        }
        var out: [UInt8] = []
        out.reserveCapacity(64)
        switch payload {
        case .bytes(let bytes):
            var hasher = SHA256()
            hasher.update(bufferPointer: bytes)
            let digest = hasher.finalize()
            if case .literal(let said) = claim.payload, !digest.elementsEqual(said) {
                throw .signatureDoesNotMatch("X-Amz-Content-Sha256 is not the hash of the body.")
            }
            SigningText.addHex(digest, to: &out)
        case .hash(let hash):
            try check(bodyHash: hash, claim)
            SigningText.addHex(hash, to: &out)
        case .later:
            guard case .literal(let said) = claim.payload else {
                throw .incompleteSignature("A body that is not read at once needs X-Amz-Content-Sha256.")
            }
            SigningText.addHex(said, to: &out)
        }
        return out
    }

    private func isRight(_ signature: [UInt8], _ claim: SignatureClaim, _ canonical: [UInt8], _ secret: String) -> Bool
    {
        let scope = SigningScope(
            day: claim.day, region: claim.region, service: claim.service, accessKeyID: claim.accessKeyID,
            secret: secret)
        let kept = keys.kept(scope)
        let key = kept ?? scope.derived()
        let code = StringToSign.code(
            canonical, seconds: claim.time.milliseconds / 1_000, scope: claim.scope, key)
        // Swift Crypto compares codes in constant time.
        guard code == signature else { return false }
        if kept == nil { keys.keep(key, scope) }
        return true
    }
}
