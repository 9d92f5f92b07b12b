// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// What happened in a run, kept so cheaply that every run keeps it: the latest events as small structs that become text
// only when somebody asks, and a digest of all events. Two runs of one seed have the same digest, or something in them
// depends on more than the seed.

/// The latest events of a run and a digest of all of them.
package struct Trace: Sendable {
    /// One event. Its numbers mean what `what` says; no content of a message belongs here.
    package struct Line: Sendable, CustomStringConvertible {
        package let time: Timestamp
        package let what: StaticString
        package let a: Int
        package let b: Int
        package let c: Int
        /// How many of the numbers were given.
        package let numbers: Int

        package var description: String {
            let given = [a, b, c].prefix(numbers).map { " \($0)" }.joined()
            return "\(time.milliseconds) \(what)\(given)"
        }
    }

    /// How many events there were.
    package private(set) var count = 0
    /// Of all events: their times, texts and numbers, in their order. The same in every process and on every machine.
    package private(set) var digest: UInt64 = 0x9E37_79B9_7F4A_7C15

    private let capacity: Int
    private var ring: [Line] = []

    /// - Parameter capacity: how many of the latest events are kept; with 0 there is the digest only.
    package init(capacity: Int) {
        self.capacity = max(0, capacity)
    }

    /// The kept events, oldest first.
    package var lines: [Line] {
        guard ring.count == capacity, capacity > 0 else { return ring }
        let oldest = count % capacity
        return Array(ring[oldest...] + ring[..<oldest])
    }

    /// The latest events as text, a line each.
    package func text(last lineCount: Int = .max) -> String {
        lines.suffix(max(0, lineCount)).map(\.description).joined(separator: "\n")
    }

    package mutating func note(_ what: StaticString, now: Timestamp) { add(what, 0, 0, 0, 0, now) }

    package mutating func note(_ what: StaticString, _ a: Int, now: Timestamp) { add(what, a, 0, 0, 1, now) }

    package mutating func note(_ what: StaticString, _ a: Int, _ b: Int, now: Timestamp) { add(what, a, b, 0, 2, now) }

    package mutating func note(_ what: StaticString, _ a: Int, _ b: Int, _ c: Int, now: Timestamp) {
        add(what, a, b, c, 3, now)
    }

    private mutating func add(_ what: StaticString, _ a: Int, _ b: Int, _ c: Int, _ numbers: Int, _ now: Timestamp) {
        // The text's bytes, not its address, which another process has elsewhere; its length keeps texts apart that
        // differ in zeros at their ends.
        var state = what.withUTF8Buffer { bytes in
            let bytes = UnsafeRawBufferPointer(bytes)
            var state = Trace.mix(digest, UInt64(bytes.count) << 2 | UInt64(numbers))
            var offset = 0
            while offset + 8 <= bytes.count {
                state = Trace.mix(
                    state, UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
                offset += 8
            }
            var rest: UInt64 = 0
            while offset < bytes.count {
                rest = rest << 8 | UInt64(bytes[offset])
                offset += 1
            }
            return Trace.mix(state, rest)
        }
        state = Trace.mix(state, UInt64(bitPattern: now.milliseconds))
        if numbers > 0 { state = Trace.mix(state, UInt64(bitPattern: Int64(a))) }
        if numbers > 1 { state = Trace.mix(state, UInt64(bitPattern: Int64(b))) }
        if numbers > 2 { state = Trace.mix(state, UInt64(bitPattern: Int64(c))) }
        digest = state

        if capacity > 0 {
            let line = Line(time: now, what: what, a: a, b: b, c: c, numbers: numbers)
            if ring.count < capacity { ring.append(line) } else { ring[count % capacity] = line }
        }
        count += 1
    }

    /// One step of the digest; the mixing function is the one of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
    private static func mix(_ digest: UInt64, _ word: UInt64) -> UInt64 {
        var mixed = (digest ^ word) &+ 0x9E37_79B9_7F4A_7C15
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
