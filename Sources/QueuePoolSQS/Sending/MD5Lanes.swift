// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// The MD5s of several texts at once. Each step of MD5 waits for the one before, so a core that computes one digest is idle
// for most of the time, and no implementation of one digest can change that. Eight digests side by side, one in each lane
// of a vector, take hardly longer than one. No library that we use has this; a single digest is left to one. Source:
// RFC 1321; the idea is that of Intel's "multi-buffer" hashing (Gopal et al., "Processing Multiple Buffers in Parallel",
// 2010).

/// Computes MD5s of several texts side by side.
package enum MD5Lanes {
    /// Lanes of one pass.
    package static let width = 8
    /// With so few texts, or so few blocks in all that most lanes would be idle, one after the other is as fast.
    private static let worthwhile = 3

    private typealias Lanes = SIMD8<UInt32>
    private typealias Words = UnsafeMutableBufferPointer<Lanes>

    #if DEBUG
        /// Without the optimizer each operation on a vector is a call, and a library is a hundred times as fast.
        private static let isFast = false
    #else
        private static let isFast = true
    #endif

    /// The digest of each text, in order.
    package static func digests(of texts: [UnsafeRawBufferPointer]) -> [MD5Digest] {
        isFast ? sideBySide(texts) : texts.map { MD5Digest(of: $0) }
    }

    /// The same, also where it is slow.
    package static func sideBySide(_ texts: [UnsafeRawBufferPointer]) -> [MD5Digest] {
        var out: [MD5Digest] = []
        out.reserveCapacity(texts.count)
        var start = 0
        while start < texts.count {
            let some = texts[start..<min(start + width, texts.count)]
            start += some.count
            let longest = some.reduce(0) { max($0, blocks($1.count)) }
            if some.count < worthwhile || some.reduce(0, { $0 + blocks($1.count) }) < worthwhile * longest {
                for text in some { out.append(MD5Digest(of: text)) }
            } else {
                append(some, longest, to: &out)
            }
        }
        return out
    }

    /// Blocks of 64 bytes that a text has with its padding: a byte that ends it, and eight of length.
    private static func blocks(_ bytes: Int) -> Int { (bytes + 9 + 63) / 64 }

    private static func append(_ texts: ArraySlice<UnsafeRawBufferPointer>, _ longest: Int, to out: inout [MD5Digest]) {
        var state = (
            Lanes(repeating: 0x6745_2301), Lanes(repeating: 0xEFCD_AB89), Lanes(repeating: 0x98BA_DCFE),
            Lanes(repeating: 0x1032_5476)
        )
        withUnsafeTemporaryAllocation(of: Lanes.self, capacity: 16) { words in
            words.initialize(repeating: Lanes(repeating: 0))
            withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { last in
                for block in 0..<longest {
                    var lengths = Lanes(repeating: 0)
                    for (lane, text) in texts.enumerated() {
                        lengths[lane] = UInt32(truncatingIfNeeded: blocks(text.count))
                        if (block + 1) * 64 <= text.count {
                            put(UnsafeRawBufferPointer(rebasing: text[(block * 64)..<(block * 64 + 64)]), lane, words)
                        } else if block < blocks(text.count) {
                            pad(text, block, last)
                            put(UnsafeRawBufferPointer(last), lane, words)
                        }
                    }
                    // A text that has ended keeps its digest.
                    let goesOn = lengths .> Lanes(repeating: UInt32(truncatingIfNeeded: block))
                    let next = after(state, words)
                    state.0.replace(with: next.0, where: goesOn)
                    state.1.replace(with: next.1, where: goesOn)
                    state.2.replace(with: next.2, where: goesOn)
                    state.3.replace(with: next.3, where: goesOn)
                }
            }
        }
        for lane in 0..<texts.count {
            out.append(
                MD5Digest(
                    low: UInt64(state.0[lane]) | UInt64(state.1[lane]) << 32,
                    high: UInt64(state.2[lane]) | UInt64(state.3[lane]) << 32))
        }
    }

    /// Puts a block's sixteen words into a lane.
    @inline(__always)
    private static func put(_ block: UnsafeRawBufferPointer, _ lane: Int, _ words: Words) {
        let out = UnsafeMutableRawBufferPointer(words)
        for word in 0..<16 {
            out.storeBytes(
                of: UInt32(littleEndian: block.loadUnaligned(fromByteOffset: word &* 4, as: UInt32.self)),
                toByteOffset: word &* MemoryLayout<Lanes>.stride &+ lane &* 4, as: UInt32.self)
        }
    }

    /// Makes one of the blocks in which a text's padding is.
    private static func pad(_ text: UnsafeRawBufferPointer, _ block: Int, _ out: UnsafeMutableRawBufferPointer) {
        let start = min(block * 64, text.count)
        let rest = UnsafeRawBufferPointer(rebasing: text[start...])
        out.initializeMemory(as: UInt8.self, repeating: 0)
        out.copyMemory(from: rest)
        if block * 64 <= text.count { out[rest.count] = 0x80 }
        guard block + 1 == blocks(text.count) else { return }
        out.storeBytes(of: (UInt64(text.count) &* 8).littleEndian, toByteOffset: 56, as: UInt64.self)
    }

    /// The state after one block.
    @inline(__always)
    private static func after(
        _ state: (Lanes, Lanes, Lanes, Lanes), _ words: Words
    ) -> (Lanes, Lanes, Lanes, Lanes) {
        var (a, b, c, d) = state
        for step in stride(from: 0, to: 16, by: 4) {
            turn(&a, b, d ^ (b & (c ^ d)), words[step], step, 7)
            turn(&d, a, c ^ (a & (b ^ c)), words[step &+ 1], step &+ 1, 12)
            turn(&c, d, b ^ (d & (a ^ b)), words[step &+ 2], step &+ 2, 17)
            turn(&b, c, a ^ (c & (d ^ a)), words[step &+ 3], step &+ 3, 22)
        }
        for step in stride(from: 16, to: 32, by: 4) {
            turn(&a, b, (c & ~d) &+ (b & d), words[(5 &* step &+ 1) & 15], step, 5)
            turn(&d, a, (b & ~c) &+ (a & c), words[(5 &* step &+ 6) & 15], step &+ 1, 9)
            turn(&c, d, (a & ~b) &+ (d & b), words[(5 &* step &+ 11) & 15], step &+ 2, 14)
            turn(&b, c, (d & ~a) &+ (c & a), words[(5 &* step &+ 16) & 15], step &+ 3, 20)
        }
        for step in stride(from: 32, to: 48, by: 4) {
            turn(&a, b, b ^ (c ^ d), words[(3 &* step &+ 5) & 15], step, 4)
            turn(&d, a, a ^ (b ^ c), words[(3 &* step &+ 8) & 15], step &+ 1, 11)
            turn(&c, d, d ^ (a ^ b), words[(3 &* step &+ 11) & 15], step &+ 2, 16)
            turn(&b, c, c ^ (d ^ a), words[(3 &* step &+ 14) & 15], step &+ 3, 23)
        }
        for step in stride(from: 48, to: 64, by: 4) {
            turn(&a, b, c ^ (b | ~d), words[(7 &* step) & 15], step, 6)
            turn(&d, a, b ^ (a | ~c), words[(7 &* step &+ 7) & 15], step &+ 1, 10)
            turn(&c, d, a ^ (d | ~b), words[(7 &* step &+ 14) & 15], step &+ 2, 15)
            turn(&b, c, d ^ (c | ~a), words[(7 &* step &+ 21) & 15], step &+ 3, 21)
        }
        return (state.0 &+ a, state.1 &+ b, state.2 &+ c, state.3 &+ d)
    }

    @inline(__always)
    private static func turn(
        _ a: inout Lanes, _ b: Lanes, _ mixed: Lanes, _ word: Lanes, _ step: Int, _ bits: UInt32
    ) {
        // What the step before has to do with comes last: the rest is added while that is awaited.
        let sum = (a &+ (word &+ Lanes(repeating: sines[step]))) &+ mixed
        // An "or" would do as well, but the compiler knows it for a rotation, which it does lane by lane.
        a = b &+ ((sum &<< Lanes(repeating: bits)) &+ (sum &>> Lanes(repeating: 32 &- bits)))
    }

    /// The whole part of 2^32 times the sine of each step's number, from 1, without its sign.
    private static let sines: InlineArray<64, UInt32> = [
        0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
        0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
        0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
        0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
        0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
        0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
        0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
        0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
    ]
}
