// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Testing

@testable import QueuePoolServer

@Suite("Lines cut from a stream")
struct LineSplitterTests {
    /// What came out: the line's number, and its text or nothing if it was too long.
    private struct Cut: Equatable {
        var number: Int
        var text: String?
    }

    private func cut(_ pieces: [String], lineBytesMax: Int = 10) -> [Cut] {
        var splitter = LineSplitter(lineBytesMax: lineBytesMax)
        var found: [Cut] = []
        for piece in pieces {
            splitter.append(ByteBuffer(string: piece))
            while let line = splitter.next() { found.append(LineSplitterTests.cut(line)) }
        }
        // More calls than lines can be left: one that never ends must not hang the test.
        for _ in 0..<3 {
            if let line = splitter.last() { found.append(LineSplitterTests.cut(line)) }
        }
        return found
    }

    private static func cut(_ line: LineSplitter.Line) -> Cut {
        switch line.content {
        case .text(let text): Cut(number: line.number, text: String(buffer: text))
        case .tooLong: Cut(number: line.number, text: nil)
        }
    }

    @Test("are the same however the bytes are cut")
    func everyCut() {
        let stream = "one\n\n two\r\n \t\r\nthis one is too long\nlast"
        let whole = [
            Cut(number: 1, text: "one"), Cut(number: 3, text: " two"), Cut(number: 5, text: nil),
            Cut(number: 6, text: "last"),
        ]
        #expect(cut([stream]) == whole)
        #expect(cut(stream.unicodeScalars.map { String($0) }) == whole)
        let scalars = Array(stream.unicodeScalars).map { String($0) }
        for first in 0...scalars.count {
            #expect(cut([scalars[..<first].joined(), scalars[first...].joined()]) == whole, "cut at \(first)")
        }
    }

    @Test("have numbers that count blank lines, as an editor does")
    func numbers() {
        #expect(cut(["\n\r\n  \na\n\n\nb\n\n"]) == [Cut(number: 4, text: "a"), Cut(number: 7, text: "b")])
    }

    @Test("that are too long are told once, ended or not, and the next is read")
    func tooLong() {
        let long = String(repeating: "x", count: 11)
        #expect(cut([long]) == [Cut(number: 1, text: nil)])
        #expect(cut([long + "\n"]) == [Cut(number: 1, text: nil)])
        #expect(cut([long, long, long]) == [Cut(number: 1, text: nil)])
        #expect(
            cut(["a\n", long, "\nb"]) == [
                Cut(number: 1, text: "a"), Cut(number: 2, text: nil), Cut(number: 3, text: "b"),
            ])
    }

    @Test("may be as long as the limit, the end of the line not counted")
    func limit() {
        let longest = String(repeating: "x", count: 10)
        #expect(cut([longest + "\n", longest]) == [Cut(number: 1, text: longest), Cut(number: 2, text: longest)])
        #expect(cut([longest + "\r\n"]) == [Cut(number: 1, text: longest)])
    }

    @Test("cost one look at each byte, in whatever pieces they come")
    func linear() {
        let stream = String(repeating: "x", count: 5_000) + "\n" + String(repeating: "y", count: 20_000)
        for size in [1, 7, 1_000, 30_000] {
            var splitter = LineSplitter(lineBytesMax: 8_000)
            var rest = Substring(stream)
            while !rest.isEmpty {
                splitter.append(ByteBuffer(substring: rest.prefix(size)))
                while splitter.next() != nil {}
                rest = rest.dropFirst(size)
            }
            #expect(splitter.bytesLookedAt <= stream.utf8.count, "pieces of \(size)")
        }
    }

    @Test("are kept up to the limit and no further")
    func memory() {
        var splitter = LineSplitter(lineBytesMax: 1_000)
        for _ in 0..<100 {
            splitter.append(ByteBuffer(repeating: 120, count: 999))
            #expect(splitter.next() == nil)
            #expect(splitter.bytesKept <= 1_000)
        }
        #expect(splitter.last() != nil)
        #expect(splitter.last() == nil)
    }
}
