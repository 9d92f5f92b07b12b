// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON
import QueuePoolTestSupport
import Testing

@Suite struct `Members of one name` {
    @Test(arguments: [
        (#"{"a":1,"a":2}"#, 7), (#"{"a":1,"b":2, "a":3}"#, 14), (#"{"":1,"":2}"#, 6), (#"{"a":1,"\u0061":2}"#, 7),
        (#"{"\u0061":1,"a":2}"#, 12), (#"{"\u0061":1,"\u0061":2}"#, 12), (#"[{"x":{"a":[{}],"a":2}}]"#, 16),
        (#"{"a":{"a":{"a":1}},"a":2}"#, 19), (#"{"ä":1,"\u00E4":2}"#, 8),
        (#"{"long name of a member":1,"long name of a member":2}"#, 27),
    ])
    func `are refused where the second stands`(text: String, place: Int) {
        let expected = JSONFault(offset: place, reason: .duplicateKey)
        #expect(fault(in: text) == expected)
        #expect(faultWhenRead(Array(text.utf8)) == expected)
    }

    @Test(arguments: [
        #"{"a":{"a":{"a":1}},"b":{"a":2}}"#, #"[{"a":1},{"a":1},{"a":{"a":1}}]"#, #"{"a":1,"aa":1,"":1,"A":1}"#,
        #"{"a":1,"a\"":1,"a\\":2}"#, #"{"x12345678":1,"y12345678":2,"z12345678":3,"x123456789":3}"#,
        #"{"\u0061":{"\u0061":1,"b":2},"b":{"a":1,"\u0062":2}}"#, #"{"a\u0000":1,"a":2}"#,
    ])
    func `may stand in different objects`(text: String) {
        #expect(fault(in: text) == nil)
        #expect(faultWhenRead(Array(text.utf8)) == nil)
    }

    @Test func `that are more than any sensible text has are refused`() {
        let members = { (count: Int) in "{" + (0..<count).map { "\"\($0)\":0" }.joined(separator: ",") + "}" }
        #expect(fault(in: members(65_552)) == nil)
        #expect(fault(in: members(65_553))?.reason == .tooManyMembers)
        let escaped = { (count: Int) in "[" + String(repeating: #"{"\n":0},"#, count: count) + "0]" }
        #expect(fault(in: escaped(65_536)) == nil)
        #expect(fault(in: escaped(65_537))?.reason == .tooManyMembers)
    }

    /// Texts with many names, checked against a set.
    @Test(arguments: 0..<200)
    func `are found as a set finds them`(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        var text: [UInt8] = []
        var duplicate: Int?
        object(into: &text, depth: 0, &duplicate, &random)
        let found = fault(in: text)
        #expect(found?.offset == duplicate && (found == nil || found?.reason == .duplicateKey), "seed \(seed)")
    }

    private func object(into text: inout [UInt8], depth: Int, _ duplicate: inout Int?, _ random: inout SplitMix64) {
        var seen: Set<String> = []
        text.append(UInt8(ascii: "{"))
        let range = UInt64.random(in: 1...2_000, using: &random)
        for position in 0..<Int.random(in: 0..<60, using: &random) {
            if position > 0 { text.append(UInt8(ascii: ",")) }
            // The same ending for all, so that short tags meet.
            let name = "\(UInt64.random(in: 0..<range, using: &random))-with-one-ending"
            if !seen.insert(name).inserted, duplicate == nil { duplicate = text.count }
            let isEscaped = Int.random(in: 0..<8, using: &random) == 0
            text += isEscaped ? Array("\"\(name.dropLast())\\u0067\":".utf8) : Array("\"\(name)\":".utf8)
            if depth < 3, Int.random(in: 0..<20, using: &random) == 0 {
                object(into: &text, depth: depth + 1, &duplicate, &random)
            } else {
                text.append(UInt8(ascii: "0"))
            }
        }
        text.append(UInt8(ascii: "}"))
    }
}
