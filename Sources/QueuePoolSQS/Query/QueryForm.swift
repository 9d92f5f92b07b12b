// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// A form's parameters as a tree: `MessageAttribute.2.Value.DataType` is four steps from the root. Each pair is decoded
// once and takes one step for each part of its name, so the work is linear in the form's length. The tree lies in one
// array: nothing recurses, and letting go of it neither.

/// The parameters of one request of the Query protocol.
struct QueryForm {
    /// Pairs that one form may have: a batch of ten full messages has fewer than 500.
    static let pairsMax = 5_000
    /// The highest number that a member of a list may have.
    static let numberMax = 10_000
    /// Parts of a name that are told apart; the deepest name of the protocol has six.
    static let partsMax = 8

    struct Node {
        let name: String
        var value: [UInt8]?
        var children: [Int] = []
    }

    private struct Step: Hashable {
        let parent: Int
        let name: String
    }

    static let root = 0
    private(set) var nodes = [Node(name: "")]
    private var places: [Step: Int] = [:]

    /// - Parameter form: `name=value` pairs, separated by `&`.
    /// - Throws: `invalidParameterValue` for what is no form, and for a parameter that comes twice.
    init(_ form: UnsafeRawBufferPointer) throws(SQSError) {
        var start = 0
        var pairs = 0
        while start < form.count {
            let end = form[start...].firstIndex(of: UInt8(ascii: "&")) ?? form.count
            if end > start {
                pairs += 1
                guard pairs <= Self.pairsMax else { throw .tooManyParameters }
                try take(UnsafeRawBufferPointer(rebasing: form[start..<end]))
            }
            start = end + 1
        }
    }

    private mutating func take(_ pair: UnsafeRawBufferPointer) throws(SQSError) {
        let equals = pair.firstIndex(of: UInt8(ascii: "=")) ?? pair.count
        let name = try Self.decode(UnsafeRawBufferPointer(rebasing: pair[..<equals]), "a name")
        let value = try Self.decode(
            UnsafeRawBufferPointer(rebasing: pair[min(equals + 1, pair.count)...]), "a value")
        var place = Self.root
        for part in name.split(
            separator: UInt8(ascii: "."), maxSplits: Self.partsMax - 1, omittingEmptySubsequences: false)
        {
            place = child(of: place, named: String(decoding: part, as: UTF8.self))
        }
        guard nodes[place].value == nil else { throw .repeatedParameter(name) }
        nodes[place].value = value
    }

    private mutating func child(of parent: Int, named name: String) -> Int {
        let step = Step(parent: parent, name: name)
        if let place = places[step] { return place }
        let place = nodes.count
        nodes.append(Node(name: name))
        nodes[parent].children.append(place)
        places[step] = place
        return place
    }

    // MARK: Finding

    func find(_ name: StaticString, in parent: Int = root) -> Int? {
        places[Step(parent: parent, name: "\(name)")]
    }

    func value(_ name: StaticString, in parent: Int = root) -> [UInt8]? {
        find(name, in: parent).flatMap { nodes[$0].value }
    }

    /// The members of a list in the order of their numbers, which may have gaps. A list of one may be written without a
    /// number, and an empty value without a number is an empty list.
    /// - Throws: `invalidParameterValue` for a number that none may have.
    func members(of list: Int) throws(SQSError) -> [Int] {
        var numbered: [(number: Int, place: Int)] = []
        var isOne = false
        for place in nodes[list].children {
            if let number = Self.number(nodes[place].name) {
                numbered.append((number, place))
            } else if nodes[place].name.utf8.first.map({ !(48...57).contains($0) }) == true {
                isOne = true
            } else {
                throw .invalidNumber(nodes[list].name, nodes[place].name)
            }
        }
        if let value = nodes[list].value, !value.isEmpty { isOne = true }
        guard isOne else { return numbered.sorted { $0.number < $1.number }.map(\.place) }
        guard numbered.isEmpty else { throw .invalidNumber(nodes[list].name, "") }
        return [list]
    }

    /// - Returns: `nil` unless the text is one of 1...10,000 in its one spelling.
    private static func number(_ text: String) -> Int? {
        guard text.utf8.count <= 5, text.utf8.first != UInt8(ascii: "0"),
            text.utf8.allSatisfy({ (48...57).contains($0) })
        else { return nil }
        return Int(text).flatMap { (1...numberMax).contains($0) ? $0 : nil }
    }

    // MARK: Decoding

    /// `+` is a blank, `%` and two hexadecimal digits are a byte; the bytes must be UTF-8.
    static func decode(_ text: UnsafeRawBufferPointer, _ what: String) throws(SQSError) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(text.count)
        var offset = 0
        while offset < text.count {
            switch text[offset] {
            case UInt8(ascii: "+"): out.append(UInt8(ascii: " "))
            case UInt8(ascii: "%"):
                guard offset + 2 < text.count, let high = Hexadecimal.digit(text[offset + 1]),
                    let low = Hexadecimal.digit(text[offset + 2])
                else { throw .malformedForm(what, "has a percent sign without two hexadecimal digits") }
                out.append(high << 4 | low)
                offset += 2
            case let byte: out.append(byte)
            }
            offset += 1
        }
        guard String(validating: out, as: UTF8.self) != nil else { throw .malformedForm(what, "is not UTF-8") }
        return out
    }
}

extension Hexadecimal {
    /// The value of a digit in either case.
    fileprivate static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - 48
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - 87
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - 55
        default: nil
        }
    }
}

extension SQSError {
    fileprivate static let tooManyParameters = SQSError(
        .invalidParameterValue, "The request has more than \(QueryForm.pairsMax) parameters.")

    fileprivate static func repeatedParameter(_ name: [UInt8]) -> SQSError {
        SQSError(.invalidParameterValue, "A parameter with a name of \(sized(name)) comes more than once.")
    }

    fileprivate static func malformedForm(_ what: String, _ reason: String) -> SQSError {
        SQSError(.invalidParameterValue, "The parameters are not a valid form: \(what) \(reason).")
    }

    fileprivate static func invalidNumber(_ list: String, _ number: String) -> SQSError {
        SQSError(
            .invalidParameterValue,
            "The members of \(list) must be numbered from 1 to \(QueryForm.numberMax), without leading zeros; one has "
                + "\(sized(number)) for its number.")
    }
}
