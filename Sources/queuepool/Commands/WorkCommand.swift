// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolSettings

/// `queuepool work`
struct WorkCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "work",
        abstract: "Receive messages from a pool's shards, deliver and delete them.",
        discussion: """
            Example:
              queuepool work --pool emails.fifo --deliver smtp://127.0.0.1:2525?tls=off
            Groups are worked on side by side, the messages of a group one after another. Stop it with Ctrl-C or \
            SIGTERM: deliveries under way are finished or released.
            Options of a mail server are at the end of its URL, & between them: tls=off (STARTTLS is required \
            otherwise); password-file=PATH or password-env=NAME for USER's password; dkim-domain=DOMAIN, \
            dkim-selector=NAME and dkim-key-file=PATH (PEM, RSA or Ed25519) to sign mails by DKIM. The last two may be \
            given again for a second key, and each key signs. A mail is signed whether its From is of the domain or not.
            """)

    @OptionGroup(title: "Source and targets") var main: WorkMainOptions
    @OptionGroup(title: "Control store") var control: ControlOptions
    @OptionGroup(title: "Worker, logs and file") var shared: SharedOptions

    func run() async throws {
        try await reportingFailures {
            let settings = try await WorkSettings(
                flags: flags.byKey, environment: ProcessInfo.processInfo.environment)
            startLogging(settings.log)
            try await runWork(settings)
        }
    }

    var flags: FlagTexts {
        var flags = FlagTexts()
        main.fill(&flags)
        control.fill(&flags)
        shared.fill(&flags)
        return flags
    }
}

/// Where `work` receives from, and where it delivers to.
struct WorkMainOptions: ParsableArguments {
    @Option(name: .setting(.endpoint), help: .setting(.endpoint)) var endpoint: String?
    @OptionGroup var token: TokenOptions
    @OptionGroup var tls: ClientTLSOptions
    @Option(name: .setting(.workerPool), help: .setting(.workerPool)) var pool: String?
    @Option(name: .setting(.workerDeliver), help: .setting(.workerDeliver)) var deliver: [String] = []
    @Option(name: .setting(.webhookSecretFile), help: .setting(.webhookSecretFile)) var webhookSecretFile: [String] = []
    @Option(name: .setting(.workerShards), help: .setting(.workerShards)) var shards: String?
    @Option(name: .setting(.metricsListen), help: .setting(.metricsListen)) var metricsListen: String?
    @Flag(name: .setting(.allowInsecureMetricsListen), help: .setting(.allowInsecureMetricsListen))
    var allowInsecureMetricsListen = false

    func fill(_ flags: inout FlagTexts) {
        flags.set(.endpoint, endpoint)
        token.fill(&flags)
        tls.fill(&flags)
        flags.set(.workerPool, pool)
        flags.set(.workerDeliver, deliver)
        flags.set(.webhookSecretFile, webhookSecretFile)
        flags.set(.workerShards, shards)
        flags.set(.metricsListen, metricsListen)
        flags.set(.allowInsecureMetricsListen, allowInsecureMetricsListen)
    }
}
