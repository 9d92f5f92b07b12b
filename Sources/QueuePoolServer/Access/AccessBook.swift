// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import QueuePoolCore

/// All passes at one time. It never changes: a change of the store makes another one, and a request reads one only.
final class AccessBook: Sendable {
    /// The hash of a token.
    struct TokenHash: Hashable, Sendable {
        private let words: (UInt64, UInt64, UInt64, UInt64)

        init?(_ bytes: some Sequence<UInt8>) {
            var words: [UInt64] = [0, 0, 0, 0]
            var count = 0
            for byte in bytes {
                guard count < AccessKey.tokenHashBytes else { return nil }
                words[count / 8] = words[count / 8] << 8 | UInt64(byte)
                count += 1
            }
            guard count == AccessKey.tokenHashBytes else { return nil }
            self.words = (words[0], words[1], words[2], words[3])
        }

        init(ofToken token: UnsafeRawBufferPointer) {
            var hasher = SHA256()
            hasher.update(bufferPointer: token)
            words = hasher.finalize().withUnsafeBytes { bytes in
                func word(_ index: Int) -> UInt64 {
                    UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
                }
                return (word(0), word(1), word(2), word(3))
            }
        }

        static func == (a: TokenHash, b: TokenHash) -> Bool {
            a.words.0 == b.words.0 && a.words.1 == b.words.1 && a.words.2 == b.words.2 && a.words.3 == b.words.3
        }

        // The hash of a hash needs no more than a part of it.
        func hash(into hasher: inout Hasher) { hasher.combine(words.0) }
    }

    static let empty = AccessBook(revision: nil, passes: [:], tokens: [:], uses: [:], accounts: [:])

    /// The store's that it was read at; `nil` if it was not read.
    let revision: Int?
    /// By key id, the newest secret first.
    private let passes: [String: [AccessPass]]
    private let ids: [String: String]
    private let tokens: [TokenHash: AccessPass]
    private let uses: [String: KeyUse]
    private let accounts: [String: CallerAccount]

    private init(
        revision: Int?, passes: [String: [AccessPass]], tokens: [TokenHash: AccessPass], uses: [String: KeyUse],
        accounts: [String: CallerAccount]
    ) {
        self.revision = revision
        self.passes = passes
        // A name that is not one key's is nobody's.
        ids = Dictionary(grouping: passes.values.compactMap(\.first), by: \.keyName).filter { $1.count == 1 }
            .mapValues { $0[0].keyID }
        self.tokens = tokens
        self.uses = uses
        self.accounts = accounts
    }

    /// - Parameters:
    ///   - before: whose passes stay what they are if nothing of them changed. The accounts of keys are the same, and
    ///     have the keys' limits from here on.
    ///   - now: the wall clock's time.
    ///   - moment: the time of what is counted.
    convenience init(
        _ keys: [AccessKey], revision: Int, after before: AccessBook, now: Timestamp, moment: Timestamp
    ) {
        var passes: [String: [AccessPass]] = [:]
        var tokens: [TokenHash: AccessPass] = [:]
        var uses: [String: KeyUse] = [:]
        var accounts: [String: CallerAccount] = [:]
        for key in keys {
            let use = before.uses[key.id] ?? KeyUse(last: key.lastUsedAt)
            uses[key.id] = use
            let account = before.accounts[key.id] ?? CallerAccount(key.limits, now: moment)
            account.change(to: key.limits, now: moment)
            accounts[key.id] = account
            let ofKey = key.liveSecrets(at: now).map { secret in
                before.passes[key.id]?.first { $0.isSame(as: key, secret) && !$0.isEnded }
                    ?? AccessPass(key, secret, use: use, account: account)
            }
            if !ofKey.isEmpty { passes[key.id] = ofKey }
            for pass in ofKey { if let hash = TokenHash(pass.secret.tokenHash) { tokens[hash] = pass } }
        }
        self.init(revision: revision, passes: passes, tokens: tokens, uses: uses, accounts: accounts)
    }

    /// Those of a key, whether their time is over or not.
    func passes(ofKey id: String) -> [AccessPass] { passes[id] ?? [] }

    /// The same by the key's name.
    func passes(ofKeyNamed name: String) -> [AccessPass] { ids[name].map(passes(ofKey:)) ?? [] }

    func pass(ofToken hash: TokenHash) -> AccessPass? { tokens[hash] }

    var isEmpty: Bool { passes.isEmpty }

    /// Ends the passes that another book has no more.
    func end(unlessIn other: AccessBook) {
        for pass in passes.values.joined() where !other.passes(ofKey: pass.keyID).contains(where: { $0 === pass }) {
            pass.end()
        }
    }

    /// Ends the passes whose time is over.
    func endExpired(at now: Timestamp) {
        for pass in passes.values.joined() where !pass.secret.isLive(at: now) { pass.end() }
    }
}
