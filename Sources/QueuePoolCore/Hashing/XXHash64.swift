// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// XXH64, seed 0: the hash behind the slot rule. Source: "xxHash fast digest algorithm", specification 0.1.1
// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md). Chosen because it is published, has an
// implementation in every language, and takes a few nanoseconds for an id. The slot rule depends on it for ever.

/// The XXH64 digest (seed 0) of some bytes.
public enum XXHash64 {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    public static func hash(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { hash(UnsafeRawBufferPointer($0)) }
    }

    public static func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        var offset = 0
        var digest: UInt64
        if bytes.count >= 32 {
            var lanes: (UInt64, UInt64, UInt64, UInt64) = (prime1 &+ prime2, prime2, 0, 0 &- prime1)
            repeat {
                lanes.0 = round(lanes.0, load64(bytes, offset))
                lanes.1 = round(lanes.1, load64(bytes, offset + 8))
                lanes.2 = round(lanes.2, load64(bytes, offset + 16))
                lanes.3 = round(lanes.3, load64(bytes, offset + 24))
                offset += 32
            } while offset + 32 <= bytes.count
            digest = rotate(lanes.0, 1) &+ rotate(lanes.1, 7) &+ rotate(lanes.2, 12) &+ rotate(lanes.3, 18)
            digest = merge(merge(merge(merge(digest, lanes.0), lanes.1), lanes.2), lanes.3)
        } else {
            digest = prime5
        }
        digest = digest &+ UInt64(bytes.count)
        return avalanche(tail(digest, bytes, offset))
    }

    private static func tail(_ start: UInt64, _ bytes: UnsafeRawBufferPointer, _ from: Int) -> UInt64 {
        var digest = start
        var offset = from
        while offset + 8 <= bytes.count {
            digest = rotate(digest ^ round(0, load64(bytes, offset)), 27) &* prime1 &+ prime4
            offset += 8
        }
        if offset + 4 <= bytes.count {
            let lane = UInt64(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
            digest = rotate(digest ^ (lane &* prime1), 23) &* prime2 &+ prime3
            offset += 4
        }
        while offset < bytes.count {
            digest = rotate(digest ^ (UInt64(bytes[offset]) &* prime5), 11) &* prime1
            offset += 1
        }
        return digest
    }

    private static func avalanche(_ value: UInt64) -> UInt64 {
        var digest = value
        digest = (digest ^ (digest >> 33)) &* prime2
        digest = (digest ^ (digest >> 29)) &* prime3
        return digest ^ (digest >> 32)
    }

    private static func load64(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> UInt64 {
        UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
    }

    private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotate(lane &+ (input &* prime2), 31) &* prime1
    }

    private static func merge(_ digest: UInt64, _ lane: UInt64) -> UInt64 {
        (digest ^ round(0, lane)) &* prime1 &+ prime4
    }

    private static func rotate(_ value: UInt64, _ by: UInt64) -> UInt64 { (value << by) | (value >> (64 &- by)) }
}
