// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import QueuePoolTestSupport
import Testing

@Suite struct `MD5s side by side` {
    /// Whether the digests of all texts are those that the library computes of each.
    private func agree(_ texts: [[UInt8]]) -> Bool {
        // One buffer, so that the texts lie at odd places as they do in a request.
        let all: [UInt8] = texts.reduce([0x22]) { $0 + $1 + [0x22] }
        return all.withUnsafeBytes { all in
            var start = 1
            let pieces = texts.map { text in
                defer { start += text.count + 1 }
                return UnsafeRawBufferPointer(rebasing: all[start..<(start + text.count)])
            }
            return MD5Lanes.sideBySide(pieces) == pieces.map { MD5Digest(of: $0) }
        }
    }

    /// Bytes of which no two that are near are the same.
    private func text(of count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: ($0 + count) * 167) } }

    @Test func `are those of the RFC`() {
        let texts = ["", "a", "abc", "message digest", "abcdefghijklmnopqrstuvwxyz"].map { Array($0.utf8) }
        let digests = texts.withPieces { MD5Lanes.sideBySide($0).map(\.hex) }
        #expect(
            digests == [
                "d41d8cd98f00b204e9800998ecf8427e", "0cc175b9c0f1b6a831c399e269772661",
                "900150983cd24fb0d6963f7d28e17f72", "f96b697d7cb7938d525a2f31aaf161d0",
                "c3fcd3d76192e4007dfb496cca67e13b",
            ])
    }

    @Test func `are right for every length about the ends of blocks`() {
        // Every length comes in several lanes.
        for base in stride(from: 0, through: 300, by: 3) {
            #expect(agree((0..<8).map { text(of: base + $0) }), "from \(base) bytes")
        }
    }

    @Test func `are right where texts side by side end in different blocks, at their borders`() {
        let borders = [0, 55, 56, 57, 63, 64, 65, 119, 120, 121, 127, 128, 129, 183, 184]
        for first in borders.indices {
            for step in [1, 2, 4, 7] {
                // Eight are one pass; of ten, two are left over; eleven are two passes.
                for count in [3, 8, 10, 11] {
                    let lengths = (0..<count).map { borders[(first + $0 * step) % borders.count] }
                    #expect(agree(lengths.map { text(of: $0) }), "\(lengths)")
                }
            }
        }
    }

    @Test func `are right for any number of texts of any lengths`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        for count in 0...21 {
            for bytesMax in [1, 70, 1_100] {
                let texts = (0..<count).map { _ in
                    (0..<Int.random(in: 0...bytesMax, using: &random)).map { _ in
                        UInt8.random(in: 0...255, using: &random)
                    }
                }
                #expect(agree(texts), "\(count) texts, seed \(seed)")
            }
        }
    }

    @Test func `are right where one text is far longer than the others`() {
        #expect(agree([[1], [2], [UInt8](repeating: 3, count: 40_000), [4]]))
    }
}

extension [[UInt8]] {
    /// Calls `read` with pieces that lie side by side.
    fileprivate func withPieces<R>(_ read: ([UnsafeRawBufferPointer]) -> R) -> R {
        [UInt8](joined()).withUnsafeBytes { all in
            var start = 0
            return read(
                map { text in
                    defer { start += text.count }
                    return UnsafeRawBufferPointer(rebasing: all[start..<(start + text.count)])
                })
        }
    }
}
