// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import Synchronization
import Testing

@testable import QueuePoolSealing

/// A file system that fails once, or stops for good, at one step of the replacement of a file.
private final class FaultyFiles: Sendable {
    private let steps = Mutex<(count: Int, isHit: Bool)>((0, false))
    private let fault: Fault

    init(_ fault: Fault) { self.fault = fault }

    var isHit: Bool { steps.withLock { $0.isHit } }

    func code(_ step: FileStep) -> Int32? {
        steps.withLock { steps in
            // As a process that ended: nothing after it is done, the removal of what was begun neither.
            if steps.isHit, fault.isEnd { return EIO }
            guard step == fault.step else { return nil }
            steps.count += 1
            guard steps.count == fault.nth else { return nil }
            steps.isHit = true
            return fault.isEnd ? EIO : ENOSPC
        }
    }
}

private struct Fault: CustomTestStringConvertible, Sendable {
    let step: FileStep
    /// Which time it is that the step fails; a file is written in pieces.
    var nth = 1
    /// Nothing after it is carried out, as if the process had ended there.
    let isEnd: Bool

    var testDescription: String { "\(step) \(nth)\(isEnd ? ", and then the end" : "")" }

    static let all = FileStep.allCases.flatMap { step in
        (step == .write ? [1, 2] : [1]).flatMap { nth in
            [false, true].map { Fault(step: step, nth: nth, isEnd: $0) }
        }
    }
}

/// How data keys come to be written.
private enum Occasion: CaseIterable { case start, reload, newStore }

@Suite struct `Data keys whose file cannot be written` {
    private let directory: String
    private let names = (0..<60).map { "store-\($0).sqlite" }
    private let old: MasterKey
    private let new: MasterKey

    init() throws {
        directory = FileManager.default.temporaryDirectory.path + "/queuepool-keys-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        old = try #require(MasterKey(text: String(repeating: "a", count: 64)))
        new = try #require(MasterKey(text: String(repeating: "b", count: 64)))
    }

    private func place(_ number: Int) -> RowPlace { RowPlace(shard: 1, row: Int64(number), kind: 1) }

    /// Seals a row of each store.
    private func seal(_ keys: DataKeys) throws -> [SealedRow] {
        try names.enumerated().map { number, name in
            try keys.sealing(of: name, exists: false).rows.seal(head: [UInt8(number)], body: nil, at: place(number))
        }
    }

    /// Whether a master key opens the rows of each store.
    private func opens(_ master: MasterKey, _ rows: [SealedRow]) throws -> Bool {
        let keys: DataKeys
        do throws(DataKeysError) { keys = try DataKeys(directory: directory, master: master) } catch {
            // Anything else would be a file that no key opens.
            guard case .wrongKey = error else { throw error }
            return false
        }
        for (number, row) in rows.enumerated() {
            let sealing = try keys.sealing(of: names[number], exists: true)
            #expect(try sealing.rows.open(head: row.head, row: Int64(number)).head == [UInt8(number)])
        }
        return true
    }

    @Test(arguments: Fault.all, Occasion.allCases)
    private func `are opened by one of two master keys after it, and by the one that was told`(
        fault: Fault, occasion: Occasion
    ) throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let keys = try DataKeys(directory: directory, master: old)
        let rows = try seal(keys)
        let files = FaultyFiles(fault)
        var failure: (any Error)?
        WholeFile.setFault({ files.code($0) }, at: "\(directory)/\(DataKeys.fileName)")
        do {
            switch occasion {
            case .start: _ = try DataKeys(directory: directory, master: new, old: old)
            case .reload: try keys.rewrap(with: new)
            case .newStore: _ = try keys.sealing(of: "other.sqlite", exists: false)
            }
        } catch { failure = error }
        WholeFile.setFault(nil, at: "\(directory)/\(DataKeys.fileName)")
        #expect(files.isHit)
        // A file that is left over may be there; it is not needed to be gone.
        #expect(fault.step == .clear && !fault.isEnd || failure != nil)
        let isNew = try opens(new, rows)
        #expect(try opens(old, rows) != isNew)
        switch failure {
        case nil: #expect(isNew == (occasion != .newStore))
        // The new key is in the file, and a loss of power may bring the old one back: both are to be kept.
        case DataKeysError.unflushed?: #expect(isNew && fault.step == .flushFolder)
        default: #expect(!isNew)
        }
        // It is of no more hindrance, and what is written next is wrapped by the key that is told.
        if !fault.isEnd, occasion != .start {
            _ = try keys.sealing(of: "later.sqlite", exists: false)
            #expect(try opens(keys.masterKeyID == new.id ? new : old, rows))
            #expect(isNew == (keys.masterKeyID == new.id))
        }
        _ = try DataKeys(directory: directory, master: new, old: old)
        #expect(try opens(new, rows))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [DataKeys.fileName])
    }

    @Test func `are not written over by what a crash left half written`() throws {
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let rows = try seal(try DataKeys(directory: directory, master: old))
        let path = "\(directory)/\(DataKeys.fileName)"
        for left in ["", "{\"version\": 1, \"mas", try String(contentsOfFile: path, encoding: .utf8)] {
            try left.write(toFile: path + ".new", atomically: false, encoding: .utf8)
            #expect(try opens(old, rows))
        }
        _ = try DataKeys(directory: directory, master: new, old: old)
        #expect(try opens(new, rows))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory) == [DataKeys.fileName])
    }
}
