// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Who may come in. A key has a name for people and an id for requests, and at most two secrets that are accepted: after
// a rotation the one before lives on for a grace, so that callers can change over one by one. What is done to a key is
// decided here, and written by the store if nobody else wrote it meanwhile.
//
// Nothing here shows a secret or a hash in its description, its mirror or a dump: keys are logged by mistake.

/// One secret of a key, in its two forms.
public struct AccessSecret: Hashable, Sendable {
    /// Counts from 1 for each key.
    public let version: Int
    /// The secret access key of SigV4, which is needed to recompute a signature.
    public let secret: String
    /// The SHA-256 of the bearer token.
    public let tokenHash: [UInt8]
    public let createdAt: Timestamp
    /// From here on it is refused; `nil` is never.
    public var expiresAt: Timestamp?

    public init(
        version: Int, secret: String, tokenHash: [UInt8], createdAt: Timestamp, expiresAt: Timestamp? = nil
    ) {
        self.version = version
        self.secret = secret
        self.tokenHash = tokenHash
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }

    /// Whether its time is not over.
    public func isLive(at now: Timestamp) -> Bool { expiresAt.map { now < $0 } ?? true }
}

extension AccessSecret: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "secret \(version)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["version": version]) }
}

/// Why a key was not changed.
public enum AccessKeyRefusal: Error, Hashable, Sendable {
    /// It was revoked, and stays so.
    case revoked
}

/// A caller that the server knows.
public struct AccessKey: Hashable, Sendable {
    /// The hash of a token.
    public static let tokenHashBytes = 32
    /// Secrets that are accepted at one time.
    public static let liveSecretsMax = 2
    /// How long the secret before a rotation is accepted unless somebody says otherwise: a day.
    public static let graceMilliseconds: Int64 = 86_400_000

    /// An access key id: `QP` and 18 of `A`-`Z`, `2`-`7`.
    public let id: String
    public let name: String
    public var rights: AccessRights
    public var limits: CallerLimits
    /// The newest first.
    public private(set) var secrets: [AccessSecret]
    public let createdAt: Timestamp
    public private(set) var revokedAt: Timestamp?
    /// About when a request with it was last accepted; a store writes it at most once a minute.
    public var lastUsedAt: Timestamp?
    /// Writes of this key so far, as of the read that gave this value; 0 if it was never stored.
    public var revision: Int

    /// A key as it is stored.
    public init(
        id: String, name: String, rights: AccessRights, limits: CallerLimits = .none, secrets: [AccessSecret],
        createdAt: Timestamp, revokedAt: Timestamp? = nil, lastUsedAt: Timestamp? = nil, revision: Int = 0
    ) {
        self.id = id
        self.name = name
        self.rights = rights
        self.limits = limits
        self.secrets = secrets.sorted { $0.version > $1.version }
        self.createdAt = createdAt
        self.revokedAt = revokedAt
        self.lastUsedAt = lastUsedAt
        self.revision = revision
    }

    /// A key that is made now.
    /// - Parameters:
    ///   - tokenHash: the SHA-256 of the credentials' token.
    ///   - lifetime: of its secret, in milliseconds; `nil` is for ever.
    public init(
        new id: String, name: String, rights: AccessRights, limits: CallerLimits = .none,
        credentials: AccessCredentials, tokenHash: [UInt8], lifetime: Int64?, now: Timestamp
    ) {
        let secret = AccessSecret(
            version: 1, secret: credentials.secret, tokenHash: tokenHash, createdAt: now,
            expiresAt: lifetime.map { now + $0 })
        self.init(id: id, name: name, rights: rights, limits: limits, secrets: [secret], createdAt: now)
    }

    // MARK: - Names

    /// Random bytes of an id.
    public static let idRandomBytes = 18
    private static let idPrefix = "QP"
    private static let idDigits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".utf8)

    /// - Parameter random: `idRandomBytes` bytes.
    /// - Returns: `nil` if there are more or fewer.
    public static func makeID(random: [UInt8]) -> String? {
        guard random.count == idRandomBytes else { return nil }
        return idPrefix + String(decoding: random.map { idDigits[Int($0 & 31)] }, as: UTF8.self)
    }

    /// Whether a text looks like an id.
    public static func isID(_ text: some StringProtocol) -> Bool {
        text.utf8.count == idPrefix.utf8.count + idRandomBytes && text.hasPrefix(idPrefix)
            && text.utf8.dropFirst(idPrefix.utf8.count).allSatisfy(idDigits.contains)
    }

    /// What a name may be, for messages.
    public static let allowedName = "1...128 of A-Z a-z 0-9 - _ . @ : / +, and nothing that looks like a key's id"

    /// Whether a key may be called so.
    public static func isName(_ text: String) -> Bool {
        (1...128).contains(text.utf8.count) && !isID(text)
            && text.utf8.allSatisfy { PoolName.isAllowed($0) || ".@:/+".utf8.contains($0) }
    }

    // MARK: - Secrets

    /// Secrets that are accepted at a time, the newest first; none of a key that was revoked.
    public func liveSecrets(at now: Timestamp) -> [AccessSecret] {
        revokedAt == nil ? Array(secrets.filter { $0.isLive(at: now) }.prefix(AccessKey.liveSecretsMax)) : []
    }

    /// How long its newest secret is accepted in all, in milliseconds; `nil` is for ever.
    public var lifetime: Int64? {
        secrets.first.flatMap { secret in secret.expiresAt.map { $0 - secret.createdAt } }
    }

    /// Gives it a new secret. The one before is accepted for the grace, if its own time is not over sooner; an earlier one
    /// no longer.
    /// - Parameters:
    ///   - tokenHash: the SHA-256 of the credentials' token.
    ///   - grace: in milliseconds; 0 ends the secret before at once.
    ///   - lifetime: of the new secret, in milliseconds; `nil` is for ever.
    /// - Throws: `AccessKeyRefusal.revoked`.
    public mutating func rotate(
        to credentials: AccessCredentials, tokenHash: [UInt8], grace: Int64 = AccessKey.graceMilliseconds,
        lifetime: Int64?, now: Timestamp
    ) throws(AccessKeyRefusal) {
        guard revokedAt == nil else { throw .revoked }
        let next = AccessSecret(
            version: (secrets.first?.version ?? 0) + 1, secret: credentials.secret, tokenHash: tokenHash,
            createdAt: now, expiresAt: lifetime.map { now + $0 })
        let before = secrets.prefix(1).map { secret in
            var secret = secret
            secret.expiresAt = min(secret.expiresAt ?? .distantFuture, now + max(0, grace))
            return secret
        }
        secrets = [next] + before.filter { $0.isLive(at: now) }
    }

    /// Ends it for good. Its secrets go; that it was there stays. A second time changes nothing.
    public mutating func revoke(now: Timestamp) {
        guard revokedAt == nil else { return }
        revokedAt = now
        secrets = []
    }

    /// What is said of a key.
    public enum Standing: String, Hashable, Sendable {
        case live
        case expired
        case revoked
    }

    /// Whether it is accepted, and why not.
    public func standing(at now: Timestamp) -> Standing {
        if revokedAt != nil { return .revoked }
        return liveSecrets(at: now).isEmpty ? .expired : .live
    }

    /// When a use must be written down: not more than once in this time.
    public static let touchMilliseconds: Int64 = 60_000

    /// Whether a use at this time is worth a write.
    public func isWorthTouching(at now: Timestamp) -> Bool {
        lastUsedAt.map { now - $0 >= AccessKey.touchMilliseconds } ?? true
    }
}

extension AccessKey: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    public var description: String { "key \(id)" }
    public var debugDescription: String { description }
    public var customMirror: Mirror { Mirror(self, children: ["id": id, "revision": revision]) }
}
