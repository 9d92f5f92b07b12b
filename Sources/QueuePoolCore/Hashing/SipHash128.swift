// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// SipHash-2-4 with 128 bits of output: the key of the deduplication window. Source: Aumasson and Bernstein, "SipHash:
// a fast short-input PRF" (2012), and the authors' reference code for the 128-bit variant. A false duplicate would be
// a lost message, so the key must be wide enough for billions of ids and must not be open to crafted collisions:
// each shard draws a secret of its own.

/// A 128-bit digest.
public struct Hash128: Hashable, Sendable {
    public let high: UInt64
    public let low: UInt64

    public init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    // The digest is uniform already: half of it is as good a table hash as any.
    public func hash(into hasher: inout Hasher) { hasher.combine(low) }
}

/// SipHash-2-4-128 under a secret key.
public struct SipHash128: Sendable {
    public let key0: UInt64
    public let key1: UInt64

    public init(key0: UInt64, key1: UInt64) {
        self.key0 = key0
        self.key1 = key1
    }

    /// The digest of `first`, a length byte of it, and `second`: ("ab", "c") and ("a", "bc") differ.
    public func hash(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer) -> Hash128 {
        withUnsafeTemporaryAllocation(byteCount: first.count + second.count + 1, alignment: 8) { scratch in
            scratch[0] = UInt8(truncatingIfNeeded: first.count)
            UnsafeMutableRawBufferPointer(rebasing: scratch[1...]).copyMemory(from: first)
            UnsafeMutableRawBufferPointer(rebasing: scratch[(1 + first.count)...]).copyMemory(from: second)
            return hash(UnsafeRawBufferPointer(scratch))
        }
    }

    public func hash(_ bytes: UnsafeRawBufferPointer) -> Hash128 {
        var state = State(
            v0: key0 ^ 0x736f_6d65_7073_6575, v1: key1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            v2: key0 ^ 0x6c79_6765_6e65_7261, v3: key1 ^ 0x7465_6462_7974_6573)
        var offset = 0
        while offset + 8 <= bytes.count {
            state.absorb(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self)))
            offset += 8
        }
        var last = UInt64(truncatingIfNeeded: bytes.count) << 56
        var shift: UInt64 = 0
        while offset < bytes.count {
            last |= UInt64(bytes[offset]) << shift
            shift += 8
            offset += 1
        }
        state.absorb(last)
        state.v2 ^= 0xee
        let low = state.finish()
        state.v1 ^= 0xdd
        let high = state.finish()
        return Hash128(high: high, low: low)
    }

    /// SipHash-2-4 of four words with 64 bits of output: the code of a message that is no longer and no shorter.
    public func code(_ a: UInt64, _ b: UInt64, _ c: UInt64, _ d: UInt64) -> UInt64 {
        var state = State(
            v0: key0 ^ 0x736f_6d65_7073_6575, v1: key1 ^ 0x646f_7261_6e64_6f6d,
            v2: key0 ^ 0x6c79_6765_6e65_7261, v3: key1 ^ 0x7465_6462_7974_6573)
        state.absorb(a)
        state.absorb(b)
        state.absorb(c)
        state.absorb(d)
        state.absorb(32 << 56)
        state.v2 ^= 0xff
        return state.finish()
    }

    private struct State {
        var v0: UInt64
        var v1: UInt64
        var v2: UInt64
        var v3: UInt64

        mutating func absorb(_ word: UInt64) {
            v3 ^= word
            round()
            round()
            v0 ^= word
        }

        mutating func finish() -> UInt64 {
            round()
            round()
            round()
            round()
            return v0 ^ v1 ^ v2 ^ v3
        }

        mutating func round() {
            v0 = v0 &+ v1
            v2 = v2 &+ v3
            v1 = ((v1 << 13) | (v1 >> 51)) ^ v0
            v3 = ((v3 << 16) | (v3 >> 48)) ^ v2
            v0 = (v0 << 32) | (v0 >> 32)
            v2 = v2 &+ v1
            v0 = v0 &+ v3
            v1 = ((v1 << 17) | (v1 >> 47)) ^ v2
            v3 = ((v3 << 21) | (v3 >> 43)) ^ v0
            v2 = (v2 << 32) | (v2 >> 32)
        }
    }
}
