// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolDigest
public import QueuePoolCore

// The MD5s of several texts at once. Each step of MD5 waits for the one before, so a core that computes one digest is idle
// for most of the time, and no implementation of one digest can change that. Eight digests side by side, one in each lane
// of a vector, take little longer than one. No library that we use has this; a single digest is left to one. Source:
// RFC 1321; the idea is that of Intel's "multi-buffer" hashing (Gopal et al., "Processing Multiple Buffers in Parallel",
// 2010).

/// Computes MD5s of several texts side by side.
public enum MD5Lanes {
    /// Digests one by one that take longer than one pass of all lanes. A pass takes 1.4 to 1.7 times as long as its longest
    /// text alone.
    private static let worthwhile = 2

    #if DEBUG
        /// Without the optimizer a pass takes as long as seven digests by a library.
        private static let isFast = false
    #else
        private static let isFast = true
    #endif

    /// The digest of each text, in order.
    public static func digests(of texts: [UnsafeRawBufferPointer]) -> [MD5Digest] {
        isFast ? sideBySide(texts) : texts.map { MD5Digest(of: $0) }
    }

    /// The same, also where it is slow.
    public static func sideBySide(_ texts: [UnsafeRawBufferPointer]) -> [MD5Digest] {
        var out: [MD5Digest] = []
        out.reserveCapacity(texts.count)
        let width = qp_md5_lanes_width()
        var start = 0
        while start < texts.count {
            let some = texts[start..<min(start + width, texts.count)]
            start += some.count
            let longest = some.reduce(0) { max($0, blocks($1.count)) }
            if some.reduce(0, { $0 + blocks($1.count) }) < worthwhile * longest {
                for text in some { out.append(MD5Digest(of: text)) }
            } else {
                append(some, to: &out)
            }
        }
        return out
    }

    /// Blocks of 64 bytes that a text has with its padding: a byte that ends it, and eight of length.
    private static func blocks(_ bytes: Int) -> Int { (bytes + 9 + 63) / 64 }

    private static func append(_ texts: ArraySlice<UnsafeRawBufferPointer>, to out: inout [MD5Digest]) {
        withUnsafeTemporaryAllocation(of: qp_md5_text.self, capacity: texts.count) { pieces in
            withUnsafeTemporaryAllocation(of: qp_md5_digest.self, capacity: texts.count) { digests in
                _ = pieces.initialize(
                    fromContentsOf: texts.lazy.map { qp_md5_text(bytes: $0.baseAddress, count: $0.count) })
                digests.initialize(repeating: qp_md5_digest())
                qp_md5_lanes(pieces.baseAddress, texts.count, digests.baseAddress)
                for digest in digests { out.append(MD5Digest(low: digest.low, high: digest.high)) }
            }
        }
    }
}
