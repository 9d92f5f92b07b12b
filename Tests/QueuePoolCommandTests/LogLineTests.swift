// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import Testing

@testable import queuepool

@Suite("Log lines")
struct LogLineTests {
    private func line(_ message: String, _ fields: [(key: String, value: String)] = []) -> LogLine {
        LogLine(time: 1_700_000_000_123, level: "info", label: "queuepool", message: message, fields: fields)
    }

    @Test func `JSON has the time, the level and sorted fields`() {
        let text = String(decoding: line("ready", [("shard", "s"), ("epoch", "1")]).json(), as: UTF8.self)
        #expect(
            text == #"{"time":"2023-11-14T22:13:20.123Z","level":"info","logger":"queuepool","message":"ready","#
                + #""epoch":"1","shard":"s"}"# + "\n")
    }

    @Test func `text quotes only what needs it`() {
        let text = String(
            decoding: line("ready", [("b", "two words"), ("a", "plain"), ("c", "")]).text(), as: UTF8.self)
        #expect(text == "2023-11-14T22:13:20.123Z info queuepool: ready a=plain b=\"two words\" c=\"\"\n")
    }

    @Test(arguments: ["a\nb", "\u{0}", "\"\\", "\r\n{\"level\":\"x\"}", "\u{2028}", "é😀", "\u{1B}[31m", "\u{7F}\u{85}"])
    func `nothing breaks out of its line`(text: String) throws {
        let line = line(text, [("field", text), (text, text), ("level", text)])
        let json = line.json()
        #expect(json.filter { $0 == 10 }.count == 1 && json.last == 10)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(json)) as? [String: String])
        #expect(object["message"] == text && object["field"] == text && object["field.level"] == text)
        #expect(object["level"] == "info")
        let plain = line.text()
        #expect(plain.filter { $0 == 10 }.count == 1 && !plain.dropLast().contains { $0 < 32 })
    }

    @Test func `a line is bounded, whatever is logged, and still JSON`() throws {
        let long = String(repeating: "é", count: 100_000)
        let line = line(long, (0..<1_000).map { ("key-\($0)", long) })
        #expect(line.json().count < 12_000)
        #expect(line.text().count < 12_000)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(line.json())) as? [String: Any])
        #expect(object["truncated"] as? Bool == true)
    }
}
