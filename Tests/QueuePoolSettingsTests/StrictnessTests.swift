// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolSettings
import Testing

/// The refusals of a start that must not succeed.
private func refusals(
    flags: [Setting: [String]] = [:], environment: [String: String] = [:], yaml: String? = nil
) async -> SettingErrors {
    do {
        _ = try await serveSettings(flags: flags, environment: environment, yaml: yaml)
    } catch let errors as SettingErrors {
        return errors
    } catch {
        Issue.record("another error: \(error)")
    }
    return SettingErrors([])
}

@Suite("Wrong settings stop the start")
struct StrictnessTests {
    @Test func `a number that is none names setting, source, value and range`() async {
        let errors = await refusals(environment: ["QUEUEPOOL_SERVER_MAX_CONNECTIONS": "abc"])
        #expect(
            errors.description == "setting 'server.max-connections' (environment QUEUEPOOL_SERVER_MAX_CONNECTIONS): "
                + "value 'abc' is not an integer in this range; allowed: 1...100000")
        #expect(errors.exitCode == 78)
    }

    @Test(arguments: [
        (Setting.quota, "0"), (.quota, "1e3"), (.quota, ""), (.maxConnections, "100001"), (.injectErrorRate, "1.5"),
        (.injectErrorRate, "nan"), (.logLevel, "loud"), (.logFormat, "xml"), (.listen, "9324"), (.listen, ":1"),
        (.listen, "h:65536"), (.listen, "::1:80"), (.control, "postgres:x"), (.createQueueShards, "257"),
        (.serverDeliver, "gopher://x"), (.serverDeliver, "exec:"), (.allowInsecureListen, "maybe"),
    ])
    func `a value out of its range is refused from every source`(setting: Setting, value: String) async {
        let flag = await refusals(flags: [setting: [value]])
        #expect(flag.errors.map(\.name) == [setting.key])
        #expect(flag.exitCode == 64)
        #expect(flag.description.contains("--\(setting.flag)") && flag.description.contains("allowed: "))
        let variable = await refusals(environment: [setting.environment: value])
        #expect(variable.errors.map(\.name) == [setting.key])
        #expect(variable.description.contains(setting.environment))
        let file = await refusals(yaml: "\(setting.key.replacing(".", with: ":\n  ")): '\(value)'\n")
        #expect(file.errors.map(\.name) == [setting.key])
        #expect(file.description.contains("configuration file"))
    }

    @Test func `a key of the file that is no setting is refused with the nearest name`() async {
        let errors = await refusals(yaml: "server:\n  listne: 127.0.0.1:1\n")
        #expect(errors.errors.map(\.name) == ["server.listne"])
        #expect(errors.description.contains("did you mean 'server.listen'?"))
        #expect(errors.description.contains("allowed: "))
    }

    @Test func `a variable that is no setting is refused with the nearest name`() async {
        let errors = await refusals(environment: ["QUEUEPOOL_SHARD_QOUTA": "3"])
        #expect(errors.description.contains("environment variable 'QUEUEPOOL_SHARD_QOUTA' is not a setting"))
        #expect(errors.description.contains("did you mean 'QUEUEPOOL_SHARD_QUOTA'?"))
    }

    @Test func `a list where one value belongs is refused`() async {
        let errors = await refusals(yaml: "shard:\n  quota: [1, 2]\n")
        #expect(errors.errors.map(\.name) == ["shard.quota"])
    }

    @Test func `a map where one value belongs is refused`() async {
        let errors = await refusals(yaml: "shard:\n  quota:\n    send: 1\n")
        #expect(errors.errors.map(\.name) == ["shard.quota.send"])
    }

    @Test(arguments: ["emails=8", "emails.fifo", "emails.fifo=0", "emails.fifo=257", "emails.fifo=x", "é.fifo=1", "=1"])
    func `a wrong pool is refused`(text: String) async {
        #expect(PoolSpec(text) == nil)
        #expect(await refusals(flags: [.pools: [text]]).errors.map(\.name) == ["pools"])
    }

    @Test func `a pool named twice is refused`() async {
        let errors = await refusals(flags: [.pools: ["a.fifo=1", "a.fifo=2"]])
        #expect(errors.description.contains("twice"))
    }

    @Test func `a key written twice in the file is refused`() async {
        #expect(await refusals(yaml: "shard: {quota: 1}\nshard: {quota: 2}\n").errors.map(\.name) == ["config"])
    }

    @Test func `a file that is no YAML, or is not there, is refused`() async {
        #expect(await refusals(yaml: "a: [").errors.map(\.name) == ["config"])
        #expect(await refusals(flags: [.config: ["/nonexistent/x.yaml"]]).errors.map(\.name) == ["config"])
    }

    @Test func `a file that cannot be read as YAML is not quoted`() async {
        let errors = await refusals(yaml: "log:\n  level: canary: canary\n")
        #expect(errors.errors.map(\.name) == ["config"])
        #expect(!errors.description.contains("canary"))
    }

    @Test func `all errors come at once`() async {
        let errors = await refusals(
            flags: [.quota: ["x"]], environment: ["QUEUEPOOL_LOG_LEVEL": "x", "QUEUEPOOL_NO": ""],
            yaml: "pools: [x]\nno: 1\n")
        #expect(Set(errors.errors.map(\.name)) == ["shard.quota", "log.level", "QUEUEPOOL_NO", "pools", "no"])
    }

    @Test(arguments: ["0.0.0.0:9324", "[::]:9324", "192.168.1.1:1", "example.org:80", "127.0.0.1.example.org:80"])
    func `listening off loopback must be asked for by name`(address: String) async throws {
        let errors = await refusals(flags: [.listen: [address]])
        #expect(errors.errors.map(\.name) == ["server.listen"])
        #expect(errors.description.contains("--allow-insecure-listen"))
        let settings = try await serveSettings(flags: [.listen: [address], .allowInsecureListen: ["true"]])
        #expect(settings.listen.description == address)
    }

    @Test(arguments: ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:0"])
    func `loopback needs no leave`(address: String) async throws {
        #expect(try await serveSettings(flags: [.listen: [address]]).listen.isLoopback)
    }

    @Test(arguments: ["mysql:x", "sqlite:", "dynamodb:", "dynamodb:ab", "dynamodb:a b c", "control.sqlite"])
    func `a wrong control store is refused`(text: String) async {
        let errors = await refusals(flags: [.control: [text]])
        #expect(errors.errors.map(\.name) == ["storage.control"])
        #expect(errors.description.contains("sqlite:FILE, dynamodb:TABLE"))
    }

    @Test func `a table, an endpoint and a region are taken`() async throws {
        let settings = try await serveSettings(flags: [
            .control: ["dynamodb:queue.pool_1"], .awsEndpoint: ["http://127.0.0.1:1/"], .awsRegion: ["eu-central-1"],
        ])
        #expect(
            settings.control
                == ControlSettings(
                    address: .dynamoDB(table: "queue.pool_1"), awsEndpoint: "http://127.0.0.1:1",
                    awsRegion: "eu-central-1"))
    }

    @Test func `a value that may be a credential is never shown`() async {
        let errors = await refusals(flags: [.serverDeliver: ["smpt://canary:canary@host"], .tlsKey: ["canary"]])
        #expect(errors.errors.count == 2)
        #expect(!errors.description.contains("canary"))
    }

    @Test func `a worker needs a pool and a target`() async {
        await #expect {
            _ = try await workSettings()
        } throws: { error in
            (error as? SettingErrors)?.errors.map(\.name) == ["worker.pool", "worker.deliver"]
        }
    }

    @Test(arguments: ["", "a", "3-1", "0-", "0,,1", "256", "0-1-2"])
    func `a wrong choice of shards is refused`(text: String) { #expect(!isShardSelection(text)) }

    @Test(arguments: ["0", "0-3", "0,2,4-7", "255"])
    func `a choice of shards is numbers and ranges`(text: String) { #expect(isShardSelection(text)) }
}
