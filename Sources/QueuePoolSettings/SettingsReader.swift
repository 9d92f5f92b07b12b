// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Configuration
import Synchronization

// Flags win over environment variables, and these over the YAML file. The getters of swift-configuration give `nil` for
// a value that does not parse, and nothing tells of a key that nobody reads; a typo would start a server that looks
// right. So every value is fetched as text, an access reporter tells which source gave it or failed to, the rules of
// the table are applied here, and the names in the environment and the file are compared with the table's.

/// Reads settings strictly and gathers everything that is wrong with them.
package struct SettingsReader {
    private let reader: ConfigReader
    private let lastAccess: LastAccess
    private let fileKeys: [String]
    private(set) package var errors: [SettingError] = []

    /// - Parameters:
    ///   - flags: texts given on the command line by the settings' keys.
    ///   - environment: the whole environment of the process.
    /// - Throws: `SettingErrors` when the configuration file cannot be read.
    package init(flags: [String: [String]], environment: [String: String]) async throws {
        let lastAccess = LastAccess()
        let flagProvider = InMemoryProvider(name: "flags", values: Self.flagValues(flags))
        let variables = EnvironmentVariablesProvider(environmentVariables: environment)
        var providers: [any ConfigProvider] = [
            flagProvider, KeyMappingProvider(upstream: variables) { $0.prepending("queuepool") },
        ]
        var fileKeys: [String] = []
        let first = ConfigReader(providers: providers)
        if let path = flags[Setting.config.key]?.last ?? first.string(forKey: "config") {
            let (provider, keys) = try await Self.openFile(path)
            providers.append(provider)
            fileKeys = keys
        }
        reader = ConfigReader(providers: providers, accessReporter: lastAccess)
        self.lastAccess = lastAccess
        self.fileKeys = fileKeys
        refuseUnknown(environment: environment)
    }

    private static func flagValues(_ flags: [String: [String]]) -> [AbsoluteConfigKey: ConfigValue] {
        let kinds = Dictionary(uniqueKeysWithValues: Setting.all.map { ($0.key, $0.kind) })
        var values: [AbsoluteConfigKey: ConfigValue] = [:]
        for (key, texts) in flags {
            guard let last = texts.last else { continue }
            let content: ConfigContent = kinds[key] == .list ? .stringArray(texts) : .string(last)
            values[AbsoluteConfigKey(ConfigKey(key))] = ConfigValue(content, isSecret: true)
        }
        return values
    }

    /// The secrets specifier sees every key of the file, which is the one way to list them.
    private static func openFile(_ path: String) async throws -> (any ConfigProvider, [String]) {
        let keys = SeenKeys()
        let options = YAMLSnapshot.ParsingOptions(secretsSpecifier: .dynamic { key, _ in keys.insert(key) })
        let location = InMemoryProvider(values: ["filePath": ConfigValue(.string(path), isSecret: false)])
        do {
            let provider = try await FileProvider<YAMLSnapshot>(
                parsingOptions: options, config: ConfigReader(provider: location))
            return (provider, keys.all)
        } catch {
            // The parser's further lines quote the file, which may hold credentials.
            let why = SettingError.printable(
                String(String(describing: error).prefix { !$0.isNewline }), scalarsMax: 200)
            throw SettingErrors([
                SettingError(
                    name: "config", source: nil,
                    description: "configuration file '\(SettingError.printable(path))' cannot be read: \(why); "
                        + "allowed: a YAML file whose keys are settings")
            ])
        }
    }

    // MARK: - Unknown names -

    private mutating func refuseUnknown(environment: [String: String]) {
        let variables = Setting.all.map(\.environment)
        for name in environment.keys.sorted() where name.hasPrefix(Setting.environmentPrefix) {
            guard !variables.contains(name) else { continue }
            errors.append(.unknown(name, from: .environment, among: variables))
        }
        let keys = Setting.all.filter { $0 != .config }.map(\.key)
        for key in fileKeys where !keys.contains(key) && !key.hasPrefix(Setting.pools.key + ".") {
            errors.append(.unknown(key, from: .file, among: keys))
        }
    }

    // MARK: - Values -

    /// A value and the source that gave it.
    package struct Found<Value> {
        package let value: Value
        /// `nil`: the default of the table.
        package let source: SettingSource?
    }

    /// The text of a setting that is not a list.
    package mutating func text(_ setting: Setting) -> Found<String>? {
        lastAccess.clear()
        if let text = reader.string(forKey: ConfigKey(setting.key), isSecret: true) {
            let source = lastAccess.source
            guard !text.isEmpty else {
                refuse(nil, of: setting, from: source, "is empty")
                return nil
            }
            return Found(value: text, source: source)
        }
        if lastAccess.failed { refuse(nil, of: setting, from: lastAccess.source, "is not one plain value") }
        return setting.fallback.map { Found(value: $0, source: nil) }
    }

    /// The same for a setting that is read again later: what is wrong with it is noted then.
    package mutating func peek(_ setting: Setting) -> Found<String>? {
        let before = errors
        defer { errors = before }
        return text(setting)
    }

    /// The texts of a list; empty when no source names it. In the file one plain value is a list of one.
    package mutating func list(_ setting: Setting) -> Found<[String]>? {
        lastAccess.clear()
        let key = ConfigKey(setting.key)
        var texts = reader.stringArray(forKey: key, isSecret: true)
        if texts == nil, lastAccess.failed {
            texts = reader.string(forKey: key, isSecret: true).map { [$0] }
        }
        guard let texts else {
            if lastAccess.failed { refuse(nil, of: setting, from: lastAccess.source, "is not a list") }
            return nil
        }
        let source = lastAccess.source
        guard !texts.isEmpty, texts.allSatisfy({ !$0.isEmpty }) else {
            refuse(nil, of: setting, from: source, "has an empty entry")
            return nil
        }
        return Found(value: texts, source: source)
    }

    /// The entries of a map in the configuration file, in the order of their names.
    package mutating func fileMap(_ setting: Setting) -> [(name: String, value: String)] {
        let prefix = setting.key + "."
        return fileKeys.filter { $0.hasPrefix(prefix) }.sorted().compactMap { key in
            let name = String(key.dropFirst(prefix.count))
            guard let value = reader.string(forKey: ConfigKey([setting.key, name]), isSecret: true) else {
                refuse(name, of: setting, from: .file, "is not NAME: SHARDS")
                return nil
            }
            return (name, value)
        }
    }

    package mutating func integer(_ setting: Setting) -> Int? {
        guard case .integer(let range) = setting.kind else { return nil }
        return parsed(setting, or: "is not an integer in this range") {
            Int($0).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    package mutating func decimal(_ setting: Setting) -> Double? {
        guard case .decimal(let range) = setting.kind else { return nil }
        return parsed(setting, or: "is not a number in this range") {
            Double($0).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    package mutating func flag(_ setting: Setting) -> Bool? {
        parsed(setting, or: "is neither true nor false") { ["true": true, "false": false][$0.lowercased()] }
    }

    package mutating func choice(_ setting: Setting) -> String? {
        guard case .choice(let names) = setting.kind else { return nil }
        return parsed(setting, or: "is not one of the words") { names.contains($0) ? $0 : nil }
    }

    /// A value that `parse` understands, or `nil` after the refusal is noted.
    package mutating func parsed<Value>(_ setting: Setting, or wrong: String, _ parse: (String) -> Value?) -> Value? {
        guard let found = text(setting) else { return nil }
        guard let value = parse(found.value) else {
            refuse(found.value, of: setting, from: found.source, wrong)
            return nil
        }
        return value
    }

    /// Notes that a value is not allowed.
    package mutating func refuse(_ value: String?, of setting: Setting, from source: SettingSource?, _ wrong: String) {
        errors.append(.value(value, of: setting, from: source ?? .file, is: wrong))
    }

    /// Notes what is wrong between settings.
    package mutating func refuse(_ error: SettingError) { errors.append(error) }

    /// - Throws: `SettingErrors` with everything refused so far.
    package func finish() throws(SettingErrors) {
        if !errors.isEmpty { throw SettingErrors(errors) }
    }
}

/// Remembers which source answered the latest read. Reports come on the reading thread, before the read returns.
private final class LastAccess: AccessReporter {
    private let event = Mutex<(count: Int, failed: Bool)?>(nil)

    func report(_ event: AccessEvent) {
        // The getters turn a provider's failure into a result of nil, so the provider's own result is looked at.
        let providerFailed = if case .failure = event.providerResults.last?.result { true } else { false }
        let failed = providerFailed || event.conversionError != nil
        let count = event.providerResults.count
        self.event.withLock { $0 = (count, failed) }
    }

    func clear() { event.withLock { $0 = nil } }

    /// The sources are asked in order until one answers or fails, so the last one asked is the one.
    var source: SettingSource? { event.withLock { $0 }.flatMap { SettingSource(rawValue: $0.count - 1) } }
    var failed: Bool { event.withLock { $0?.failed ?? false } }
}

private final class SeenKeys: Sendable {
    private let keys = Mutex<[String]>([])

    /// - Returns: `true`, so that every value of the file counts as secret and no description shows it.
    func insert(_ key: String) -> Bool {
        keys.withLock { $0.append(key) }
        return true
    }

    var all: [String] { keys.withLock { $0 } }
}
