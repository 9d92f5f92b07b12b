// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolServer

/// Keys in memory.
private final class KeysInMemory: AccessKeyStore {
    struct State {
        var keys: [String: AccessKey] = [:]
        var revision = 0
        var reads = 0
        var touches: [String] = []
        var fails = false
    }

    let state = Mutex(State())

    private func answering<R: Sendable>(_ body: (inout State) -> R) throws(AccessKeyStoreError) -> R {
        let result = state.withLock { state in state.fails ? nil : body(&state) }
        guard let result else { throw .failed(code: "5") }
        return result
    }

    func revision() throws(AccessKeyStoreError) -> Int { try answering { $0.revision } }

    func contents() throws(AccessKeyStoreError) -> StoredAccessKeys {
        try answering { state in
            state.reads += 1
            return StoredAccessKeys(keys: state.keys.values.sorted { $0.name < $1.name })
        }
    }

    func create(_ key: AccessKey) throws(AccessKeyStoreError) -> Int { try replace(key, ifRevision: 0) }

    func replace(_ key: AccessKey, ifRevision revision: Int) throws(AccessKeyStoreError) -> Int {
        try answering { state in
            state.revision += 1
            state.keys[key.id] = key
            return revision + 1
        }
    }

    func remove(_ key: AccessKey) throws(AccessKeyStoreError) {
        try answering { state in
            state.revision += 1
            state.keys[key.id] = nil
        }
    }

    func touch(_ id: String, at time: Timestamp) throws(AccessKeyStoreError) {
        try answering { $0.touches.append(id) }
    }
}

struct AccessGateTests {
    private let clock = ManualClock()
    private let store = KeysInMemory()
    private let gate: AccessGate

    init() { gate = AccessGate(store: store, clock: clock) }

    private func credentials(_ byte: UInt8) throws -> (AccessCredentials, [UInt8]) {
        let made = try #require(
            AccessCredentials(random: [UInt8](repeating: byte, count: AccessCredentials.randomBytes)))
        return (made, Array(SHA256.hash(data: Array(made.token.utf8))))
    }

    private func make(
        _ rules: String = "mail.fifo:send", byte: UInt8 = 1, lifetime: Int64? = nil
    ) throws -> (key: AccessKey, token: String) {
        let (made, hash) = try credentials(byte)
        let id = try #require(AccessKey.makeID(random: [UInt8](repeating: byte, count: AccessKey.idRandomBytes)))
        let key = AccessKey(
            new: id, name: "key-\(byte)", rights: try #require(AccessRights(text: rules)), credentials: made,
            tokenHash: hash, lifetime: lifetime, now: clock.now())
        _ = try store.create(key)
        return (key, made.token)
    }

    private func caller(_ token: String) throws(AccessFault) -> Caller {
        let result: Result<Caller, AccessFault> = Array(token.utf8).withUnsafeBytes { bytes in
            do throws(AccessFault) { return .success(try gate.caller(token: bytes)) } catch { return .failure(error) }
        }
        return try result.get()
    }

    @Test func `a token is its key's, and any other is nobody's`() throws {
        let (key, token) = try make()
        #expect(throws: AccessFault.unknownToken) { try caller(token) }
        try gate.refresh()
        #expect(try caller(token).pass?.keyID == key.id)
        let other = try credentials(2).0.token
        for wrong in [other, String(token.dropLast()), token + "A", ""] {
            #expect(throws: AccessFault.unknownToken) { try caller(wrong) }
        }
    }

    @Test func `keys are read again only when their revision has changed`() throws {
        _ = try make()
        for _ in 0..<3 { try gate.refresh() }
        #expect(store.state.withLock { $0.reads } == 1)
    }

    @Test func `who waits on a key's account is told once when it is revoked`() throws {
        var (key, token) = try make()
        try gate.refresh()
        let caller = try caller(token)
        let told = Atomic(0)
        let pass = try #require(caller.pass)
        let stay = CallerStay(pass)
        stay.onOut { told.add(1, ordering: .relaxed) }
        let over = CallerStay(pass)
        over.onOut { told.add(10, ordering: .relaxed) }
        over.end()
        // Another key changes nothing for it.
        _ = try make(byte: 2)
        try gate.refresh()
        #expect(!caller.isOut && told.load(ordering: .relaxed) == 0)
        key.revoke(now: clock.now())
        _ = try store.replace(key, ifRevision: 1)
        try gate.refresh()
        #expect(caller.isOut && told.load(ordering: .relaxed) == 1)
        #expect(throws: AccessFault.unknownToken) { try self.caller(token) }
        // Who comes too late is told at once.
        CallerStay(pass).onOut { told.add(1, ordering: .relaxed) }
        #expect(told.load(ordering: .relaxed) == 2)
    }

    @Test func `what is begun with rights that change does not go on with the old ones`() throws {
        var (key, token) = try make("mail.fifo:receive")
        try gate.refresh()
        let before = try caller(token)
        key.rights = try #require(AccessRights(text: "mail.fifo:send"))
        _ = try store.replace(key, ifRevision: 1)
        try gate.refresh()
        let name = try #require(PoolName("mail.fifo"))
        #expect(before.isOut && before.may(.receive, name))
        #expect(try !caller(token).may(.receive, name) && caller(token).may(.send, name))
    }

    @Test func `other limits hold for all secrets of a key, and end nothing that goes on`() throws {
        var (key, token) = try make()
        try gate.refresh()
        let before = try caller(token)
        for _ in 0..<100 { try gate.admit(before, bytes: 1 << 20, life: nil) }
        let (made, hash) = try credentials(9)
        try key.rotate(to: made, tokenHash: hash, grace: 5_000, lifetime: nil, now: clock.now())
        _ = try store.replace(key, ifRevision: 1)
        try gate.refresh()
        let (one, other) = (try caller(token), try caller(made.token))
        key.limits = CallerLimits(requestsPerSecond: 2)
        _ = try store.replace(key, ifRevision: 2)
        try gate.refresh()
        #expect(!one.isOut && !other.isOut)
        try gate.admit(one, bytes: 0, life: nil)
        try gate.admit(other, bytes: 0, life: nil)
        let refusal = CallerRefusal(keyID: key.id, limit: .requests, value: 2, left: 0, retryAfterMilliseconds: 500)
        #expect(throws: AccessFault.limited(refusal)) { try gate.admit(one, bytes: 0, life: nil) }
        #expect(throws: AccessFault.limited(refusal)) { try gate.admit(other, bytes: 0, life: nil) }
        #expect(gate.refusals.value(.requests) == 2 && gate.refusals.value(.bytes) == 0)
        // Another read of the same keys gives nothing back.
        _ = try make(byte: 3)
        try gate.refresh()
        #expect(throws: AccessFault.limited(refusal)) { try gate.admit(one, bytes: 0, life: nil) }
        clock.advance(milliseconds: 500)
        try gate.admit(one, bytes: 0, life: nil)
        try gate.admit(.anybody, bytes: 1 << 30, life: nil)
    }

    @Test func `a secret that is over is refused at once, and who waits is told at the next look`() throws {
        let (_, token) = try make(lifetime: 1_000)
        try gate.refresh()
        let caller = try caller(token)
        clock.advance(milliseconds: 1_000)
        #expect(throws: AccessFault.unknownToken) { try self.caller(token) }
        #expect(!caller.isOut)
        store.state.withLock { $0.fails = true }
        #expect(throws: AccessKeyStoreError.self) { try gate.refresh() }
        #expect(caller.isOut)
    }

    @Test func `after a rotation both secrets are accepted until the grace is over`() throws {
        var (key, token) = try make()
        try gate.refresh()
        let old = try caller(token)
        let (made, hash) = try credentials(9)
        try key.rotate(to: made, tokenHash: hash, grace: 5_000, lifetime: nil, now: clock.now())
        _ = try store.replace(key, ifRevision: 1)
        try gate.refresh()
        #expect(try caller(token).pass?.keyID == caller(made.token).pass?.keyID)
        // Its time has an end now, and it did not before.
        #expect(old.isOut)
        clock.advance(milliseconds: 5_000)
        #expect(throws: AccessFault.unknownToken) { try caller(token) }
        #expect(try caller(made.token).pass?.keyID == key.id)
    }

    @Test func `keys that are known stay so while the store does not answer`() throws {
        let (key, token) = try make()
        try gate.refresh()
        store.state.withLock { $0.fails = true }
        #expect(throws: AccessKeyStoreError.self) { try gate.refresh() }
        #expect(try caller(token).pass?.keyID == key.id)
    }

    @Test func `a use is worth a write once a minute`() {
        let use = KeyUse(last: nil)
        #expect(use.isWorthWriting(at: clock.now()) && !use.isWorthWriting(at: clock.now() + 59_999))
        #expect(use.isWorthWriting(at: clock.now() + 60_000))
        #expect(!KeyUse(last: clock.now()).isWorthWriting(at: clock.now() + 59_999))
    }

    @Test(arguments: ["Bearer abc", "bearer abc", "BEARER   abc"])
    func `a bearer token is one in any case of its scheme`(value: String) {
        let token = Array(value.utf8).withUnsafeBytes { AccessGate.token($0).map { Array($0) } }
        #expect(token == Array("abc".utf8))
    }

    @Test(arguments: ["Basic abc", "Bearerabc", "AWS4-HMAC-SHA256 Credential=a", ""])
    func `another scheme has no token`(value: String) {
        #expect(Array(value.utf8).withUnsafeBytes { AccessGate.token($0) == nil })
    }

    @Test func `a request without rights does nothing, and says which key lacks what where`() async throws {
        let stage = try ServiceStage()
        let (key, token) = try make("other.fifo:send,receive,admin")
        try gate.refresh()
        let body = #"{"QueueUrl":"mail.fifo","MessageBody":"b","MessageGroupId":"g","MessageDeduplicationId":"d"}"#
        let denied = try await stage.sqs("SendMessage", body, as: caller(token))
        #expect(denied.status == 403)
        let text = "The key \(key.id) has no right 'send' on the pool of mail.fifo."
        #expect(denied.json["message"] as? String == text)
        let got = try await stage.sqs("ReceiveMessage", #"{"QueueUrl":"mail.fifo"}"#)
        #expect(got.json["Messages"] == nil)
    }
}
