// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A text that a remote queue gave. A class, so that where there is none it takes a word and not a string's room.
public final class RemoteText: Hashable, Sendable {
    public let text: String

    public init(_ text: String) { self.text = text }

    public static func == (a: RemoteText, b: RemoteText) -> Bool { a.text == b.text }
    public func hash(into hasher: inout Hasher) { hasher.combine(text) }
}

/// One delivery of one message: what a receiver gives back to delete it or to change its visibility.
///
/// All in it but the seal is known to others than its receiver: the sender's answer names shard and number, and the
/// rest is small or the same in other handles. So whoever reads one from a text knows nothing yet: the shard that the
/// handle names has the key to the seal, and looks at it before anything else.
public struct ReceiptHandle: Hashable, Sendable {
    public let shard: ShardTag
    public let sequence: SequenceNumber
    /// What a remote queue gave as its own handle, up to 1,024 characters; `nil` for shards of our own.
    public let remote: RemoteText?
    /// A code over the other numbers that only their shard can compute. `nil` where it is only to name a message, and in
    /// what was given out before there were seals: nobody gets anything done by such a one.
    public let seal: UInt64?
    /// Deliveries of the message up to and including this one.
    public let receiveCount: UInt32
    /// The opening of the shard in which the delivery was made. A crash forgets receive counts, so that the next
    /// delivery has a number that was given before: this tells the two apart.
    public let incarnation: UInt32
    /// Where the message's entry was in memory; a hint, checked against the sequence number.
    public let place: UInt32

    public init(
        shard: ShardTag, sequence: SequenceNumber, receiveCount: UInt32, incarnation: UInt32 = 0, place: UInt32,
        seal: UInt64? = nil, remote: RemoteText? = nil
    ) {
        self.shard = shard
        self.sequence = sequence
        self.remote = remote
        self.seal = seal
        self.receiveCount = receiveCount
        self.incarnation = incarnation
        self.place = place
    }

    /// Characters of a handle's text.
    public static let textBytes = 72
    /// Characters of a handle's text before there were seals.
    private static let unsealedTextBytes = 64

    /// 72 hexadecimal digits: tag, sequence number, count, place, incarnation, seal. Of a remote queue: `r`, 16 digits of
    /// the shard's tag, `.` and the queue's own handle.
    public func write(to out: inout [UInt8]) {
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
        ReceiptHandle.put(seal ?? 0, digits: 16, to: &out)
    }

    public var text: String {
        var out: [UInt8] = []
        write(to: &out)
        return String(decoding: out, as: UTF8.self)
    }

    /// Reads a handle's text. Whether its shard gave it, only the shard can tell.
    /// - Returns: `nil` if the text has not the form of a handle.
    public init?(_ text: some RandomAccessCollection<UInt8>) {
        // Callers in other modules get no specialised copy of this: all but the one call below is concrete.
        let parsed =
            text.withContiguousStorageIfAvailable { ReceiptHandle(digits: UnsafeRawBufferPointer($0)) }
            ?? Array(text).withUnsafeBytes { ReceiptHandle(digits: $0) }
        guard let parsed else { return nil }
        self = parsed
    }

    /// The same of bytes where they lie.
    public init?(digits: UnsafeRawBufferPointer) {
        if digits.first == UInt8(ascii: "r") {
            self.init(remote: digits)
            return
        }
        let isSealed = digits.count == ReceiptHandle.textBytes
        guard isSealed || digits.count == ReceiptHandle.unsealedTextBytes,
            let tag = ReceiptHandle.word(digits, 0..<16), tag & ShardTag.bits == tag,
            let number = ReceiptHandle.word(digits, 16..<32), let counts = ReceiptHandle.word(digits, 32..<48),
            let incarnation = ReceiptHandle.word(digits, 48..<56),
            let last = ReceiptHandle.word(digits, 56..<digits.count)
        else { return nil }
        self.init(
            shard: ShardTag(rawValue: tag), sequence: SequenceNumber(rawValue: Int64(bitPattern: number)),
            receiveCount: UInt32(counts >> 32), incarnation: UInt32(incarnation), place: UInt32(counts & 0xFFFF_FFFF),
            seal: isSealed ? last : nil)
    }

    /// Reads the handle of a remote queue's message.
    public init?(remote text: UnsafeRawBufferPointer) {
        guard text.count > 18, text.count <= 18 + 1_024, text[0] == UInt8(ascii: "r"), text[17] == UInt8(ascii: "."),
            let tag = ReceiptHandle.word(text, 1..<17), tag & ShardTag.bits == tag
        else { return nil }
        self.init(
            shard: ShardTag(rawValue: tag), sequence: SequenceNumber(rawValue: 0), receiveCount: 0, place: 0,
            remote: RemoteText(String(decoding: text[18...], as: UTF8.self)))
    }

    /// At most 16 digits, in the one spelling in which handles are written.
    private static func word(_ digits: UnsafeRawBufferPointer, _ range: Range<Int>) -> UInt64? {
        var word: UInt64 = 0
        for position in range {
            let digit = digits[position]
            let isCapital = digit >= UInt8(ascii: "A") && digit <= UInt8(ascii: "F")
            guard !isCapital, let value = Hexadecimal.value(of: digit) else { return nil }
            word = word << 4 | value
        }
        return word
    }

    private static func put(_ value: UInt64, digits: Int, to out: inout [UInt8]) {
        var shift = UInt64(4 * digits)
        while shift > 0 {
            shift -= 4
            out.append(Hexadecimal.digit(value >> shift & 15))
        }
    }
}
