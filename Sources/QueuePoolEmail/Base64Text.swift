// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Base64 (RFC 4648, 4): decoding of attachments, encoding in lines of 76 for MIME.
enum Base64Text {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    private static let values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, letter) in alphabet.enumerated() { values[Int(letter)] = UInt8(value) }
        return values
    }()

    /// - Returns: `nil` unless the text is whole groups of four with their padding.
    static func decode(_ text: String) -> [UInt8]? {
        let bytes = Array(text.utf8)
        guard bytes.count % 4 == 0 else { return nil }
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count / 4 * 3)
        for start in stride(from: 0, to: bytes.count, by: 4) {
            let isLast = start + 4 == bytes.count
            let padding = isLast ? bytes.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count : 0
            var word: UInt32 = 0
            for place in 0..<4 {
                let isPad = place >= 4 - padding
                let value = isPad ? 0 : values[Int(bytes[start + place])]
                guard value != 255 else { return nil }
                word = word << 6 | UInt32(value)
            }
            out.append(UInt8(word >> 16 & 255))
            if padding < 2 { out.append(UInt8(word >> 8 & 255)) }
            if padding < 1 { out.append(UInt8(word & 255)) }
        }
        return out
    }

    /// - Parameter lineLength: characters after which a line ends with CR LF; `nil` for one line.
    static func encode(_ bytes: [UInt8], lineLength: Int? = nil) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(bytes.count / 3 * 4 + bytes.count / 57 * 2 + 8)
        var column = 0
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let count = min(3, bytes.count - start)
            var word: UInt32 = 0
            for place in 0..<3 { word = word << 8 | (place < count ? UInt32(bytes[start + place]) : 0) }
            if let lineLength, column + 4 > lineLength {
                out.append(contentsOf: [13, 10])
                column = 0
            }
            for place in 0..<4 {
                let isPad = place > count
                out.append(isPad ? UInt8(ascii: "=") : alphabet[Int(word >> UInt32(18 - 6 * place) & 63)])
            }
            column += 4
        }
        return out
    }
}
