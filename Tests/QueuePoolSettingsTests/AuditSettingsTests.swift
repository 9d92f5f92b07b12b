// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings
import Testing

@Suite struct `The setting of the audit log` {
    @Test func `where keys are required it is in the data directory unless it is said`() async throws {
        let keyed: [Setting: [String]] = [.requireKeys: ["true"], .dataDirectory: ["/data"]]
        #expect(try await serveSettings(flags: keyed).auditLog == "/data/audit.log")
        let said = keyed.merging([.auditLog: ["/var/log/who.log"]]) { $1 }
        #expect(try await serveSettings(flags: said).auditLog == "/var/log/who.log")
    }

    @Test func `where they are not there is none unless it is said`() async throws {
        #expect(try await serveSettings(flags: [.dataDirectory: ["/data"]]).auditLog == nil)
        #expect(try await serveSettings(flags: [.auditLog: ["who.log"]]).auditLog == "who.log")
    }

    @Test(arguments: ["/data/": "/data/audit.log", "data/": "data/audit.log", "/": "/audit.log", "": "./audit.log"])
    func `commands that change keys know it by the control store of a data directory`(
        directory: String, log: String
    ) async throws {
        let control = { (more: [String: [String]], environment: [String: String]) in
            try await ControlSettings.inDirectory(flags: more, environment: environment)
        }
        let store = "sqlite:\(directory)control.sqlite"
        for found in [
            try await control([Setting.control.key: [store]], [:]),
            try await control([:], [Setting.control.environment: store]),
        ] {
            #expect(found.auditLog == log)
            // It is the server that makes it.
            #expect(found.directory == nil)
        }
        let said = try await control([Setting.control.key: [store], Setting.auditLog.key: ["/who.log"]], [:])
        #expect(said.auditLog == "/who.log")
        #expect(try await control([Setting.control.key: ["sqlite:\(directory)keys.sqlite"]], [:]).auditLog == nil)
    }

    @Test func `commands that change keys know it with the directory, and not with another control store`() async throws
    {
        let control = { (flags: [String: [String]]) in
            try await ControlSettings.inDirectory(flags: flags, environment: [:]).auditLog
        }
        #expect(try await control([Setting.dataDirectory.key: ["/data"]]) == "/data/audit.log")
        #expect(try await control([Setting.control.key: ["sqlite:/keys"]]) == nil)
        #expect(
            try await control([Setting.control.key: ["sqlite:/keys"], Setting.auditLog.key: ["/who.log"]]) == "/who.log"
        )
    }
}
