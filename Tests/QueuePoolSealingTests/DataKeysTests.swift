// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolSealing
import Testing

private let place = RowPlace(shard: 1, row: 1, kind: 1)

private func master(_ digit: Character) throws -> MasterKey {
    try #require(MasterKey(text: String(repeating: digit, count: 64)))
}

@Suite struct `The data keys of a directory` {
    private let directory: String

    init() throws {
        directory = FileManager.default.temporaryDirectory.path + "/queuepool-keys-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    private var path: String { "\(directory)/\(DataKeys.fileName)" }

    private func text() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    private func done() { try? FileManager.default.removeItem(atPath: directory) }

    @Test func `are the same at the next opening, and one store's are not another's`() throws {
        defer { done() }
        let keys = try DataKeys(directory: directory, master: master("a"))
        #expect(try DataKeys.masterKeyID(of: directory) == nil)
        let row = try keys.sealing(of: "store-0.sqlite", exists: false).rows.seal(head: [1], body: nil, at: place)
        let again = try DataKeys(directory: directory, master: master("a"))
        #expect(try again.sealing(of: "store-0.sqlite", exists: true).rows.open(head: row.head, row: 1).head == [1])
        #expect(throws: RowFault()) {
            try again.sealing(of: "store-1.sqlite", exists: false).rows.open(head: row.head, row: 1)
        }
        #expect(try DataKeys.masterKeyID(of: directory) == master("a").id)
    }

    @Test func `remember whether a store was there before its key`() throws {
        defer { done() }
        let keys = try DataKeys(directory: directory, master: master("a"))
        #expect(try keys.sealing(of: "new", exists: false).mayHavePlainRows == false)
        #expect(try keys.sealing(of: "old", exists: true).mayHavePlainRows)
        let again = try DataKeys(directory: directory, master: master("a"))
        #expect(try again.sealing(of: "new", exists: true).mayHavePlainRows == false)
        #expect(try again.sealing(of: "old", exists: true).mayHavePlainRows)
        // Nobody but the holder of the key may say so.
        try text().replacing("\"mayHavePlainRows\" : false", with: "\"mayHavePlainRows\" : true")
            .write(toFile: path, atomically: true, encoding: .utf8)
        #expect(throws: DataKeysError.damaged) { try DataKeys(directory: directory, master: master("a")) }
    }

    @Test func `do not open with another master key, whose refusal changes nothing`() throws {
        defer { done() }
        _ = try DataKeys(directory: directory, master: master("a")).sealing(of: "s", exists: false)
        let before = try text()
        #expect(throws: DataKeysError.wrongKey(sealedBy: try master("a").id)) {
            try DataKeys(directory: directory, master: master("b"))
        }
        #expect(throws: DataKeysError.wrongKey(sealedBy: try master("a").id)) {
            try DataKeys(directory: directory, master: master("b"), old: master("c"))
        }
        #expect(try text() == before)
    }

    @Test func `are wrapped anew at an opening with the old key and the new, and while they are open`() throws {
        defer { done() }
        let keys = try DataKeys(directory: directory, master: master("a"))
        let row = try keys.sealing(of: "s", exists: false).rows.seal(head: [1], body: nil, at: place)
        _ = try DataKeys(directory: directory, master: master("b"), old: master("a"))
        #expect(throws: DataKeysError.wrongKey(sealedBy: try master("b").id)) {
            try DataKeys(directory: directory, master: master("a"))
        }
        let newer = try DataKeys(directory: directory, master: master("b"))
        try newer.rewrap(with: master("c"))
        #expect(newer.masterKeyID == (try master("c").id))
        let newest = try DataKeys(directory: directory, master: master("c"), old: master("b"))
        #expect(try newest.sealing(of: "s", exists: true).rows.open(head: row.head, row: 1).head == [1])
    }

    @Test(arguments: ["", "{}", "[]", "nonsense", "{\"version\": 2, \"masterKey\": \"x\", \"stores\": {}}"])
    func `are damaged if the file is another one`(content: String) throws {
        defer { done() }
        try content.write(toFile: path, atomically: true, encoding: .utf8)
        #expect(throws: DataKeysError.damaged) { try DataKeys(directory: directory, master: master("a")) }
    }

    @Test func `are not made where they cannot be stored`() throws {
        defer { done() }
        let keys = try DataKeys(directory: directory + "/missing", master: master("a"))
        #expect(throws: StoreKeysFault()) { try keys.sealing(of: "s", exists: false) }
    }

    @Test(arguments: ["", "aa", String(repeating: "a", count: 63), String(repeating: "g", count: 64), "AAAA"])
    func `need a master key of 32 bytes`(text: String) { #expect(MasterKey(text: text) == nil) }

    @Test func `take a master key in base64 or hex, whatever space is around it`() throws {
        let bytes = (0..<32).map { UInt8($0) }
        let hex = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        let keys = [hex, hex.uppercased() + "\n", " " + Data(bytes).base64EncodedString() + "\r\n"].map {
            MasterKey(text: $0)?.id
        }
        #expect(Set(keys).count == 1 && keys[0] != nil)
    }
}
