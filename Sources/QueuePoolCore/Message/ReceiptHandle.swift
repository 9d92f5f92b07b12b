// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A text that a remote queue gave. A class, so that where there is none it takes a word and not a string's room.
package final class RemoteText: Hashable, Sendable {
    package let text: String

    package init(_ text: String) { self.text = text }

    package static func == (a: RemoteText, b: RemoteText) -> Bool { a.text == b.text }
    package func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// One delivery of one message: what a receiver gives back to delete it or to change its visibility.
package struct ReceiptHandle: Hashable, Sendable {
    package let shard: ShardTag
    package let sequence: SequenceNumber
    /// Deliveries of the message up to and including this one.
    package let receiveCount: UInt32
    /// The opening of the shard in which the delivery was made. A crash forgets receive counts, so that the next
    /// delivery has a number that was given before: this tells the two apart.
    package let incarnation: UInt32
    /// Where the message's entry was in memory; a hint, checked against the sequence number.
    package let place: UInt32
    /// What a remote queue gave as its own handle, up to 1,024 characters; `nil` for shards of our own.
    package let remote: RemoteText?

    package init(
        shard: ShardTag, sequence: SequenceNumber, receiveCount: UInt32, incarnation: UInt32 = 0, place: UInt32,
        remote: RemoteText? = nil
    ) {
        self.remote = remote
        self.shard = shard
        self.sequence = sequence
        self.receiveCount = receiveCount
        self.incarnation = incarnation
        self.place = place
    }

    /// Characters of a handle's text.
    package static let textBytes = 64

    /// 64 hexadecimal digits: tag, sequence number, count, place, incarnation, check word. Of a remote queue: `r`, 16
    /// digits of the shard's tag, `.` and the queue's own handle.
    package func write(to out: inout [UInt8]) {
        if let remote {
            out.append(UInt8(ascii: "r"))
            ReceiptHandle.put(shard.rawValue, digits: 16, to: &out)
            out.append(UInt8(ascii: "."))
            out.append(contentsOf: remote.text.utf8)
            return
        }
        ReceiptHandle.put(shard.rawValue, digits: 16, to: &out)
        ReceiptHandle.put(UInt64(bitPattern: sequence.rawValue), digits: 16, to: &out)
        ReceiptHandle.put(UInt64(receiveCount), digits: 8, to: &out)
        ReceiptHandle.put(UInt64(place), digits: 8, to: &out)
        ReceiptHandle.put(UInt64(incarnation), digits: 8, to: &out)
        ReceiptHandle.put(check, digits: 8, to: &out)
    }

    package var text: String {
        var out: [UInt8] = []
        write(to: &out)
        return String(decoding: out, as: UTF8.self)
    }

    /// - Returns: `nil` if the text is not a handle's.
    package init?(_ text: some RandomAccessCollection<UInt8>) {
        // Callers in other modules get no specialised copy of this: all but the one call below is concrete.
        let parsed =
            text.withContiguousStorageIfAvailable { ReceiptHandle(digits: UnsafeRawBufferPointer($0)) }
            ?? Array(text).withUnsafeBytes { ReceiptHandle(digits: $0) }
        guard let parsed else { return nil }
        self = parsed
    }

    private init?(digits: UnsafeRawBufferPointer) {
        if digits.first == UInt8(ascii: "r") {
            self.init(remote: digits)
            return
        }
        guard digits.count == ReceiptHandle.textBytes,
            let tag = ReceiptHandle.word(digits, 0..<16), let number = ReceiptHandle.word(digits, 16..<32),
            let counts = ReceiptHandle.word(digits, 32..<48), let last = ReceiptHandle.word(digits, 48..<64)
        else { return nil }
        self.init(
            shard: ShardTag(rawValue: tag), sequence: SequenceNumber(rawValue: Int64(bitPattern: number)),
            receiveCount: UInt32(counts >> 32), incarnation: UInt32(last >> 32), place: UInt32(counts & 0xFFFF_FFFF))
        guard check == last & 0xFFFF_FFFF, shard.rawValue == tag else { return nil }
    }

    /// Reads the handle of a remote queue's message.
    package init?(remote text: UnsafeRawBufferPointer) {
        guard text.count > 18, text.count <= 18 + 1_024, text[0] == UInt8(ascii: "r"), text[17] == UInt8(ascii: "."),
            let tag = ReceiptHandle.word(text, 1..<17), tag & ShardTag.bits == tag
        else { return nil }
        self.init(
            shard: ShardTag(rawValue: tag), sequence: SequenceNumber(rawValue: 0), receiveCount: 0, place: 0,
            remote: RemoteText(String(decoding: text[18...], as: UTF8.self)))
    }

    private static func word(_ digits: UnsafeRawBufferPointer, _ range: Range<Int>) -> UInt64? {
        var word: UInt64 = 0
        for position in range {
            guard let value = Hexadecimal.value(of: digits[position]) else { return nil }
            word = word << 4 | value
        }
        return word
    }

    /// 32 bits that depend on every bit of the handle: each word goes through two multiplications on its way to the
    /// upper half, which is what is kept.
    private var check: UInt64 {
        var mixed: UInt64 = 0x9E37_79B9_7F4A_7C15
        mixed = ReceiptHandle.mix(mixed, shard.rawValue)
        mixed = ReceiptHandle.mix(mixed, UInt64(bitPattern: sequence.rawValue))
        mixed = ReceiptHandle.mix(mixed, UInt64(receiveCount) << 32 | UInt64(place))
        mixed = ReceiptHandle.mix(mixed, UInt64(incarnation))
        return mixed >> 32
    }

    private static func mix(_ before: UInt64, _ word: UInt64) -> UInt64 {
        var mixed = (before ^ word) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 32)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 29)
    }

    private static func put(_ value: UInt64, digits: Int, to out: inout [UInt8]) {
        var shift = UInt64(4 * digits)
        while shift > 0 {
            shift -= 4
            out.append(Hexadecimal.digit(value >> shift & 15))
        }
    }
}
