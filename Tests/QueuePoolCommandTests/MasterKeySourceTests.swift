// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import QueuePoolCore
import QueuePoolTestSupport
import Testing

@testable import QueuePoolSealing
@testable import QueuePoolSettings
@testable import queuepool

@Suite struct `A master key that took its place without a flush` {
    private let directory = NSTemporaryDirectory() + "queuepool-master-\(UUID().uuidString)"

    private func write(_ name: String, digit: String) throws -> String {
        let path = "\(directory)/\(name)"
        try String(repeating: digit, count: 64).write(toFile: path, atomically: true, encoding: .utf8)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        return path
    }

    private func source(
        _ master: SealingSettings.Source, old: SealingSettings.Source? = nil
    ) throws -> MasterKeySource {
        try MasterKeySource(
            SealingSettings(master: master, old: old), directory: directory,
            control: ControlSettings(address: .sqlite(file: "/nowhere")), clock: ManualClock(),
            logger: Logger(label: "test"))
    }

    /// Has the folder fail to be flushed while the data keys are written.
    private func failure(of body: () throws -> Void) -> String? {
        let path = "\(directory)/\(DataKeys.fileName)"
        WholeFile.setFault({ (step: FileStep) -> Int32? in step == .flushFolder ? 28 : nil }, at: path)
        defer { WholeFile.setFault(nil, at: path) }
        do { try body() } catch { return "\(error)" }
        return nil
    }

    @Test func `is told of with both keys, at the start and while the server runs`() throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let path = try write("key", digit: "1")
        let keys = try source(.file(path)).open()
        _ = try keys.sealing(of: "one.sqlite", exists: false)
        let before = keys.masterKeyID
        #expect(MasterKeyReload.outcome(before: before, after: before) == "The data keys stay wrapped as before")

        _ = try write("key", digit: "2")
        let atReload = failure { try source(.file(path)).reload(keys) }
        let both = "keep both master keys, and start with the old one as --old-master-key-file"
        #expect(atReload?.contains(both) == true)
        #expect(MasterKeyReload.outcome(before: before, after: keys.masterKeyID).contains("both must be kept"))

        let next = try write("next", digit: "3")
        let atStart = failure { _ = try source(.file(next), old: .file(path)).open() }
        #expect(atStart?.contains("start with the old one as --old-master-key-file") == true)
    }

    @Test func `is told of by the flag that names the old key`() throws {
        let name = try #require(KMSKeyName("alias/mail"))
        let unflushed = DataKeysError.unflushed(code: 28)
        let file = try source(.file("/nowhere/new"), old: .kms(name))
        #expect(file.failure(unflushed, directory).description.contains("the old one as --old-master-key-kms"))
        let other = try source(.file("/nowhere/new"), old: .file("/nowhere/old"))
        #expect(other.failure(unflushed, directory).description.contains("the old one as --old-master-key-file"))
    }
}
