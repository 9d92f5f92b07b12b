// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import Synchronization
import Testing

/// The rules of the port of keys, each run against every implementation.
@Suite(.timeLimit(.minutes(3))) struct `Every store of keys` {
    private func keep(_ subject: AccessKeySubject, _ rule: @escaping AccessKeyRule) async throws {
        try await AccessKeyBench.run(rule, on: subject).report()
    }

    @Test(arguments: AccessKeySubject.tested)
    func `gives back what was written, in every part`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            try bench.check(has: [], "an empty store")
            var made = try bench.key(lifetime: 5_000)
            made.limits = CallerLimits(requestsPerSecond: 100, bytesPerSecond: 1_000_000, connections: 10)
            var key = try bench.created(made)
            bench.check(key.revision == 1, "the first revision is \(key.revision)")
            try bench.check(has: [key], "what was made")
            key.rights = AccessRights()
            try key.rotate(
                to: bench.credentials(2), tokenHash: bench.hash(2), lifetime: nil, now: bench.start + 10)
            key.revision = try bench.one.replace(key, ifRevision: 1)
            bench.check(key.revision == 2, "the second revision is \(key.revision)")
            try bench.check(has: [key], "what was rotated")
            key.limits = CallerLimits(bytesPerSecond: 5)
            key.revision = try bench.one.replace(key, ifRevision: 2)
            try bench.check(has: [key], "other limits")
            key.limits = .none
            key.revision = try bench.one.replace(key, ifRevision: 3)
            try bench.check(has: [key], "no limits")
            key.revoke(now: bench.start + 20)
            key.revision = try bench.one.replace(key, ifRevision: 4)
            try bench.check(has: [key], "what was revoked")
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `lists keys by their names`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            let keys = try [(3, "b"), (1, "c"), (2, "a")].map {
                try bench.created(bench.key(UInt8($0.0), name: $0.1))
            }
            try bench.check(has: [keys[2], keys[0], keys[1]], "three keys")
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `makes no second key of a name or an id`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            let key = try bench.created(bench.key())
            bench.check(.taken, "the same name") { _ = try bench.other.create(bench.key(2)) }
            bench.check(.taken, "the same id") { _ = try bench.other.create(bench.key(name: "else")) }
            bench.check(.taken, "the same key") { _ = try bench.one.create(key) }
            try bench.check(has: [key], "what was refused changed something")
            // Neither of the refused ones left its name or its id behind.
            let second = try bench.created(bench.key(2, name: "else"))
            try bench.check(has: [key, second], "the other one")
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `tells the second of two who write a key from the same revision`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            let read = try bench.created(bench.key())
            var (first, second) = (read, read)
            try first.rotate(to: bench.credentials(2), tokenHash: bench.hash(2), lifetime: nil, now: bench.start)
            second.revoke(now: bench.start)
            first.revision = try bench.one.replace(first, ifRevision: read.revision)
            bench.check(.conflict, "the second") { _ = try bench.other.replace(second, ifRevision: read.revision) }
            bench.check(.conflict, "one ahead") { _ = try bench.other.replace(second, ifRevision: 3) }
            try bench.check(has: [first], "what was refused changed something")
            second.revision = try bench.other.replace(second, ifRevision: first.revision)
            try bench.check(has: [second], "after it was read again")
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `replaces no key that is not there`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            let key = try bench.key()
            for revision in [0, 1] {
                bench.check(.conflict, "no key") { _ = try bench.one.replace(key, ifRevision: revision) }
            }
            _ = try bench.created(key)
            bench.check(.conflict, "another name") {
                _ = try bench.one.replace(bench.key(name: "else"), ifRevision: 1)
            }
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `frees the name of a key that is removed`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            var key = try bench.created(bench.key())
            let old = key
            key.revision = try bench.one.replace(key, ifRevision: 1)
            bench.check(.conflict, "an old revision") { try bench.other.remove(old) }
            try bench.check(has: [key], "what was refused changed something")
            try bench.other.remove(key)
            try bench.check(has: [], "after its removal")
            let next = try bench.created(bench.key(2))
            // Gone already; the name is the next one's by now.
            try bench.one.remove(key)
            try bench.check(has: [next], "after a second removal")
            bench.check(.taken, "the name") { _ = try bench.one.create(bench.key(3)) }
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `counts changes, and no use`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            var seen = try bench.other.revision()
            func check(_ changes: Bool, _ text: String) throws {
                let now = try bench.other.revision()
                bench.check(changes ? now > seen : now == seen, "\(text): \(seen) became \(now)")
                seen = now
            }
            var key = try bench.created(bench.key())
            try check(true, "a new key")
            key.revision = try bench.one.replace(key, ifRevision: key.revision)
            try check(true, "a change")
            try bench.one.touch(key.id, at: bench.start)
            try check(false, "a use")
            bench.check(.conflict, "an old revision") { _ = try bench.one.replace(key, ifRevision: 1) }
            bench.check(.taken, "the name") { _ = try bench.one.create(bench.key(2)) }
            try check(false, "what was refused")
            try bench.one.remove(key)
            try check(true, "a removal")
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `writes a use down once a minute, and keeps it through changes`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            var key = try bench.created(bench.key())
            let other = try bench.created(bench.key(2, name: "other"))
            for (at, kept) in [(0, 0), (59_999, 0), (-5, 0), (60_000, 60_000), (119_999, 60_000)] as [(Int64, Int64)] {
                try bench.one.touch(key.id, at: bench.start + at)
                key.lastUsedAt = bench.start + kept
                try bench.check(has: [key, other], "a use at \(at)")
            }
            var changed = key
            changed.lastUsedAt = nil
            key.revision = try bench.one.replace(changed, ifRevision: key.revision)
            try bench.check(has: [key, other], "a change")
            try bench.one.touch("QPZZZZZZZZZZZZZZZZZZ", at: bench.start)
            try bench.check(has: [key, other], "a use of no key")
        }
    }

    @Test(arguments: AccessKeySubject.tested)
    func `hides no key behind one that cannot be read`(subject: AccessKeySubject) async throws {
        try await keep(subject) { bench in
            let spoilt = try bench.created(bench.key())
            let sound = try bench.created(bench.key(2, name: "sound"))
            try bench.stage.damage(spoilt.id)
            let found = try bench.other.contents()
            bench.check(found == StoredAccessKeys(keys: [sound], unreadable: [spoilt.id]), "\(found) is found")
            bench.check(try bench.other.keys() == [sound], "keys that can be read")
        }
    }

    // Not over moto, which looks at a condition and writes in two steps without a lock; DynamoDB promises that one wins.
    @Test func `lets one of many win who make a key of one name at one time`() async throws {
        try await keep(.sqlite) { bench in
            let keys = try (1...8).map { try bench.key(UInt8($0)) }
            let won = Mutex(0)
            let lost = Mutex(0)
            DispatchQueue.concurrentPerform(iterations: keys.count) { number in
                do throws(AccessKeyStoreError) {
                    _ = try (number.isMultiple(of: 2) ? bench.one : bench.other).create(keys[number])
                    won.withLock { $0 += 1 }
                } catch {
                    if error == .taken { lost.withLock { $0 += 1 } }
                }
            }
            bench.check(won.withLock { $0 } == 1, "\(won.withLock { $0 }) keys were made")
            bench.check(lost.withLock { $0 } == 7, "\(lost.withLock { $0 }) were told that the name is taken")
        }
    }
}
