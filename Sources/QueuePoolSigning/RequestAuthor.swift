// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto

/// Signs requests, keeping the keys derived for a day, region and service.
package final class RequestAuthor: Sendable {
    /// Far more than a pool's regions and accounts need in a day.
    private let keys = SigningKeys(limit: 64)

    package init() {}

    /// The value of `Authorization` that covers every field of the request, which has `host` and `x-amz-date` already.
    ///
    /// - Parameters:
    ///   - payload: the hash of the body in hex, or the word that stands for it.
    ///   - seconds: the time of `x-amz-date`.
    package func authorization(
        _ request: SignedRequest, payload: String, seconds: Int64, _ scope: SigningScope
    ) -> String {
        let names = CanonicalRequest.names(of: request)
        var canonical: [UInt8] = []
        canonical.reserveCapacity(1_024)
        CanonicalRequest.add(
            request, names: names, payload: payload.utf8, isPathPlain: scope.service == "s3", to: &canonical)
        let text = scope.text
        let code = StringToSign.code(canonical, seconds: seconds, scope: Array(text.utf8), key(scope))
        var signature: [UInt8] = []
        signature.reserveCapacity(64)
        SigningText.addHex(code, to: &signature)
        return "AWS4-HMAC-SHA256 Credential=\(scope.accessKeyID)/\(text), "
            + "SignedHeaders=\(String(decoding: names, as: UTF8.self)), "
            + "Signature=\(String(decoding: signature, as: UTF8.self))"
    }

    /// The SHA-256 of a body in hex.
    package static func hash(_ body: [UInt8]) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(64)
        SigningText.addHex(SHA256.hash(data: body), to: &out)
        return String(decoding: out, as: UTF8.self)
    }

    private func key(_ scope: SigningScope) -> HMAC<SHA256> {
        if let key = keys.kept(scope) { return key }
        let key = scope.derived()
        keys.keep(key, scope)
        return key
    }
}

/// The text that is signed.
enum StringToSign {
    /// The code of a canonical request.
    static func code(
        _ canonical: [UInt8], seconds: Int64, scope: [UInt8], _ key: HMAC<SHA256>
    ) -> HashedAuthenticationCode<SHA256> {
        var text: [UInt8] = []
        text.reserveCapacity(160)
        text.append(contentsOf: "AWS4-HMAC-SHA256\n".utf8)
        text.append(contentsOf: WallTime.basic(seconds).utf8)
        text.append(UInt8(ascii: "\n"))
        text.append(contentsOf: scope)
        text.append(UInt8(ascii: "\n"))
        SigningText.addHex(SHA256.hash(data: canonical), to: &text)
        var hmac = key
        hmac.update(data: text)
        return hmac.finalize()
    }
}
