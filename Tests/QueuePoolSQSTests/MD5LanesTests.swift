// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolDigest
import QueuePoolCore
import QueuePoolSQS
import QueuePoolTestSupport
import Testing

@Suite struct `MD5s side by side` {
    /// Whether the digests of all texts are those that the library computes of each.
    private func agree(_ texts: [[UInt8]]) -> Bool {
        texts.withPieces { MD5Lanes.sideBySide($0) == $0.map { MD5Digest(of: $0) } }
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
                // With the widest vectors all are one pass; otherwise of ten, two are left over, and eleven are two passes.
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
        for count in 0...35 {
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

/// The functions for all CPUs, of which a program uses one.
@Suite struct `MD5s side by side, with each kind of vectors` {
    private typealias Function = (UnsafePointer<qp_md5_text>?, Int, UnsafeMutablePointer<qp_md5_digest>?) -> Void

    private let borders = [0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 121, 127, 128, 129, 183, 184, 1_023, 1_024, 1_025]

    /// The functions that this CPU can run.
    private var functions: [(name: String, function: Function)] {
        var out: [(String, Function)] = [("chosen", qp_md5_lanes), ("baseline", qp_md5_lanes_baseline)]
        if qp_md5_has_avx2() != 0 { out.append(("AVX2", qp_md5_lanes_avx2)) }
        return out
    }

    /// Expects of each function the digests that the library computes.
    private func check(_ texts: [[UInt8]], _ comment: @autoclosure () -> String) {
        texts.withPieces { pieces in
            let expected = pieces.map { MD5Digest(of: $0) }
            let given = pieces.map { qp_md5_text(bytes: $0.baseAddress, count: $0.count) }
            for (name, function) in functions {
                // One more, which must stay as it is.
                let untouched = qp_md5_digest(low: 1, high: 2)
                var digests = [qp_md5_digest](repeating: untouched, count: texts.count + 1)
                function(given, given.count, &digests)
                let found = digests.map { MD5Digest(low: $0.low, high: $0.high) }
                #expect(found == expected + [MD5Digest(low: 1, high: 2)], "\(name), \(comment())")
            }
        }
    }

    private func text(of count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: ($0 + count) * 167) } }

    @Test func `are right for every count of texts that are as long as each other`() {
        for count in 1...16 {
            for bytes in borders {
                let texts = (0..<count).map { Array(([UInt8($0)] + text(of: bytes)).prefix(bytes)) }
                check(texts, "\(count) texts of \(bytes) bytes")
            }
        }
    }

    @Test func `are right where texts end in different blocks`() {
        for count in 1...17 {
            for first in borders.indices {
                let lengths = (0..<count).map { borders[(first + $0 * 4) % borders.count] }
                check(lengths.map { text(of: $0) }, "\(lengths)")
            }
        }
    }

    @Test func `are right for random texts`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SplitMix64(seed: seed)
        for count in (0...16) + [17, 24, 32, 33] {
            for bytesMax in [1, 70, 300, 1_100] {
                let texts = (0..<count).map { _ in
                    (0..<Int.random(in: 0...bytesMax, using: &random)).map { _ in
                        UInt8.random(in: 0...255, using: &random)
                    }
                }
                check(texts, "\(count) texts, seed \(seed)")
            }
        }
    }

    @Test func `take an empty text that has no address`() {
        let empty = [qp_md5_text](repeating: qp_md5_text(bytes: nil, count: 0), count: 3)
        for (name, function) in functions {
            var digests = [qp_md5_digest](repeating: qp_md5_digest(), count: 3)
            function(empty, 3, &digests)
            let found = digests.map { MD5Digest(low: $0.low, high: $0.high).hex }
            #expect(found == [String](repeating: "d41d8cd98f00b204e9800998ecf8427e", count: 3), "\(name)")
        }
    }
}

extension [[UInt8]] {
    /// Calls `read` with pieces of one buffer, so that the texts lie at odd places as they do in a request.
    fileprivate func withPieces<R>(_ read: ([UnsafeRawBufferPointer]) -> R) -> R {
        let all: [UInt8] = reduce([0x22]) { $0 + $1 + [0x22] }
        return all.withUnsafeBytes { all in
            var start = 1
            return read(
                map { text in
                    defer { start += text.count + 1 }
                    return UnsafeRawBufferPointer(rebasing: all[start..<(start + text.count)])
                })
        }
    }
}
