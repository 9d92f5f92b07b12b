// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolSealing
import Synchronization
import Testing

private let place = RowPlace(shard: 1, row: 1, kind: 1)

/// A service that keeps keys to itself: what it wraps it notes, and gives back to whoever says the same again.
private final class Service: Sendable {
    struct Entry: Hashable {
        let key: String
        let purpose: KeyPurpose
        let bytes: [UInt8]
    }

    struct State {
        var entries: [[UInt8]: Entry] = [:]
        var wraps = 0
        var fault: KeyWrappingFault?
    }

    let state = Mutex(State())

    var wraps: Int { state.withLock { $0.wraps } }
    func fail(_ fault: KeyWrappingFault?) { state.withLock { $0.fault = fault } }
}

/// A key of the service, by its id, or by a name of which only the service knows whose it is.
private struct ServiceKey: KeyWrapping {
    let service: Service
    let id: String
    var isAnyOf: String?

    func fits(_ id: String) -> Bool { isAnyOf.map { id.hasPrefix($0) } ?? (id == self.id) }

    func wrap(_ dataKey: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8] {
        let result = service.state.withLock { state -> Result<[UInt8], KeyWrappingFault> in
            state.wraps += 1
            if let fault = state.fault { return .failure(fault) }
            let wrapped = Array("wrapped \(state.wraps)".utf8)
            state.entries[wrapped] = Service.Entry(key: id, purpose: purpose, bytes: dataKey)
            return .success(wrapped)
        }
        return try result.get()
    }

    func unwrap(_ wrapped: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8] {
        let (entry, fault) = service.state.withLock { ($0.entries[wrapped], $0.fault) }
        if let fault { throw fault }
        guard let entry else { throw .notOpened }
        guard entry.key == id else { throw .otherKey }
        guard entry.purpose == purpose else { throw .notOpened }
        return entry.bytes
    }
}

@Suite struct `Data keys that a service wraps` {
    private let directory: String
    private let service = Service()

    init() throws {
        directory = FileManager.default.temporaryDirectory.path + "/queuepool-service-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    }

    private var path: String { "\(directory)/\(DataKeys.fileName)" }

    private func text() throws -> String { try String(contentsOfFile: path, encoding: .utf8) }

    private func done() { try? FileManager.default.removeItem(atPath: directory) }

    private func key(_ id: String) -> ServiceKey { ServiceKey(service: service, id: id) }

    /// Data keys of two files, and a row of the first one's.
    private func sealed(_ id: String) throws -> SealedRow {
        let keys = try DataKeys(directory: directory, master: key(id))
        _ = try keys.sealing(of: "second", exists: false)
        return try keys.sealing(of: "first", exists: false).rows.seal(head: [7], body: nil, at: place)
    }

    private func opens(_ row: SealedRow, _ keys: DataKeys) throws -> Bool {
        try keys.sealing(of: "first", exists: true).rows.open(head: row.head, row: 1).head == [7]
    }

    @Test func `come back from it, and it is asked once for each file`() throws {
        defer { done() }
        let row = try sealed("arn:1")
        #expect(service.wraps == 2)
        #expect(try opens(row, DataKeys(directory: directory, master: key("arn:1"))))
        #expect(service.wraps == 2)
        #expect(try DataKeys.masterKeyID(of: directory) == "arn:1")
        // As it stands in a log of AWS, to be looked for.
        #expect(try text().contains("\"arn:1\""))
        let bytes = service.state.withLock { $0.entries.values.map(\.bytes) }
        #expect(bytes.count == 2)
        for key in bytes { #expect(try !text().contains(Data(key).base64EncodedString())) }
    }

    @Test func `of one file are not those of another`() throws {
        defer { done() }
        _ = try sealed("arn:1")
        let (one, two) = (Data("wrapped 1".utf8).base64EncodedString(), Data("wrapped 2".utf8).base64EncodedString())
        try text().replacing(one, with: "@").replacing(two, with: one).replacing("@", with: two)
            .write(toFile: path, atomically: true, encoding: .utf8)
        #expect(throws: DataKeysError.damaged) { try DataKeys(directory: directory, master: key("arn:1")) }
    }

    @Test(arguments: [KeyWrappingFault.refused(code: "DisabledException"), .unavailable(reason: "Unreachable")])
    func `stay closed while it gives none back, and open afterwards`(fault: KeyWrappingFault) throws {
        defer { done() }
        let row = try sealed("arn:1")
        let before = try text()
        service.fail(fault)
        #expect(throws: DataKeysError.masterKey(fault, isOld: false)) {
            try DataKeys(directory: directory, master: key("arn:1"))
        }
        let own = try #require(MasterKey(text: String(repeating: "a", count: 64)))
        #expect(throws: DataKeysError.masterKey(fault, isOld: true)) {
            try DataKeys(directory: directory, master: own, old: key("arn:1"))
        }
        service.fail(nil)
        #expect(try text() == before)
        #expect(try opens(row, DataKeys(directory: directory, master: key("arn:1"))))
    }

    @Test func `need it for a new file only, and say why there is none`() throws {
        defer { done() }
        let row = try sealed("arn:1")
        let said = Mutex<[DataKeysError]>([])
        let keys = try DataKeys(directory: directory, master: key("arn:1")) { error in
            said.withLock { $0.append(error) }
        }
        let fault = KeyWrappingFault.unavailable(reason: "Unreachable")
        service.fail(fault)
        #expect(try opens(row, keys))
        #expect(throws: StoreKeysFault()) { try keys.sealing(of: "third", exists: false) }
        #expect(said.withLock { $0 } == [.masterKey(fault, isOld: false)])
        service.fail(nil)
        #expect(try keys.sealing(of: "third", exists: false).mayHavePlainRows == false)
    }

    @Test func `go from a key of our own to the service, to another of its keys, and back`() throws {
        defer { done() }
        let own = try #require(MasterKey(text: String(repeating: "a", count: 64)))
        let first = try DataKeys(directory: directory, master: own)
        let row = try first.sealing(of: "first", exists: false).rows.seal(head: [7], body: nil, at: place)
        #expect(try opens(row, DataKeys(directory: directory, master: key("arn:1"), old: own)))
        #expect(throws: DataKeysError.wrongKey(sealedBy: "arn:1")) { try DataKeys(directory: directory, master: own) }
        #expect(throws: DataKeysError.wrongKey(sealedBy: "arn:1")) {
            try DataKeys(directory: directory, master: key("arn:2"))
        }
        #expect(try opens(row, DataKeys(directory: directory, master: key("arn:2"), old: key("arn:1"))))
        let last = try DataKeys(directory: directory, master: key("arn:2"))
        try last.rewrap(with: own)
        #expect(try DataKeys.masterKeyID(of: directory) == own.id)
        #expect(try opens(row, last) && opens(row, DataKeys(directory: directory, master: own)))
    }

    @Test func `are refused by the id of their key if the old one is another of the service's`() throws {
        defer { done() }
        _ = try sealed("arn:1")
        let other = ServiceKey(service: service, id: "arn:3", isAnyOf: "arn:")
        #expect(throws: DataKeysError.wrongKey(sealedBy: "arn:1")) {
            try DataKeys(directory: directory, master: key("arn:2"), old: other)
        }
        let alias = ServiceKey(service: service, id: "arn:1", isAnyOf: "arn:")
        _ = try DataKeys(directory: directory, master: key("arn:2"), old: alias)
        #expect(try DataKeys.masterKeyID(of: directory) == "arn:2")
    }

    @Test func `stay with their key if the next one wraps none`() throws {
        defer { done() }
        let row = try sealed("arn:1")
        let before = try text()
        let keys = try DataKeys(directory: directory, master: key("arn:1"))
        let fault = KeyWrappingFault.unavailable(reason: "Timeout")
        service.fail(fault)
        #expect(throws: DataKeysError.masterKey(fault, isOld: false)) { try keys.rewrap(with: key("arn:2")) }
        service.fail(nil)
        #expect(try text() == before && keys.masterKeyID == "arn:1")
        #expect(try opens(row, DataKeys(directory: directory, master: key("arn:1"))))
    }
}
