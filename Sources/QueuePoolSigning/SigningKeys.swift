// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Synchronization

// A signing key is four HMACs deep, and a day old at most. What is kept is the HMAC that has taken the key in, which
// spares each signature two blocks of SHA-256 more.

/// What a signing key is derived from.
package struct SigningScope: Hashable, Sendable {
    /// Days since 1970.
    package let day: Int64
    package let region: String
    package let service: String
    package let accessKeyID: String
    fileprivate let secret: String

    package init(day: Int64, region: String, service: String, accessKeyID: String, secret: String) {
        self.day = day
        self.region = region
        self.service = service
        self.accessKeyID = accessKeyID
        self.secret = secret
    }

    /// `20150830/us-east-1/sqs/aws4_request`
    var text: String { "\(WallTime.basic(day * 86_400).prefix(8))/\(region)/\(service)/aws4_request" }

    /// Derives the key.
    func derived() -> HMAC<SHA256> {
        var key = SymmetricKey(data: Array("AWS4\(secret)".utf8))
        for part in [String(WallTime.basic(day * 86_400).prefix(8)), region, service, "aws4_request"] {
            key = SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Array(part.utf8), using: key))
        }
        return HMAC(key: key)
    }
}

// Never a secret, whoever prints it.
extension SigningScope: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { "SigningScope" }
    package var debugDescription: String { description }
    package var customMirror: Mirror { Mirror(self, children: [:]) }
}

/// Derived keys, the last ones used.
final class SigningKeys: Sendable {
    /// Two generations: a key that is used moves to the young one, and the old one is dropped when that is full.
    private struct Generations {
        var young: [SigningScope: HMAC<SHA256>] = [:]
        var old: [SigningScope: HMAC<SHA256>] = [:]
    }

    private let limit: Int
    private let kept = Mutex(Generations())

    /// - Parameter limit: keys that are kept at most.
    init(limit: Int) { self.limit = max(2, limit) }

    /// The kept key of a scope.
    func kept(_ scope: SigningScope) -> HMAC<SHA256>? {
        let found = kept.withLock { kept -> (key: HMAC<SHA256>, isOld: Bool)? in
            if let key = kept.young[scope] { return (key, false) }
            return kept.old[scope].map { ($0, true) }
        }
        guard let found else { return nil }
        if found.isOld { keep(found.key, scope) }
        return found.key
    }

    /// Keeps a key.
    func keep(_ key: HMAC<SHA256>, _ scope: SigningScope) {
        kept.withLock { kept in
            if kept.young.count >= limit / 2 {
                kept.old = kept.young
                kept.young = [:]
            }
            kept.young[scope] = key
        }
    }

    /// How many are kept, for tests.
    var count: Int { kept.withLock { $0.young.count + $0.old.count } }
}
