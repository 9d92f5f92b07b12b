// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Storage for millions of small entries addressed by a 32-bit place. It grows by chunks, so that growth never copies
// what is there (a doubling array of five million entries would stop the shard for a tenth of a second and hold twice
// the memory), and places are reused last-in first-out, which keeps the working set of a drained queue warm.

/// The place of nothing.
let noPlace = UInt32.max

struct Slab<Element: Sendable>: Sendable {
    private static var chunkBits: UInt32 { 12 }
    private var chunks: [[Element]] = []
    private var free: [UInt32] = []
    private var used: UInt32 = 0

    mutating func insert(_ element: Element) -> UInt32 {
        if let place = free.popLast() {
            self[place] = element
            return place
        }
        let place = used
        used += 1
        if place & ((1 << Slab.chunkBits) - 1) == 0 {
            var chunk: [Element] = []
            chunk.reserveCapacity(1 << Slab.chunkBits)
            chunks.append(chunk)
        }
        chunks[chunks.count - 1].append(element)
        return place
    }

    /// Gives a place back; what it holds stays readable until the place is used again.
    mutating func remove(_ place: UInt32) { free.append(place) }

    /// Places in use.
    var liveCount: Int { Int(used) - free.count }
    /// Places ever used.
    var placeCount: Int { Int(used) }

    /// Whether a place was ever used: a hint from outside may name any number.
    func contains(_ place: UInt32) -> Bool { place < used }

    subscript(place: UInt32) -> Element {
        @inline(__always) _read {
            yield chunks[Int(place >> Slab.chunkBits)][Int(place & ((1 << Slab.chunkBits) - 1))]
        }
        @inline(__always) _modify {
            yield &chunks[Int(place >> Slab.chunkBits)][Int(place & ((1 << Slab.chunkBits) - 1))]
        }
    }
}
