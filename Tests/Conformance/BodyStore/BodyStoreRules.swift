// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

/// What every store of bodies keeps.
enum BodyRules {
    /// A body is read as it was stored, whatever and however large it is.
    @Sendable static func readBack(_ bench: BodyBench) {
        let everyByte = (0..<256).map { UInt8($0) }
        let bodies: [[UInt8]] = [
            [], [0], [0xFF], everyByte, Array("a\r\nb\n\0é".utf8),
            (0..<(5 << 20)).map { UInt8(truncatingIfNeeded: $0) },
        ]
        let stored = bodies.map { (key: bench.one.newKey(), body: $0) }
        for (key, body) in stored { bench.put(body, key) }
        for (key, body) in stored { bench.check(key, is: body) }
    }

    /// A body that was never stored is missing, and so is one that was removed; no other goes with it.
    @Sendable static func removal(_ bench: BodyBench) {
        let (key, neighbour) = (bench.one.newKey(), bench.one.newKey())
        bench.checkMissing(key, "a body that was never stored")
        bench.put([1], key)
        bench.put([2], neighbour)
        bench.remove(key)
        bench.checkMissing(key, "a body that was removed")
        bench.remove(key)
        bench.checkMissing(key, "a body that was removed twice")
        bench.remove(bench.one.newKey())
        bench.check(neighbour, is: [2])
    }

    /// The same bytes under the same key again, because the first answer was lost, are one body.
    @Sendable static func again(_ bench: BodyBench) {
        let key = bench.one.newKey()
        bench.put([1, 2, 3], key)
        bench.put([1, 2, 3], key)
        bench.check(key, is: [1, 2, 3])
        bench.remove(key)
        bench.checkMissing(key, "a body that was stored twice and removed")
    }

    /// A body that is larger than the reader's limit is refused with its size, one that just fits is not.
    @Sendable static func limits(_ bench: BodyBench) {
        for count in [1, 300_000] {
            let (key, body) = (bench.one.newKey(), [UInt8](repeating: 0x61, count: count))
            bench.put(body, key)
            let fits = bench.get(key, bytesMax: count)
            bench.check(fits == .success(body), "\(count) bytes, as many allowed: \(BodyBench.shown(fits))")
            let larger = bench.get(key, bytesMax: count - 1)
            bench.check(
                larger == .failure(.tooLarge(bytes: count, allowed: count - 1)),
                "\(count) bytes, one less allowed: \(BodyBench.shown(larger))")
            bench.check(key, is: body)
        }
        let empty = bench.one.newKey()
        bench.put([], empty)
        let none = bench.get(empty, bytesMax: 0)
        bench.check(none == .success([]), "no bytes, none allowed: \(BodyBench.shown(none))")
        let missing = bench.get(bench.one.newKey(), bytesMax: 0)
        bench.check(missing == .failure(.missing), "no body, no bytes allowed: \(BodyBench.shown(missing))")
    }

    /// What says which body is to go may be made up by anybody: only bodies of the store's own folder are touched.
    @Sendable static func foreignKeys(_ bench: BodyBench) {
        let key = bench.one.newKey()
        bench.put([1], key)
        for foreign in ["elsewhere/" + key, String(key.dropFirst()), "", "/" + key] { bench.checkForeign(foreign) }
        bench.check(key, is: [1])
    }

    /// No key is given twice, by whomever; each can stand in a pointer.
    @Sendable static func keys(_ bench: BodyBench) {
        var keys: Set<String> = []
        for store in [bench.one, bench.other] { for _ in 0..<1_000 { keys.insert(store.newKey()) } }
        bench.check(keys.count == 2_000, "\(keys.count) keys of 2000 are different")
        bench.check(keys.allSatisfy { (1...1_024).contains($0.utf8.count) }, "a key has no length of a key")
        bench.check(bench.one.bucket == bench.other.bucket && !bench.one.bucket.isEmpty, "one store has two names")
    }

    /// Each call ends once, and never before it returned.
    @Sendable static func endings(_ bench: BodyBench) {
        let (key, missing) = (bench.one.newKey(), bench.one.newKey())
        let (stored, read, tooLarge, notThere) = (
            Ending<Void>(), Ending<[UInt8]>(), Ending<[UInt8]>(), Ending<[UInt8]>()
        )
        let (removed, removedAgain) = (Ending<Void>(), Ending<Void>())
        bench.one.put([1, 2], key: key) { stored.end($0) }
        _ = stored.wait()
        bench.one.get(key: key, bytesMax: 2) { read.end($0) }
        bench.one.get(key: key, bytesMax: 1) { tooLarge.end($0) }
        bench.one.get(key: missing, bytesMax: 1) { notThere.end($0) }
        for ending in [read, tooLarge, notThere] { _ = ending.wait() }
        bench.one.remove(key: key) { removed.end($0) }
        bench.one.remove(key: missing) { removedAgain.end($0) }
        for ending in [removed, removedAgain] { _ = ending.wait() }
        // Whatever else was to come for those has come when later calls have ended.
        bench.checkMissing(key, "a body that was removed")
        bench.checkMissing(missing, "a body that was never stored")
        let counts = [stored, removed, removedAgain].map(\.count) + [read, tooLarge, notThere].map(\.count)
        bench.check(counts.allSatisfy { $0 == 1 }, "calls ended \(counts) times")
        // This thread makes calls and waits: what ends here ends within a call.
        let wereHere = [stored, removed, removedAgain].map(\.wasHere) + [read, tooLarge, notThere].map(\.wasHere)
        bench.check(!wereHere.contains(true), "calls ended within themselves: \(wereHere)")
    }

    /// Many calls at one time end each with its own answer.
    @Sendable static func manyAtOnce(_ bench: BodyBench) {
        let stored = (0..<64).map { (key: bench.one.newKey(), body: [UInt8](repeating: UInt8($0), count: $0 * 100)) }
        let writes = stored.map { key, body in
            let ending = Ending<Void>()
            bench.one.put(body, key: key) { ending.end($0) }
            return ending
        }
        for write in writes {
            if case .success? = write.wait() { continue }
            bench.check(false, "one of many writes at one time failed")
        }
        let reads = stored.map { key, _ in
            let ending = Ending<[UInt8]>()
            bench.other.get(key: key, bytesMax: 10_000) { ending.end($0) }
            return ending
        }
        for (read, written) in zip(reads, stored) {
            bench.check(read.wait() == .success(written.body), "one of many reads at one time gave another body")
        }
    }
}
