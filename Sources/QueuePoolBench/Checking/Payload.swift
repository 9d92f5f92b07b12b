// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What a message body says about itself, so that a consumer can check it without asking anybody: run, group, sequence
// within the group, connection, time of the send; then a filler that must come back as it was. Fixed width, so that a request is a
// template in which only digits change, and plain ASCII, so that its JSON form is itself.

/// The stamp at the head of each body.
struct Payload: Hashable, Sendable {
    let run: UInt64
    let group: UInt32
    let sequence: UInt32
    let connection: UInt16
    /// When its send was meant to start: monotonic nanoseconds of this machine.
    let sentAt: UInt64

    /// "qb" run.16 group.8 sequence.8 connection.4 time.16, all hexadecimal.
    static let stampBytes = 54
    static let bytesMin = 64

    /// Writes the stamp's digits.
    func write(to place: UnsafeMutableRawPointer) {
        place.storeBytes(of: 0x71, as: UInt8.self)
        place.storeBytes(of: 0x62, toByteOffset: 1, as: UInt8.self)
        Hexadecimal.write(run, digits: 16, to: place + 2)
        Hexadecimal.write(UInt64(group), digits: 8, to: place + 18)
        Hexadecimal.write(UInt64(sequence), digits: 8, to: place + 26)
        Hexadecimal.write(UInt64(connection), digits: 4, to: place + 34)
        Hexadecimal.write(sentAt, digits: 16, to: place + 38)
    }

    /// Reads a stamp; `nil` if there is none.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count >= Payload.stampBytes, bytes[0] == 0x71, bytes[1] == 0x62,
            let run = Hexadecimal.read(bytes, 2..<18), let group = Hexadecimal.read(bytes, 18..<26),
            let sequence = Hexadecimal.read(bytes, 26..<34), let connection = Hexadecimal.read(bytes, 34..<38),
            let sentAt = Hexadecimal.read(bytes, 38..<54)
        else { return nil }
        self.init(
            run: run, group: UInt32(truncatingIfNeeded: group), sequence: UInt32(truncatingIfNeeded: sequence),
            connection: UInt16(truncatingIfNeeded: connection), sentAt: sentAt)
    }

    init(run: UInt64, group: UInt32, sequence: UInt32, connection: UInt16, sentAt: UInt64) {
        self.run = run
        self.group = group
        self.sequence = sequence
        self.connection = connection
        self.sentAt = sentAt
    }

    /// The bytes after the stamp, the same in every message of a run.
    static func filler(bodyBytes: Int, seed: UInt64) -> [UInt8] {
        let alphabet = Array("abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789".utf8)
        var random = SplitMix64(seed: seed)
        return (0..<max(0, bodyBytes - stampBytes)).map { _ in alphabet[random.next(below: alphabet.count)] }
    }
}

/// Fixed-width hexadecimal without a String.
enum Hexadecimal {
    static func write(_ value: UInt64, digits: Int, to place: UnsafeMutableRawPointer) {
        var rest = value
        for offset in stride(from: digits - 1, through: 0, by: -1) {
            let digit = UInt8(truncatingIfNeeded: rest & 15)
            place.storeBytes(of: digit < 10 ? 48 + digit : 87 + digit, toByteOffset: offset, as: UInt8.self)
            rest >>= 4
        }
    }

    static func read(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>) -> UInt64? {
        var value: UInt64 = 0
        for index in range {
            switch bytes[index] {
            case let digit where digit >= 48 && digit <= 57: value = value << 4 | UInt64(digit - 48)
            case let digit where digit >= 97 && digit <= 102: value = value << 4 | UInt64(digit - 87)
            default: return nil
            }
        }
        return value
    }
}
