// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolSettings

private let id = "1234abcd-12ab-34cd-56ef-1234567890ab"
private let arn = "arn:aws:kms:eu-central-1:111122223333:key/\(id)"

@Suite struct `Settings of the master key` {
    private func refused(_ flags: [Setting: [String]], _ environment: [String: String] = [:]) async -> [String] {
        do {
            _ = try await serveSettings(flags: flags, environment: environment)
            return []
        } catch {
            return (error as? SettingErrors)?.errors.map(\.name) ?? ["\(error)"]
        }
    }

    @Test func `name a file, a key of AWS KMS, or come from the environment`() async throws {
        #expect(try await serveSettings().sealing == nil)
        #expect(try await serveSettings(flags: [.masterKeyFile: ["a"]]).sealing?.master == .file("a"))
        let named = try #require(KMSKeyName("alias/pool"))
        #expect(try await serveSettings(flags: [.masterKeyKMS: ["alias/pool"]]).sealing?.master == .kms(named))
        #expect(
            try await serveSettings(environment: ["QUEUEPOOL_MASTER_KEY_KMS": "alias/pool"]).sealing?.master
                == .kms(named))
        let both = try await serveSettings(flags: [.masterKeyFile: ["a"], .oldMasterKeyKMS: ["alias/pool"]]).sealing
        #expect(both?.old == .kms(named))
    }

    @Test func `are of one source, and so are those of the old key`() async {
        let kms: [Setting: [String]] = [.masterKeyKMS: ["alias/pool"]]
        #expect(await refused(kms.merging([.masterKeyFile: ["a"]]) { $1 }) == ["master-key-kms"])
        #expect(await refused(kms, ["QUEUEPOOL_MASTER_KEY": "k"]) == ["master-key-kms"])
        #expect(
            await refused(kms.merging([.oldMasterKeyFile: ["a"], .oldMasterKeyKMS: [id]]) { $1 })
                == ["old-master-key-kms"])
        #expect(await refused([.oldMasterKeyKMS: [id]]) == ["old-master-key-kms"])
    }

    @Test(arguments: [
        id, "mrk-1234abcd12ab34cd56ef1234567890ab", "alias/pool", "alias/a/b_c-d",
        "arn:aws:kms:eu-central-1:111122223333:alias/pool", arn,
    ])
    func `take each name that a key of AWS KMS has`(text: String) {
        let name = KMSKeyName(text)
        #expect(name?.text == text && name?.region == (text.hasPrefix("arn:") ? "eu-central-1" : nil))
    }

    @Test(arguments: [
        "pool/emails", "alias/", "alias/a//b", "a b", "key/\(id)", "arn:aws:kms:eu-central-1:111122223333:\(id)",
        "arn:aws:s3:::bucket", "arn:aws:kms:../x:111122223333:key/\(id)", "alias/\u{e9}", "alias/a\r\nX: y",
        "alias/" + String(repeating: "a", count: 2_048),
    ])
    func `refuse what is none`(text: String) async {
        #expect(KMSKeyName(text) == nil)
        #expect(await refused([.masterKeyKMS: [text]]) == ["master-key-kms"])
    }
}
