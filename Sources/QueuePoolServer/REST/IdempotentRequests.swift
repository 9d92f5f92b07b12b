// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import QueuePoolCore
import QueuePoolRuntime
import Synchronization

// Requests with an idempotency key, around the sending of their message. The answer goes to the client once the key is on
// stable storage as well, so that an answer that was given is known after a restart. A client that got none repeats its
// request: within the deduplication interval the shard knows the message by its deduplication id.

/// How idempotency keys are kept.
package struct IdempotencyOptions: Sendable {
    /// Seconds for which an answer is remembered; not less than the deduplication interval.
    package var windowSeconds = 86_400
    /// Bytes of all that is remembered.
    package var bytesMax = 128 << 20
    /// Where keys outlive the process; `nil`: nowhere.
    package var store: (any IdempotencyStore)?
    /// Called, on any thread, when keys cannot be written and when they can again.
    package var report: @Sendable (_ isSaved: Bool) -> Void = { _ in }

    package init() {}
}

/// Answers requests with an idempotency key, each once.
final class IdempotentRequests: Sendable {
    private let keys: Mutex<IdempotencyKeys>
    private let clock: any Clock
    private let store: (any IdempotencyStore)?
    private let report: @Sendable (Bool) -> Void
    private let isSaving = Atomic(true)

    init(_ options: IdempotencyOptions, clock: any Clock) {
        let seconds = max(options.windowSeconds, QueueLimits.deduplicationSeconds)
        var keys = IdempotencyKeys(windowMilliseconds: Int64(seconds) * 1_000, bytesMax: options.bytesMax)
        let now = clock.now()
        for record in options.store?.takeRecords() ?? [] { keys.restore(record, now: now) }
        self.keys = Mutex(keys)
        self.clock = clock
        store = options.store
        report = options.report
    }

    /// Replays the answer to a request, refuses the request, or carries it out.
    /// - Parameters:
    ///   - kind: what of a pool the request is for: two kinds of requests are never the same one.
    ///   - perform: sends the message and says what became of it.
    func run(
        _ key: IdempotencyKey, pool: Pool, kind: StaticString, body: [UInt8], reply: @escaping Reply,
        perform: (@escaping @Sendable (SendOutcome) -> Void) -> Void
    ) {
        // A pool that was made anew under the same name has other keys.
        let scope = "\(pool.name.text)/\(pool.snapshot.definition.createdAt.milliseconds)/"
        let digest = IdempotentRequests.digest(Array(scope.utf8), key.bytes)
        let fingerprint = IdempotentRequests.digest(Array("\(kind)\n".utf8), body)
        let now = clock.now()
        switch keys.withLock({ $0.begin(key: digest, fingerprint: fingerprint, now: now) }) {
        case .run: perform { self.end(digest, $0, reply) }
        case .replay(let answer): reply(IdempotentRequests.replayed(answer))
        case .reused: reply(Problem.idempotencyKeyReused.answer)
        case .running: reply(Problem.idempotencyKeyInUse.answer)
        }
    }

    private func end(_ key: Hash128, _ outcome: SendOutcome, _ reply: @escaping Reply) {
        let answer: [UInt8]?
        switch outcome {
        case .accepted(let body): answer = body
        case .refused(_, mayBeStored: true): answer = nil
        case .refused(_, mayBeStored: false):
            keys.withLock { $0.abandon(key: key) }
            return reply(outcome.answer)
        }
        let now = clock.now()
        let finish: @Sendable (IdempotencyRecord, Bool) -> Void = { record, isSaved in
            self.keys.withLock { $0.finish(record) }
            // The message is stored, whatever became of the key: its answer is given.
            if self.isSaving.exchange(isSaved, ordering: .relaxed) != isSaved { self.report(isSaved) }
            reply(outcome.answer)
        }
        // Within the lock, so that records are written in the order of their numbers.
        let unsaved = keys.withLock { keys -> IdempotencyRecord? in
            guard let record = keys.record(key: key, answer: answer, now: now) else { return nil }
            guard let store else { return record }
            store.save(record, oldest: keys.oldest) { finish(record, $0) }
            return nil
        }
        if let unsaved { finish(unsaved, true) }
    }

    private static func replayed(_ body: [UInt8]) -> Answer {
        Answer(
            status: 202, contentType: "application/json", headers: [(name: "Idempotent-Replayed", value: "true")],
            body: body)
    }

    /// The first half of the SHA-256 of both: what is kept tells nobody a key or a body.
    private static func digest(_ first: [UInt8], _ second: [UInt8]) -> Hash128 {
        var hasher = SHA256()
        hasher.update(data: first)
        hasher.update(data: second)
        return hasher.finalize().withUnsafeBytes { bytes in
            Hash128(
                high: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)),
                low: UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)))
        }
    }
}

extension Problem {
    fileprivate static let idempotencyKeyReused = Problem(
        "idempotency-key-reused", status: 422, title: "The idempotency key came with another request before",
        detail: "Nothing was stored. A key stands for one request, byte for byte: send this one with a key of its own.",
        field: IdempotencyKey.name)

    fileprivate static let idempotencyKeyInUse = Problem(
        "idempotency-key-in-use", status: 409, title: "The same request is being carried out",
        detail: "Send it again after Retry-After to get its answer.", field: IdempotencyKey.name, retryAfterSeconds: 1)
}
