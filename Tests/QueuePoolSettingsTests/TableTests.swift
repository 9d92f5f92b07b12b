// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings
import Testing

@Suite("The table of settings")
struct TableTests {
    @Test func `keys and variables are named once`() {
        #expect(Set(Setting.all.map(\.key)).count == Setting.all.count)
        #expect(Set(Setting.all.map(\.environment)).count == Setting.all.count)
    }

    @Test(arguments: SettingReaderCommand.allCases)
    func `flags of a command are named once`(command: SettingReaderCommand) {
        let flags = Setting.of(command).map(\.flag)
        #expect(Set(flags).count == flags.count)
    }

    @Test func `the Markdown table has a row of six cells for each setting`() {
        let lines = Setting.markdownTable().split(separator: "\n")
        #expect(lines.count == Setting.all.count + 2)
        for line in lines {
            #expect(line.replacing("\\|", with: "").split(separator: "|").count == 6, "\(line)")
        }
        #expect(lines.contains { $0.contains("QUEUEPOOL_SHARD_QUOTA") && $0.contains("--quota") })
    }

    @Test func `the nearest name is found, and none when nothing is near`() {
        let errors = SettingError.unknown("QUEUEPOOL_XYZZYXYZZYXYZZY", from: .environment, among: ["QUEUEPOOL_LISTEN"])
        #expect(!errors.description.contains("did you mean"))
        let short = SettingError.unknown(
            "QUEUEPOOL_LISTEN", from: .environment, among: Setting.all.map(\.environment))
        #expect(short.description.contains("did you mean 'QUEUEPOOL_SERVER_LISTEN'?"))
    }
}
