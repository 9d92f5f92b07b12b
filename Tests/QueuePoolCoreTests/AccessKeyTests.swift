// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `Keys` {
    private static let day: Int64 = 86_400_000
    private let start = Timestamp(milliseconds: 1_800_000_000_000)

    private func credentials(_ byte: UInt8) throws -> AccessCredentials {
        try #require(AccessCredentials(random: Array(repeating: byte, count: AccessCredentials.randomBytes)))
    }

    private func hash(_ byte: UInt8) -> [UInt8] { Array(repeating: byte, count: AccessKey.tokenHashBytes) }

    private func key(lifetime: Int64? = nil) throws -> AccessKey {
        AccessKey(
            new: "QPAAAAAAAAAAAAAAAAAA", name: "api", rights: AccessRights(), credentials: try credentials(1),
            tokenHash: hash(1), lifetime: lifetime, now: start)
    }

    private func versions(_ key: AccessKey, after milliseconds: Int64) -> [Int] {
        key.liveSecrets(at: start + milliseconds).map(\.version)
    }

    // MARK: - Texts

    @Test func `texts of a key have the lengths and letters that callers expect`() throws {
        let made = try #require(AccessCredentials(random: Array(0..<62)))
        // RFC 4648: the first 30 bytes, and the 32 that follow.
        #expect(made.secret == "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd")
        #expect(made.token == "qp_Hh8gISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0")
        #expect(made.secret.utf8.count == 40 && made.token.utf8.count == 46)
        #expect(try credentials(0xFF).secret == String(repeating: "_", count: 40))
        #expect(AccessKey.makeID(random: Array(0..<18)) == "QPABCDEFGHIJKLMNOPQR")
        #expect(AccessKey.makeID(random: Array(238...255)) == "QPOPQRSTUVWXYZ234567")
    }

    @Test(arguments: [0, 17, 19, 61, 63]) func `too few or too many random bytes make nothing`(count: Int) {
        let bytes = [UInt8](repeating: 7, count: count)
        #expect(AccessCredentials(random: bytes) == nil)
        #expect(AccessKey.makeID(random: bytes) == nil)
    }

    @Test(arguments: SplitMix64.seeds(10)) func `what is made is what is looked for`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let bytes = (0..<AccessCredentials.randomBytes).map { _ in UInt8(random.below(256)) }
        let made = try #require(AccessCredentials(random: bytes))
        let id = try #require(AccessKey.makeID(random: Array(bytes.prefix(AccessKey.idRandomBytes))))
        #expect(AccessCredentials.isToken(made.token) && AccessKey.isID(id), "seed \(seed)")
        let near = [String(made.token.dropLast()), made.token + "A", "qp." + made.token.dropFirst(3)]
        for text in near + [made.secret, id] {
            #expect(!AccessCredentials.isToken(text), "seed \(seed)")
        }
        for text in [id.lowercased(), String(id.dropLast()), id + "A", "AK" + id.dropFirst(2), id.dropLast() + "1"] {
            #expect(!AccessKey.isID(text), "seed \(seed)")
        }
    }

    @Test func `a name is short, plain and no id`() {
        for name in ["a", "mail-api.prod_2", "team@emails", "spiffe://x/y+z", String(repeating: "n", count: 128)] {
            #expect(AccessKey.isName(name), "\(name)")
        }
        for name in ["", "a b", "a\\b", "é", "a\n", "QPABCDEFGHIJKLMNOPQR", String(repeating: "n", count: 129)] {
            #expect(!AccessKey.isName(name), "\(name)")
        }
    }

    // MARK: - Secrets

    @Test func `a new key has one secret that lives for ever`() throws {
        let key = try key()
        #expect(versions(key, after: 0) == [1])
        #expect(versions(key, after: 36_500 * Keys.day) == [1])
        #expect(key.standing(at: start) == .live)
        #expect(key.liveSecrets(at: start).first?.secret == (try credentials(1)).secret)
        #expect(key.liveSecrets(at: start).first?.tokenHash == hash(1))
    }

    @Test func `a secret is refused from the moment of its expiry`() throws {
        let key = try key(lifetime: 90 * Keys.day)
        #expect(versions(key, after: 90 * Keys.day - 1) == [1])
        #expect(versions(key, after: 90 * Keys.day) == [])
        #expect(key.standing(at: start + (90 * Keys.day - 1)) == .live)
        #expect(key.standing(at: start + 90 * Keys.day) == .expired)
    }

    @Test func `after a rotation both secrets live, the old one for the grace`() throws {
        var key = try key()
        try key.rotate(to: credentials(2), tokenHash: hash(2), lifetime: nil, now: start + 5)
        #expect(versions(key, after: 5) == [2, 1])
        #expect(versions(key, after: 5 + Keys.day - 1) == [2, 1])
        #expect(versions(key, after: 5 + Keys.day) == [2])
        #expect(key.secrets.first?.secret == (try credentials(2)).secret)
        #expect(key.secrets.first?.createdAt == start + 5)
    }

    @Test func `a grace makes no secret live longer than it would have`() throws {
        var key = try key(lifetime: 100)
        try key.rotate(to: credentials(2), tokenHash: hash(2), grace: 1_000, lifetime: key.lifetime, now: start + 40)
        #expect(versions(key, after: 99) == [2, 1])
        #expect(versions(key, after: 100) == [2])
        #expect(versions(key, after: 139) == [2])
        #expect(versions(key, after: 140) == [])
        #expect(key.lifetime == 100)
    }

    @Test(arguments: [0, -1, Int64.min]) func `without a grace the old secret is gone at once`(grace: Int64) throws {
        var key = try key()
        try key.rotate(to: credentials(2), tokenHash: hash(2), grace: grace, lifetime: nil, now: start)
        #expect(key.secrets.map(\.version) == [2])
    }

    @Test func `a second rotation within the grace drops the oldest`() throws {
        var key = try key()
        for byte in UInt8(2)...4 {
            try key.rotate(to: credentials(byte), tokenHash: hash(byte), lifetime: nil, now: start + Int64(byte))
            #expect(versions(key, after: Int64(byte)) == [Int(byte), Int(byte) - 1])
            #expect(key.secrets.count == 2)
        }
    }

    @Test func `an expired key lives again by a rotation, without its old secret`() throws {
        var key = try key(lifetime: 10)
        try key.rotate(to: credentials(2), tokenHash: hash(2), lifetime: key.lifetime, now: start + 50)
        #expect(key.secrets.map(\.version) == [2])
        #expect(versions(key, after: 59) == [2])
    }

    @Test func `a revoked key has no secret, stays revoked and takes no new one`() throws {
        var key = try key()
        key.revoke(now: start + 7)
        key.revoke(now: start + 9)
        #expect(key.revokedAt == start + 7)
        #expect(key.secrets.isEmpty)
        #expect(key.standing(at: start) == .revoked)
        let next = try credentials(2)
        let before = key
        #expect(throws: AccessKeyRefusal.revoked) {
            try key.rotate(to: next, tokenHash: hash(2), lifetime: nil, now: start + 10)
        }
        #expect(key == before)
    }

    @Test func `a stored key that is revoked has no live secret, whatever else is stored`() throws {
        let made = try key()
        let stored = AccessKey(
            id: made.id, name: made.name, rights: made.rights, secrets: made.secrets, createdAt: start,
            revokedAt: start)
        #expect(stored.liveSecrets(at: start).isEmpty)
    }

    @Test func `secrets of a store are sorted, and no more than two are accepted`() throws {
        let secrets = [2, 3, 1].map {
            AccessSecret(version: $0, secret: "s", tokenHash: hash(1), createdAt: start)
        }
        let stored = AccessKey(id: "i", name: "n", rights: AccessRights(), secrets: secrets, createdAt: start)
        #expect(stored.liveSecrets(at: start).map(\.version) == [3, 2])
    }

    @Test func `a use is worth a write once a minute`() throws {
        var key = try key()
        #expect(key.isWorthTouching(at: start))
        key.lastUsedAt = start
        #expect(!key.isWorthTouching(at: start + 59_999))
        #expect(key.isWorthTouching(at: start + 60_000))
    }

    // MARK: - Secrecy

    @Test func `no secret and no hash is in a description, a mirror or a dump`() throws {
        let made = try #require(AccessCredentials(random: (0..<62).map { $0 &* 37 }))
        let hash = (0..<32).map { UInt8(200 + $0) }
        var key = AccessKey(
            new: "QPAAAAAAAAAAAAAAAAAA", name: "api", rights: AccessRights(), credentials: made, tokenHash: hash,
            lifetime: nil, now: start)
        try key.rotate(to: made, tokenHash: hash, lifetime: nil, now: start)
        let secret = try #require(key.secrets.first)
        let values: [Any] = [made, secret, key, [key], ["a": key.secrets], Optional(secret) as Any, (key, made)]
        for value in values {
            var dumped = ""
            dump(value, to: &dumped)
            let texts = [dumped, "\(value)", String(describing: value), String(reflecting: value)]
            for text in texts {
                #expect(!text.contains(made.secret) && !text.contains(made.token.dropFirst(3)))
                for byte in hash { #expect(!text.contains("\(byte)"), "the hash is in it") }
            }
        }
        // What is looked for would be found where it is.
        var shown = ""
        dump([made.secret, made.token, "\(hash)"], to: &shown)
        #expect(shown.contains(made.secret) && shown.contains(made.token.dropFirst(3)) && shown.contains("200"))
    }
}
