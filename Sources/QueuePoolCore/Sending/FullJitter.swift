// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// How long to wait before another try. Guarantees: never longer than the cap; the same seed gives the same delays.
// Source: "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015), the variant called full jitter, which spreads
// callers that failed together best; random numbers from SplitMix64 (Steele, Lea, Flood 2014).

/// Random delays that grow with each failure.
public struct FullJitter: Hashable, Sendable {
    /// Milliseconds.
    public let base: Int64
    /// Milliseconds.
    public let cap: Int64
    private var state: UInt64

    public init(base: Int64 = 50, cap: Int64 = 5_000, seed: UInt64) {
        self.base = max(1, base)
        self.cap = max(1, cap)
        state = seed
    }

    /// Milliseconds to wait, 1...cap.
    /// - Parameter failures: how many there were in a row, from 1.
    public mutating func delay(failures: Int) -> Int64 {
        // 2^16 times the base is beyond every cap in use, and far from overflow.
        let most = min(cap, min(base, 1 << 40) << Int64(min(max(0, failures - 1), 16)))
        return Int64(next() % UInt64(most)) + 1
    }

    private mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
