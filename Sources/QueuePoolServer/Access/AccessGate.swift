// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import QueuePoolSigning
import Synchronization

// Where callers are known by their keys. The keys are read from their store when its revision has changed, and a
// request looks at what was read: no request waits for the store. If the store cannot be asked, those who are known
// stay so.

/// What an operator should know of the keys.
package enum AccessEvent: Hashable, Sendable {
    /// The store could not be asked; the keys stay as they were.
    case storeFailed(AccessKeyStoreError)
    case storeAnswersAgain
    /// These cannot be read, and nobody comes in by them.
    case unreadable([String])
    /// Nobody can come in.
    case noKeys
}

/// Knows who may come in.
package final class AccessGate: Sendable {
    /// Two of them and what lies between make less than a second from a change to its effect.
    package static let lookMilliseconds: Int64 = 400

    let clock: any Clock
    let verifier = SignatureVerifier()
    let refusals = CallerRefusalCounts()
    /// Whether the name in a client's certificate is enough.
    let takesCertificates: Bool
    private let store: any AccessKeyStore
    private let report: @Sendable (AccessEvent) -> Void
    private let book = Mutex(AccessBook.empty)
    private let isClosed = Atomic(false)
    private let hasFailed = Atomic(false)
    /// Where the store is called, which may block.
    private let calls = DispatchQueue(label: "queuepool.access")

    /// - Parameters:
    ///   - takesCertificates: whether who shows a verified certificate with a key's name, and nothing else, is that key.
    ///   - report: called on any thread.
    package init(
        store: any AccessKeyStore, clock: any Clock, takesCertificates: Bool = false,
        report: @escaping @Sendable (AccessEvent) -> Void = { _ in }
    ) {
        self.takesCertificates = takesCertificates
        self.store = store
        self.clock = clock
        self.report = report
    }

    /// What is known now.
    var current: AccessBook { book.withLock { $0 } }

    /// Reads the keys; blocks. For the start, before anybody is served.
    package func open() throws(AccessKeyStoreError) {
        try refresh()
        if current.isEmpty { report(.noKeys) }
    }

    /// Looks at the store every so often until `close`.
    package func follow(everyMilliseconds interval: Int64 = AccessGate.lookMilliseconds) {
        clock.schedule(afterMilliseconds: interval) { [weak self] in
            // Not on the timers' thread: the store may block.
            self?.calls.async { [weak self] in
                guard let self, !self.isClosed.load(ordering: .relaxed) else { return }
                do throws(AccessKeyStoreError) {
                    try self.refresh()
                    if self.hasFailed.exchange(false, ordering: .relaxed) { self.report(.storeAnswersAgain) }
                } catch {
                    if !self.hasFailed.exchange(true, ordering: .relaxed) { self.report(.storeFailed(error)) }
                }
                self.follow(everyMilliseconds: interval)
            }
        }
    }

    /// Ends the looks.
    package func close() { isClosed.store(true, ordering: .relaxed) }

    /// Takes over what changed in the store, and ends what is not accepted any more; blocks.
    func refresh() throws(AccessKeyStoreError) {
        let now = clock.wallTime()
        let before = current
        // What is over is over, whether the store answers or not.
        before.endExpired(at: now)
        // Before the keys are read: what changes in between is read again.
        let revision = try store.revision()
        guard revision != before.revision else { return }
        let stored = try store.contents()
        if !stored.unreadable.isEmpty { report(.unreadable(stored.unreadable)) }
        let new = AccessBook(stored.keys, revision: revision, after: before, now: now, moment: clock.now())
        book.withLock { $0 = new }
        before.end(unlessIn: new)
    }

    /// Writes a use down, at most once a minute.
    func note(_ pass: AccessPass, at now: Timestamp) {
        guard pass.use.isWorthWriting(at: now) else { return }
        // A use that could not be written is not worth an error: nothing depends on it.
        calls.async { [store] in try? store.touch(pass.keyID, at: now) }
    }
}
