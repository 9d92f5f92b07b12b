// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `Ids and handles` {
    private let handle = ReceiptHandle(
        shard: ShardTag(rawValue: 0x0FED_CBA9_8765_4321), sequence: SequenceNumber(rawValue: 0x1234_5678_9ABC_DEF0),
        receiveCount: 3, incarnation: 0x89AB_CDEF, place: 77, seal: 0xFEDC_BA98_7654_3210)

    @Test func `a handle survives its text`() {
        let text = handle.text
        #expect(text.utf8.count == ReceiptHandle.textBytes)
        #expect(ReceiptHandle(Array(text.utf8)) == handle)
    }

    @Test func `a handle altered in any one digit is another one, or none`() {
        let text = Array(handle.text.utf8)
        for position in text.indices {
            for digit in "0123456789abcdef".utf8 where digit != text[position] {
                var altered = text
                altered[position] = digit
                #expect(ReceiptHandle(altered) != handle, "digit \(position)")
            }
            for digit in "gAF /:@`\0".utf8 {
                var altered = text
                altered[position] = digit
                #expect(ReceiptHandle(altered) == nil, "digit \(position)")
            }
        }
    }

    @Test(arguments: SplitMix64.seeds(20))
    func `random bytes are no handle, or are one in hexadecimal digits`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            let length = random.chance(70) ? ReceiptHandle.textBytes : random.below(120)
            let hexadecimal = random.chance(50)
            let bytes = (0..<length).map { _ in
                hexadecimal ? Hexadecimal.digit(UInt64(random.below(16))) : UInt8(random.below(256))
            }
            let text = ReceiptHandle(bytes)?.text
            #expect(text.map { hexadecimal && Array($0.utf8).starts(with: bytes.prefix(56)) } ?? true, "seed \(seed)")
        }
    }

    @Test(arguments: SplitMix64.seeds(5))
    func `handles of any numbers survive their text`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            let made = ReceiptHandle(
                shard: ShardTag(rawValue: random.next()),
                sequence: SequenceNumber(rawValue: Int64(bitPattern: random.next())),
                receiveCount: UInt32(truncatingIfNeeded: random.next()),
                incarnation: UInt32(truncatingIfNeeded: random.next()),
                place: UInt32(truncatingIfNeeded: random.next()), seal: random.next())
            #expect(ReceiptHandle(Array(made.text.utf8)) == made, "seed \(seed)")
        }
    }

    @Test func `a message id is a UUID that names its shard and its place in line`() {
        let id = MessageID(shard: handle.shard, sequence: handle.sequence)
        let text = id.description
        #expect(text.utf8.count == 36)
        #expect(Array(text)[14] == "8")
        #expect("89ab".contains(Array(text)[19]))
        #expect(MessageID(text) == id)
        #expect(MessageID(text.uppercased()) == id)
        #expect(id.shard == handle.shard)
        #expect(id.sequence == handle.sequence)
        for wrong in ["", "x", String(text.dropLast()), text + "0", String(repeating: "-", count: 36)] {
            #expect(MessageID(wrong) == nil)
        }
    }

    @Test func `a sequence number has 20 digits and knows its time`() {
        let time = Timestamp(milliseconds: 1_800_000_000_123)
        let number = SequenceNumber(firstOf: time)
        #expect(number.text.utf8.count == 20)
        #expect(number.sentAt == time)
        #expect(number < SequenceNumber(firstOf: time + 1))
    }
}

@Suite struct `A record` {
    private static func random(_ random: inout SplitMix64, _ length: Int) -> [UInt8] {
        (0..<length).map { _ in UInt8(32 + random.below(95)) }
    }

    private static func attributes(_ random: inout SplitMix64) -> [MessageAttribute] {
        (0..<random.below(4)).map { index in
            MessageAttribute(
                name: "n\(index)", dataType: ["String", "Number.int", "Binary"][random.below(3)],
                value: A_record.random(&random, random.below(40)))
        }
    }

    private typealias A_record = `A record`

    @Test(arguments: SplitMix64.seeds(20))
    func `gives back what was put in, and is whole only whole`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<20 {
            let group = A_record.random(&random, 1 + random.below(128))
            let id = A_record.random(&random, 1 + random.below(128))
            let body = A_record.random(&random, random.below(300))
            let attributes = A_record.attributes(&random)
            let system = A_record.attributes(&random)
            let digest = random.chance(50) ? MD5Digest(low: random.next(), high: random.next()) : nil
            let origin =
                random.chance(50)
                ? MessageOrigin(messageID: MessageID(high: random.next(), low: random.next()), receiveCount: 9) : nil
            let record = body.withUnsafeBytes {
                MessageRecord(
                    group: group, deduplicationID: id, body: $0, attributes: attributes, systemAttributes: system,
                    bodyMD5: digest, origin: origin)
            }
            record.withView { view in
                #expect(Array(view.group) == group)
                #expect(Array(view.deduplicationID) == id)
                #expect(Array(view.body) == body)
                #expect(view.attributes == attributes)
                #expect(view.systemAttributes == system)
                #expect(view.bodyMD5 == digest)
                #expect(view.origin == origin)
            }
            let whole = record.bytes
            #expect((whole + [1, 2, 3]).withUnsafeBytes { RecordView.length(of: $0) } == whole.count)
            for length in 0..<whole.count {
                #expect(whole[..<length].withUnsafeBytes { RecordView.length(of: $0) } == nil, "seed \(seed)")
            }
        }
    }

    @Test(arguments: SplitMix64.seeds(30))
    func `of spoilt bytes is refused or read within its bounds`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let sound = Array("body".utf8).withUnsafeBytes {
            MessageRecord(
                group: "g".utf8, deduplicationID: "d".utf8, body: $0,
                attributes: [MessageAttribute(name: "name", text: "value")])
        }.bytes
        for _ in 0..<300 {
            var bytes = random.chance(70) ? sound : (0..<random.below(120)).map { _ in UInt8(random.below(256)) }
            for _ in 0..<(1 + random.below(4)) where !bytes.isEmpty {
                bytes[random.below(bytes.count)] = random.chance(50) ? UInt8(random.below(256)) : 255
            }
            bytes.withUnsafeBytes { raw in
                guard let length = RecordView.length(of: raw) else { return }
                let view = RecordView(UnsafeRawBufferPointer(rebasing: raw[..<length]))
                let read = view.attributes.count + view.systemAttributes.count + view.body.count + view.group.count
                #expect(read + view.deduplicationID.count <= length, "seed \(seed)")
            }
        }
    }
}
