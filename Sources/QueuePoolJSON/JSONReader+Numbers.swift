// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

extension JSONReader {
    /// The characters of a number, held to the grammar of RFC 8259, section 6.
    public mutating func readNumberText() throws(JSONFault) -> UnsafeRawBufferPointer {
        skipSpace()
        let start = offset
        guard start < input.count else { throw fault(.unexpectedEnd) }
        var place = start
        if input[place] == UInt8(ascii: "-") {
            place &+= 1
        } else if !isDigit(place) {
            throw fault(.wrongKind)
        }
        if place < input.count, input[place] == UInt8(ascii: "0") {
            place &+= 1
            if isDigit(place) { throw fault(.invalidNumber, at: place) }
        } else {
            try digits(&place)
        }
        if place < input.count, input[place] == UInt8(ascii: ".") {
            place &+= 1
            try digits(&place)
        }
        if place < input.count, input[place] | 0x20 == UInt8(ascii: "e") {
            place &+= 1
            if place < input.count, input[place] == UInt8(ascii: "+") || input[place] == UInt8(ascii: "-") {
                place &+= 1
            }
            try digits(&place)
        }
        offset = place
        return UnsafeRawBufferPointer(rebasing: input[start..<place])
    }

    /// A number without fraction and exponent that fits 64 bits.
    public mutating func readInt() throws(JSONFault) -> Int {
        let text = try readNumberText()
        let start = offset &- text.count
        let isNegative = text.first == UInt8(ascii: "-")
        var value = 0
        for byte in text.dropFirst(isNegative ? 1 : 0) {
            guard byte >= 0x30, byte <= 0x39 else { throw fault(.notAnInteger, at: start) }
            let digit = Int(byte &- 0x30)
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(isNegative ? -digit : digit)
            guard !overflow, !carry else { throw fault(.numberOutOfRange, at: start) }
            value = sum
        }
        return value
    }

    private func isDigit(_ place: Int) -> Bool {
        place < input.count && input[place] >= 0x30 && input[place] <= 0x39
    }

    private func digits(_ place: inout Int) throws(JSONFault) {
        guard place < input.count else { throw fault(.unexpectedEnd, at: place) }
        guard isDigit(place) else { throw fault(.invalidNumber, at: place) }
        while isDigit(place) { place &+= 1 }
    }
}
