// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

/// A handle as somebody makes it up, from all that is said of another one.
private func altered(
    _ handle: ReceiptHandle, shard: ShardTag? = nil, sequence: SequenceNumber? = nil, count: UInt32? = nil,
    incarnation: UInt32? = nil, place: UInt32? = nil, seal: UInt64?
) -> ReceiptHandle {
    ReceiptHandle(
        shard: shard ?? handle.shard, sequence: sequence ?? handle.sequence,
        receiveCount: count ?? handle.receiveCount, incarnation: incarnation ?? handle.incarnation,
        place: place ?? handle.place, seal: seal)
}

@Suite struct `The seal of a receipt handle` {
    private let on = QueueOnLog()

    /// Neither deletes nor moves the message of the handle, and says nothing of it.
    private func refuses(_ handle: ReceiptHandle, on: QueueOnLog? = nil) -> Bool {
        let on = on ?? self.on
        return on.queue.beginDelete(handle) == .notOurs && on.change(handle, seconds: 0) == .notOurs
    }

    @Test func `is needed for everything else that the handle says`() throws {
        on.sendAll("g-m1", "h-m1")
        let taken = on.take().map(\.handle)
        let (first, second) = (taken[0], taken[1])
        let seal = try #require(first.seal)
        #expect(refuses(altered(first, shard: ShardTag(rawValue: 7), seal: seal)))
        #expect(refuses(altered(first, sequence: second.sequence, seal: seal)))
        #expect(refuses(altered(first, count: 2, seal: seal)))
        #expect(refuses(altered(first, incarnation: 1, seal: seal)))
        #expect(refuses(altered(first, place: second.place, seal: seal)))
        #expect(refuses(altered(first, seal: second.seal)))
        #expect(refuses(altered(first, seal: 0)))
        for bit in 0..<64 { #expect(refuses(altered(first, seal: seal ^ 1 << UInt64(bit))), "bit \(bit)") }
        #expect(on.queue.inFlightCount == 2 && on.queue.messageCount == 2)
        #expect(on.delete(first) == .write(first.sequence))
        #expect(on.delete(second) == .write(second.sequence))
    }

    @Test func `is broken by any other digit of the text`() throws {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        let text = Array(handle.text.utf8)
        #expect(text.count == ReceiptHandle.textBytes)
        for position in text.indices {
            for digit in "0123456789abcdef".utf8 where digit != text[position] {
                var other = text
                other[position] = digit
                let read = ReceiptHandle(other)
                #expect(read.map { refuses($0) } ?? true, "digit \(position)")
            }
        }
        #expect(on.delete(try #require(ReceiptHandle(text))) == .write(handle.sequence))
    }

    @Test func `does not tell whether a message was deleted`() throws {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        on.delete(handle)
        #expect(on.delete(handle) == .alreadyDeleted)
        #expect(refuses(altered(handle, seal: try #require(handle.seal) ^ 1)))
        #expect(on.queue.beginDelete(altered(handle, seal: nil)) == .expired)
    }

    @Test func `is missing from handles of older versions, which are expired`() throws {
        on.sendAll("g-m1")
        let handle = on.take()[0].handle
        let read = try #require(ReceiptHandle(Array(handle.text.utf8.prefix(64))))
        #expect(read.seal == nil && read.sequence == handle.sequence)
        #expect(on.delete(read) == .expired)
        #expect(on.change(read, seconds: 0) == .unavailable)
        #expect(on.queue.inFlightCount == 1)
        #expect(on.delete(handle) == .write(handle.sequence))
    }

    @Test func `is missing from what a walk over the queue shows`() {
        on.sendAll("g-m1", "h-m1")
        on.take(1)
        let seen = on.queue.browse(after: nil, limit: 10)
        #expect(seen.map(\.isInFlight) == [true, false] && seen.map(\.entry.receiveCount) == [1, 0])
        #expect(seen.allSatisfy { $0.entry.handle.seal == nil })
        for entry in seen { #expect(on.queue.beginDelete(entry.entry.handle) == .expired) }
    }

    @Test(arguments: [true, false])
    func `outlives a stop as the handle does`(isClean: Bool) {
        on.sendAll("g-m1", "h-m1")
        let handles = on.take().map(\.handle)
        on.restart(isClean: isClean)
        #expect(refuses(altered(handles[0], seal: handles[1].seal)))
        if !isClean { on.take() }
        for handle in handles {
            #expect(on.delete(handle) == (isClean ? .write(handle.sequence) : .expired))
        }
    }

    @Test func `is another one in another shard, of the same tag too`() {
        let one = FIFOQueue(
            tag: QueueOnLog.tag, deduplicationHash: SipHash128(key0: 1, key1: 3), attributes: QueueAttributes(),
            cacheBytesMax: 1 << 20)
        let other = QueueOnLog()
        other.queue = one
        for on in [on, other] { on.sendAll("g-m1") }
        let (ours, theirs) = (on.take()[0].handle, other.take()[0].handle)
        #expect(ours.sequence == theirs.sequence && ours.seal != theirs.seal)
        #expect(refuses(theirs) && refuses(ours, on: other))
        #expect(on.delete(ours) == .write(ours.sequence))
        #expect(other.delete(theirs) == .write(theirs.sequence))
    }

    @Test func `has a key of its own`() {
        let secret = SipHash128(key0: 1, key1: 2)
        let key = secret.forSeals
        #expect(Set([key.key0, key.key1, secret.key0, secret.key1]).count == 4)
        let other = SipHash128(key0: 1, key1: 3).forSeals
        #expect(other.key0 != key.key0 && other.key1 != key.key1)
    }

    /// From the authors' table of SipHash-2-4 with 64 bits for the key 00 01 ... 0f, and the input 00 01 ... 1f.
    @Test func `is SipHash-2-4`() {
        let hash = SipHash128(key0: 0x0706_0504_0302_0100, key1: 0x0f0e_0d0c_0b0a_0908)
        let code = hash.code(
            0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, 0x1716_1514_1312_1110, 0x1f1e_1d1c_1b1a_1918)
        #expect(code == 0x7127_512f_72f2_7cce)
    }

    /// A thousand handles of seeded numbers: each is good as it is, and not with the seal of the one before.
    @Test(arguments: SplitMix64.seeds(5))
    func `holds for a thousand handles`(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        on.queue = FIFOQueue(
            tag: ShardTag(rawValue: random.next()),
            deduplicationHash: SipHash128(key0: random.next(), key1: random.next()),
            attributes: QueueAttributes(), cacheBytesMax: 1 << 20,
            incarnation: UInt32(truncatingIfNeeded: random.next()))
        on.commit((0..<200).map { QueueOnLog.message("g\($0)", "b", id: "\(seed)-\($0)") })
        var handles: [ReceiptHandle] = []
        while case let some = on.take(10), !some.isEmpty { handles += some.map(\.handle) }
        try #require(handles.count == 200)
        #expect(Set(handles.map(\.seal)).count == handles.count)
        for (place, handle) in handles.enumerated() {
            let before = handles[place == 0 ? handles.count - 1 : place - 1]
            #expect(refuses(altered(handle, seal: before.seal)), "seed \(seed)")
            #expect(refuses(altered(handle, seal: random.next())), "seed \(seed)")
            #expect(ReceiptHandle(Array(handle.text.utf8)) == handle, "seed \(seed)")
        }
        #expect(on.queue.inFlightCount == 200)
        for handle in handles { #expect(on.delete(handle) == .write(handle.sequence), "seed \(seed)") }
    }
}
