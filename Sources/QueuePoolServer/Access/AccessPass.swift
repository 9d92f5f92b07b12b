// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

// Who is let in. A pass is one secret of a key as long as it is accepted: what waits on its account is told when the
// key is revoked, loses or changes its rights, or the secret's time is over.

/// One secret of a key that is accepted.
final class AccessPass: Sendable {
    /// The first to be tried is the newest one.
    let keyID: String
    let keyName: String
    let rights: AccessRights
    let secret: AccessSecret
    /// Shared by all passes of a key.
    let use: KeyUse
    /// Shared by all passes of a key, whose limits it has.
    let account: CallerAccount

    private struct State {
        var isEnded = false
        var next = 0
        var waiting: [Int: @Sendable () -> Void] = [:]
    }

    private let ended = Atomic(false)
    private let state = Mutex(State())

    init(_ key: AccessKey, _ secret: AccessSecret, use: KeyUse, account: CallerAccount) {
        keyID = key.id
        keyName = key.name
        rights = key.rights
        self.secret = secret
        self.use = use
        self.account = account
    }

    /// Whether it is still what another read of the store would give. Limits are not the pass's but its account's, which
    /// takes over others: no poll and no stream ends because of them.
    func isSame(as key: AccessKey, _ other: AccessSecret) -> Bool {
        rights == key.rights && keyName == key.name && secret == other
    }

    var isEnded: Bool { ended.load(ordering: .acquiring) }

    /// Nobody comes in by it any more: whoever waits on its account is told. A second time does nothing.
    func end() {
        ended.store(true, ordering: .releasing)
        let waiting = state.withLock { state in
            state.isEnded = true
            defer { state.waiting = [:] }
            return state.waiting
        }
        for body in waiting.values { body() }
    }

    /// Calls `body` once when it ends, on any thread; within this call if it has.
    /// - Returns: what `forget` takes.
    func onEnd(_ body: @escaping @Sendable () -> Void) -> Int {
        let number = state.withLock { state -> Int? in
            guard !state.isEnded else { return nil }
            state.next += 1
            state.waiting[state.next] = body
            return state.next
        }
        guard let number else {
            body()
            return 0
        }
        return number
    }

    func forget(_ number: Int) { state.withLock { $0.waiting[number] = nil } }
}

/// When a key was last used, as far as it was written down.
final class KeyUse: Sendable {
    private let last: Atomic<Int64>

    init(last: Timestamp?) { self.last = Atomic(last?.milliseconds ?? .min) }

    /// Whether this use is worth a write, which whoever is told so does.
    func isWorthWriting(at now: Timestamp) -> Bool {
        let before = last.load(ordering: .relaxed)
        guard before == .min || now.milliseconds - before >= AccessKey.touchMilliseconds else { return false }
        return last.compareExchange(expected: before, desired: now.milliseconds, ordering: .relaxed).exchanged
    }
}

/// Who asks.
struct Caller: Sendable {
    /// `nil`: nobody is asked who he is, and everybody may do everything.
    let pass: AccessPass?

    /// Where keys are not required.
    static let anybody = Caller(pass: nil)

    /// Whether he may do all of these things to a pool.
    func may(_ actions: AccessActions, _ pool: PoolName) -> Bool {
        pass?.rights.allows(actions, pool: pool) ?? true
    }

    /// Whether he may do all of these things to every pool.
    func mayEverywhere(_ actions: AccessActions) -> Bool { pass?.rights.allowsEverywhere(actions) ?? true }

    /// Whether he may do anything of these to a pool.
    func mayAny(of actions: AccessActions, _ pool: PoolName) -> Bool {
        guard let pass else { return true }
        return AccessActions.words.contains { actions.contains($0.action) && pass.rights.allows($0.action, pool: pool) }
    }

    /// Whether he may do anything of these to every pool.
    func mayAnyEverywhere(of actions: AccessActions) -> Bool {
        AccessActions.words.contains { actions.contains($0.action) && mayEverywhere($0.action) }
    }

    /// Whether what he came in by is not accepted any more.
    var isOut: Bool { pass?.isEnded ?? false }
}
