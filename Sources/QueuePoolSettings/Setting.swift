// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What values a setting takes. Every source gives text; a kind says which texts are allowed.
package enum SettingKind: Hashable, Sendable {
    /// Any text that is not empty; the row's `allowed` says more, and the reader of the setting checks it.
    case text
    case integer(ClosedRange<Int>)
    case decimal(ClosedRange<Double>)
    /// `true` or `false`.
    case flag
    case choice([String])
    /// Several texts: a repeated flag, a comma-separated variable, a YAML list.
    case list
}

/// The command that reads a setting.
package enum SettingReaderCommand: String, Hashable, Sendable, CaseIterable {
    case serve
    case work
    case send
    case pool
}

/// One row of the table of settings: help text, strict checks and the printed table are all made from it.
package struct Setting: Hashable, Sendable {
    /// Dotted name, as in the YAML file.
    package let key: String
    /// Long flag without its dashes.
    package let flag: String
    package let kind: SettingKind
    /// The value when no source gives one, as it would be written; `nil`: none.
    package let fallback: String?
    /// What is allowed, for errors and help.
    package let allowed: String
    /// One sentence of help.
    package let text: String
    package let commands: Set<SettingReaderCommand>
    /// Whether a value may hold a credential: then no message ever shows it.
    package let isSecret: Bool

    /// `server.max-connections` -> `QUEUEPOOL_SERVER_MAX_CONNECTIONS`.
    package var environment: String { Setting.environmentName(ofKey: key) }

    package static let environmentPrefix = "QUEUEPOOL_"

    package static func environmentName(ofKey key: String) -> String {
        environmentPrefix + key.uppercased().map { $0.isLetter || $0.isNumber ? String($0) : "_" }.joined()
    }

    package init(
        _ key: String, flag: String, _ kind: SettingKind, fallback: String? = nil, allowed: String? = nil,
        commands: Set<SettingReaderCommand> = [.serve], isSecret: Bool = false, text: String
    ) {
        self.key = key
        self.flag = flag
        self.kind = kind
        self.fallback = fallback
        self.allowed = allowed ?? Setting.allowed(by: kind)
        self.commands = commands
        self.isSecret = isSecret
        self.text = text
    }

    private static func allowed(by kind: SettingKind) -> String {
        switch kind {
        case .text, .list: "text"
        case .integer(let range): "\(range.lowerBound)...\(range.upperBound)"
        case .decimal(let range): "\(range.lowerBound)...\(range.upperBound)"
        case .flag: "true, false"
        case .choice(let names): names.joined(separator: ", ")
        }
    }
}
