// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import QueuePoolSettings
import Testing

@testable import queuepool

@Suite("The command line")
struct CommandTests {
    @Test func `every setting of serve and work has its flag, and its sentence stands in the help`() {
        let helps: [(SettingReaderCommand, String)] = [
            (.serve, Queuepool.helpMessage(for: ServeCommand.self, columns: 10_000)),
            (.work, Queuepool.helpMessage(for: WorkCommand.self, columns: 10_000)),
            (.send, Queuepool.helpMessage(for: SendCommand.self, columns: 10_000)),
            (
                .pool,
                Queuepool.helpMessage(for: PoolCommand.List.self, columns: 10_000)
                    + Queuepool.helpMessage(for: PoolCommand.Verify.self, columns: 10_000)
            ),
        ]
        for (command, help) in helps {
            for setting in Setting.of(command) {
                #expect(help.contains("--\(setting.flag)"), "\(command) --\(setting.flag)")
                #expect(help.contains(setting.text), "\(command) --\(setting.flag)")
            }
        }
    }

    @Test func `every command shows an example`() {
        let commands: [any ParsableCommand.Type] = [
            Queuepool.self, ServeCommand.self, WorkCommand.self, SendCommand.self, PoolCommand.self,
            PoolCommand.List.self, PoolCommand.Show.self, PoolCommand.Create.self, PoolCommand.Adopt.self,
            PoolCommand.Verify.self, PoolCommand.Purge.self,
            BenchCommand.self, BenchRunCommand.self, BenchScaleCommand.self,
        ]
        for command in commands {
            #expect(Queuepool.helpMessage(for: command, columns: 200).contains("  queuepool "), "\(command)")
        }
    }

    @Test func `flags of serve reach the settings`() async throws {
        let command = try #require(
            try Queuepool.parseAsRoot([
                "serve", "--listen", "0.0.0.0:0", "--allow-insecure-listen", "--data-dir", "d", "--pool", "a.fifo=2",
                "--pool", "b.fifo=3", "--quota", "300", "--deliver", "stdout:", "--inject-error-rate", "0.5",
                "--log-format", "json", "--max-attempts", "3",
            ]) as? ServeCommand)
        let settings = try await ServeSettings(flags: command.flags.byKey, environment: [:])
        #expect(settings.listen.description == "0.0.0.0:0")
        #expect(settings.control.address == .sqlite(file: "d/control.sqlite"))
        #expect(settings.pools == [PoolSpec("a.fifo=2"), PoolSpec("b.fifo=3")])
        #expect(settings.quota == 300)
        #expect(settings.deliver == ["stdout:"])
        #expect(settings.injection.errorRate == 0.5)
        #expect(settings.log.format == .json)
        #expect(settings.worker.maxAttempts == 3)
    }

    @Test(arguments: [
        ["send", "--pool", "emails"], ["send"], ["send", "--pool", "a.fifo", "--restart"],
        ["send", "--pool", "a.fifo", "--run-id", "x", "file"], ["pool", "show", "a"], ["pool", "purge", "a.fifo"],
        ["pool", "create", "a.fifo", "--shards", "257"], ["pool", "create", "a.fifo", "--shards", "1", "--quota", "0"],
        ["plan"], ["serve", "--lisen", "x"],
    ])
    func `wrong usage is refused with exit code 64`(arguments: [String]) {
        #expect {
            _ = try Queuepool.parseAsRoot(arguments)
        } throws: { error in
            Queuepool.exitCode(for: error).rawValue == ExitStatus.usage
        }
    }

    @Test func `a table is aligned`() {
        let list = PoolList(pools: [
            PoolSummary(
                name: "emails.fifo", epoch: 1, shards: 8, backlog: 12_345, inFlight: 7, delayed: 0,
                oldestAgeSeconds: 3_700, deadLetterQueue: nil)
        ])
        #expect(
            TextTable(list).text == """
                POOL         EPOCH  SHARDS  BACKLOG  IN FLIGHT  DELAYED  OLDEST
                emails.fifo      1       8    12345          7        0   1h01m

                """)
    }

    @Test(arguments: [(0.0, "0s"), (59.9, "59s"), (60, "1m00s"), (3_600, "1h00m"), (90_061, "1d01h"), (-1, "0s")])
    func `ages are short`(seconds: Double, text: String) { #expect(age(seconds) == text) }
}
