// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A wrong setting stops the start. The message names the setting and where its value came from, shows the value unless
// it may be a credential, and says what is allowed. All of them are listed at once, so that one start finds all.

/// Where a value came from. Order is precedence: the first that has a value wins.
package enum SettingSource: Int, Hashable, Sendable, CaseIterable {
    case flag
    case environment
    case file
}

/// One wrong or unknown setting.
package struct SettingError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The dotted name, or for an unknown one the name as it was written.
    package let name: String
    /// `nil`: missing everywhere, or wrong only together with others.
    package let source: SettingSource?
    package let description: String

    package init(name: String, source: SettingSource?, description: String) {
        self.name = name
        self.source = source
        self.description = description
    }

    /// A value that is not allowed.
    package static func value(_ value: String?, of setting: Setting, from source: SettingSource, is wrong: String)
        -> SettingError
    {
        let shown = setting.isSecret ? "value (hidden)" : value.map { "value '\(printable($0))'" } ?? "its value"
        return SettingError(
            name: setting.key, source: source,
            description: "setting '\(setting.key)' (\(place(setting, source))): \(shown) \(wrong); "
                + "allowed: \(setting.allowed)")
    }

    /// A setting without which the command cannot run.
    package static func missing(_ setting: Setting) -> SettingError {
        SettingError(
            name: setting.key, source: nil,
            description: "setting '\(setting.key)' is missing: give --\(setting.flag), \(setting.environment) or "
                + "'\(setting.key)' in the configuration file; allowed: \(setting.allowed)")
    }

    /// A name that no setting has.
    package static func unknown(_ name: String, from source: SettingSource, among known: [String]) -> SettingError {
        let shown = printable(name)
        let near = nearestName(to: name, among: known).map { " (did you mean '\($0)'?)" } ?? ""
        let subject = source == .environment ? "environment variable '\(shown)'" : "key '\(shown)' in the file"
        return SettingError(
            name: name, source: source,
            description: "\(subject) is not a setting\(near); allowed: \(known.sorted().joined(separator: ", "))")
    }

    private static func place(_ setting: Setting, _ source: SettingSource) -> String {
        switch source {
        case .flag: "flag --\(setting.flag)"
        case .environment: "environment \(setting.environment)"
        case .file: "configuration file"
        }
    }

    /// The text without control characters, at most `scalarsMax` characters of it.
    package static func printable(_ text: String, scalarsMax: Int = 80) -> String {
        let visible = text.unicodeScalars.prefix(scalarsMax).map { $0.value < 32 || $0.value == 127 ? "?" : String($0) }
        return visible.joined() + (text.unicodeScalars.count > scalarsMax ? "..." : "")
    }
}

/// All wrong settings of one start.
package struct SettingErrors: Error, Hashable, Sendable, CustomStringConvertible {
    package let errors: [SettingError]

    package init(_ errors: [SettingError]) { self.errors = errors }

    package var description: String { errors.map(\.description).joined(separator: "\n") }

    /// 64 (usage) when only flags are wrong, else 78 (configuration), as in sysexits.h.
    package var exitCode: Int32 { errors.allSatisfy { $0.source == .flag } ? 64 : 78 }
}

/// The known name that ends in what was written after the prefix, or else the one with the fewest edits to it, unless
/// more than a third would have to change.
func nearestName(to name: String, among known: [String]) -> String? {
    let prefix = Setting.environmentPrefix
    func bare(_ name: String) -> String {
        (name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : name).lowercased()
    }
    let written = String(bare(name).prefix(100))
    if let longer = known.first(where: { bare($0).hasSuffix("_" + written) || bare($0).hasSuffix("." + written) }) {
        return longer
    }
    let best = known.map { (name: $0, edits: editDistance(Array(written.utf8), Array(bare($0).utf8))) }
        .min { ($0.edits, $0.name) < ($1.edits, $1.name) }
    guard let best, best.edits <= max(2, written.utf8.count / 3) else { return nil }
    return best.name
}

/// Insertions, deletions and replacements that make `a` into `b` (Levenshtein).
/// - Complexity: O(a x b)
func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
        var diagonal = row[0]
        row[0] = i + 1
        for (j, y) in b.enumerated() {
            let replaced = diagonal + (x == y ? 0 : 1)
            diagonal = row[j + 1]
            row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
        }
    }
    return row[b.count]
}
