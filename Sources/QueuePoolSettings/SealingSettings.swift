// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The master key that stored messages are sealed under.
package struct SealingSettings: Hashable, Sendable {
    package enum Source: Hashable, Sendable {
        /// Path of a file.
        case file(String)
        case text(HiddenText)
        /// A key that AWS KMS keeps.
        case kms(KMSKeyName)
    }

    package var master: Source
    /// The key whose place it takes; never a text.
    package var old: Source?
}

/// A text that no description shows.
package struct HiddenText: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
    package let text: String

    package var description: String { "(hidden)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

extension Setting {
    private static let keyAllowed = "32 random bytes in base64 or hex"
    private static let kmsAllowed = "a key's id, alias/NAME or ARN"

    package static let masterKeyFile = Setting(
        "master-key-file", flag: "master-key-file", .text,
        allowed: "path of a file that its owner alone may read, with \(keyAllowed)",
        text: "What callers give is sealed in the data directory (AES-256-GCM) under keys that this one wraps. SIGHUP "
            + "reads the file again: another key in it takes the place of the one before.")
    package static let masterKey = Setting(
        "master-key", flag: "master-key", .text, allowed: "\(keyAllowed), by the variable only", isSecret: true,
        text: "The same key without a file. On the command line others could read it, so there it is refused.")
    package static let masterKeyKMS = Setting(
        "master-key-kms", flag: "master-key-kms", .text, allowed: kmsAllowed,
        text: "The same by a key of AWS KMS, which never leaves it; needs its Encrypt and Decrypt at the start, for a "
            + "new file's key, and at SIGHUP, which looks again which key an alias names.")
    package static let oldMasterKeyFile = Setting(
        "old-master-key-file", flag: "old-master-key-file", .text,
        allowed: "path of a file such as master-key-file, given with the new key",
        text: "The master key of before, for a start at which the new one takes its place.")
    package static let oldMasterKeyKMS = Setting(
        "old-master-key-kms", flag: "old-master-key-kms", .text, allowed: kmsAllowed + ", given with the new key",
        text: "The same for a key of AWS KMS.")
}

extension SettingsReader {
    /// - Returns: `nil` if nothing is sealed, or after a refusal.
    mutating func sealingSettings() -> SealingSettings? {
        let file = text(.masterKeyFile)
        let key = text(.masterKey)
        let service = text(.masterKeyKMS)
        let old = oldMasterKey()
        if let key, key.source != .environment {
            refuse(nil, of: .masterKey, from: key.source ?? .file, "is where others may read it")
            return nil
        }
        if file != nil, let key {
            refuse(nil, of: .masterKey, from: key.source ?? .environment, "and 'master-key-file' are given both")
            return nil
        }
        if let service, file != nil || key != nil {
            let other = file != nil ? Setting.masterKeyFile : .masterKey
            refuse(service.value, of: .masterKeyKMS, from: service.source, "and '\(other.key)' are given both")
            return nil
        }
        if let file { return SealingSettings(master: .file(file.value), old: old?.key) }
        if let key { return SealingSettings(master: .text(HiddenText(text: key.value)), old: old?.key) }
        if service != nil {
            return kmsKey(.masterKeyKMS).map { SealingSettings(master: .kms($0), old: old?.key) }
        }
        if let old { refuse(nil, of: old.setting, from: old.source ?? .file, "is without a new key") }
        return nil
    }

    private mutating func oldMasterKey() -> (key: SealingSettings.Source, setting: Setting, source: SettingSource?)? {
        let file = text(.oldMasterKeyFile)
        let service = text(.oldMasterKeyKMS)
        if file != nil, let service {
            let both = "and 'old-master-key-file' are given both"
            refuse(service.value, of: .oldMasterKeyKMS, from: service.source, both)
            return nil
        }
        if let file { return (.file(file.value), .oldMasterKeyFile, file.source) }
        guard let service else { return nil }
        return kmsKey(.oldMasterKeyKMS).map { (.kms($0), .oldMasterKeyKMS, service.source) }
    }

    private mutating func kmsKey(_ setting: Setting) -> KMSKeyName? {
        parsed(setting, or: "is not what a key of AWS KMS goes by") { KMSKeyName($0) }
    }
}
