// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The master key that stored messages are sealed under.
package struct SealingSettings: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
        /// Path of a file.
        case file(String)
        case text(HiddenText)
    }

    package var master: Source
    /// Path of the key whose place it takes.
    package var old: String?
}

/// A text that no description shows.
package struct HiddenText: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
    package let text: String

    package var description: String { "(hidden)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

extension Setting {
    private static let keyAllowed = "32 random bytes in base64 or hex"

    package static let masterKeyFile = Setting(
        "master-key-file", flag: "master-key-file", .text,
        allowed: "path of a file that its owner alone may read, with \(keyAllowed)",
        text: "Messages are sealed in the shards' files (AES-256-GCM) under keys that this one wraps. SIGHUP reads the "
            + "file again: another key in it takes the place of the one before.")
    package static let masterKey = Setting(
        "master-key", flag: "master-key", .text, allowed: "\(keyAllowed), by the variable only", isSecret: true,
        text: "The same key without a file. On the command line others could read it, so there it is refused.")
    package static let oldMasterKeyFile = Setting(
        "old-master-key-file", flag: "old-master-key-file", .text,
        allowed: "path of a file such as master-key-file, given with the new key",
        text: "The master key of before, for a start at which the new one takes its place.")
}

extension SettingsReader {
    /// - Returns: `nil` if nothing is sealed, or after a refusal.
    mutating func sealingSettings() -> SealingSettings? {
        let file = text(.masterKeyFile)
        let key = text(.masterKey)
        let old = text(.oldMasterKeyFile)
        if let key, key.source != .environment {
            refuse(nil, of: .masterKey, from: key.source ?? .file, "is where others may read it")
            return nil
        }
        if file != nil, let key {
            refuse(nil, of: .masterKey, from: key.source ?? .environment, "and 'master-key-file' are given both")
            return nil
        }
        if let file { return SealingSettings(master: .file(file.value), old: old?.value) }
        if let key { return SealingSettings(master: .text(HiddenText(text: key.value)), old: old?.value) }
        if let old { refuse(nil, of: .oldMasterKeyFile, from: old.source ?? .file, "is without a new key") }
        return nil
    }
}
