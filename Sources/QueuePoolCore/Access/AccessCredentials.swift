// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The texts by which a caller shows who it is. They are made of random bytes that are passed in, and shown once. The
// secret is kept because a signature can be recomputed only from it; of the token only a hash is.

/// The texts of a new secret, for whoever asked for it.
public struct AccessCredentials: Hashable, Sendable {
    /// Of `init(random:)`.
    public static let randomBytes = 30 + 32
    /// Of a token, its prefix among them.
    public static let tokenBytes = tokenPrefix.utf8.count + 43
    public static let tokenPrefix = "qp_"
    public static let secretBytes = 40

    /// The secret access key of SigV4: 40 characters of base64url.
    public let secret: String
    /// The bearer token: `qp_` and 32 random bytes in base64url.
    public let token: String

    /// - Parameter random: `randomBytes` bytes that nobody can guess.
    /// - Returns: `nil` if there are more or fewer.
    public init?(random: [UInt8]) {
        guard random.count == AccessCredentials.randomBytes else { return nil }
        secret = AccessCredentials.base64URL(random[..<30])
        token = AccessCredentials.tokenPrefix + AccessCredentials.base64URL(random[30...])
    }

    /// Whether a text looks like a token, so that nothing else is hashed and looked up.
    public static func isToken(_ text: some StringProtocol) -> Bool {
        text.utf8.count == tokenBytes && text.hasPrefix(tokenPrefix)
            && text.utf8.dropFirst(tokenPrefix.utf8.count).allSatisfy(PoolName.isAllowed)
    }

    /// RFC 4648, section 5, without padding.
    private static func base64URL(_ bytes: ArraySlice<UInt8>) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8)
        var out: [UInt8] = []
        var (bits, count) = (UInt32(0), 0)
        for byte in bytes {
            bits = bits << 8 | UInt32(byte)
            count += 8
            while count >= 6 {
                count -= 6
                out.append(digits[Int(bits >> UInt32(count) & 63)])
            }
        }
        if count > 0 { out.append(digits[Int(bits << UInt32(6 - count) & 63)]) }
        return String(decoding: out, as: UTF8.self)
    }
}

// Never a text of a secret, whoever prints it (see AccessKey.swift).
extension AccessCredentials: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "AccessCredentials" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: [:]) }
}
