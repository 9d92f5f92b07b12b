// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Foundation
import QueuePoolSettings

// Flags take any text: what is allowed is decided where variables and the file are checked too, by the table of
// settings, so that one start lists all errors with one wording.

extension ArgumentHelp {
    /// The row's sentence, what is allowed, and the default.
    static func setting(_ setting: Setting) -> ArgumentHelp {
        let fallback = setting.fallback.map { "; default: \($0)" } ?? ""
        return ArgumentHelp("\(setting.text) (allowed: \(setting.allowed)\(fallback))", valueName: valueName(setting))
    }

    private static func valueName(_ setting: Setting) -> String {
        switch setting.kind {
        case .integer, .decimal: "number"
        case .choice(let names): names.count > 3 ? "name" : names.joined(separator: "|")
        case .text, .list, .flag: "text"
        }
    }
}

extension NameSpecification {
    static func setting(_ setting: Setting) -> NameSpecification { .customLong(setting.flag) }
}

/// Texts of flags by the settings' keys.
struct FlagTexts {
    private(set) var byKey: [String: [String]] = [:]

    mutating func set(_ setting: Setting, _ text: String?) {
        if let text { byKey[setting.key] = [text] }
    }

    mutating func set(_ setting: Setting, _ texts: [String]) {
        if !texts.isEmpty { byKey[setting.key] = texts }
    }

    mutating func set(_ setting: Setting, _ isOn: Bool) {
        if isOn { byKey[setting.key] = ["true"] }
    }
}

/// Flags that `serve` and `work` share.
struct SharedOptions: ParsableArguments {
    @Option(name: .setting(.config), help: .setting(.config)) var config: String?
    @Option(name: .setting(.concurrency), help: .setting(.concurrency)) var concurrency: String?
    @Option(name: .setting(.visibilitySeconds), help: .setting(.visibilitySeconds)) var visibilitySeconds: String?
    @Option(name: .setting(.maxAttempts), help: .setting(.maxAttempts)) var maxAttempts: String?
    @Option(name: .setting(.retrySeconds), help: .setting(.retrySeconds)) var retrySeconds: String?
    @Option(name: .setting(.graceSeconds), help: .setting(.graceSeconds)) var graceSeconds: String?
    @Option(name: .setting(.trackingHours), help: .setting(.trackingHours)) var trackingHours: String?
    @Option(name: .setting(.logLevel), help: .setting(.logLevel)) var logLevel: String?
    @Option(name: .setting(.logFormat), help: .setting(.logFormat)) var logFormat: String?

    func fill(_ flags: inout FlagTexts) {
        flags.set(.config, config)
        flags.set(.concurrency, concurrency)
        flags.set(.visibilitySeconds, visibilitySeconds)
        flags.set(.maxAttempts, maxAttempts)
        flags.set(.retrySeconds, retrySeconds)
        flags.set(.graceSeconds, graceSeconds)
        flags.set(.trackingHours, trackingHours)
        flags.set(.logLevel, logLevel)
        flags.set(.logFormat, logFormat)
    }
}

/// Flags of commands that go to the control store.
struct ControlOptions: ParsableArguments {
    @Option(name: .setting(.control), help: .setting(.control)) var control: String?
    @Option(name: .setting(.awsEndpoint), help: .setting(.awsEndpoint)) var endpointURL: String?
    @Option(name: .setting(.awsRegion), help: .setting(.awsRegion)) var region: String?

    func fill(_ flags: inout FlagTexts) {
        flags.set(.control, control)
        flags.set(.awsEndpoint, endpointURL)
        flags.set(.awsRegion, region)
    }

    /// - Parameter config: the file that `--config` names.
    func settings(config: String? = nil) async throws -> ControlSettings {
        var flags = FlagTexts()
        fill(&flags)
        flags.set(.config, config)
        return try await ControlSettings(flags: flags.byKey, environment: ProcessInfo.processInfo.environment)
    }
}

/// Flags of what a server is shown.
struct TokenOptions: ParsableArguments {
    @Option(name: .setting(.tokenFile), help: .setting(.tokenFile)) var tokenFile: String?
    @Option(name: .setting(.token), help: .setting(.token)) var token: String?

    func fill(_ flags: inout FlagTexts) {
        flags.set(.tokenFile, tokenFile)
        flags.set(.token, token)
    }
}

/// Flags of TLS towards a server.
struct ClientTLSOptions: ParsableArguments {
    @Option(name: .setting(.clientTLSCA), help: .setting(.clientTLSCA)) var tlsCA: String?
    @Option(name: .setting(.clientTLSCertificate), help: .setting(.clientTLSCertificate)) var tlsCertificate: String?
    @Option(name: .setting(.clientTLSKey), help: .setting(.clientTLSKey)) var tlsKey: String?

    func fill(_ flags: inout FlagTexts) {
        flags.set(.clientTLSCA, tlsCA)
        flags.set(.clientTLSCertificate, tlsCertificate)
        flags.set(.clientTLSKey, tlsKey)
    }
}

/// Flags of commands that only talk to a server.
struct ClientOptions: ParsableArguments {
    @Option(name: .setting(.endpoint), help: .setting(.endpoint)) var endpoint: String?
    @OptionGroup var token: TokenOptions
    @OptionGroup var tls: ClientTLSOptions
    @Option(name: .setting(.config), help: .setting(.config)) var config: String?

    func settings() async throws -> ClientSettings {
        var flags = FlagTexts()
        flags.set(.endpoint, endpoint)
        token.fill(&flags)
        tls.fill(&flags)
        flags.set(.config, config)
        return try await ClientSettings(flags: flags.byKey, environment: ProcessInfo.processInfo.environment)
    }
}
