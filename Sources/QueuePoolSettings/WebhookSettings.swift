// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// Targets of `serve` and `work`. A secret of a webhook is never on the command line, but a path is: the file is looked at here, so that
// a start with a wrong one ends at once and says which setting is wrong, and is read by the target that signs with it.

extension SettingsReader {
    private static let secretsMax = 2

    /// The targets in fallback order. Webhooks have the paths of their secrets in their fragments:
    /// `URL#webhook-secret-file=PATH`.
    mutating func deliverTargets(_ setting: Setting) -> [String] {
        let found = list(setting)
        for target in found?.value ?? [] {
            if !isDeliverTarget(target) {
                refuse(target, of: setting, from: found?.source, "is not a delivery target")
            } else if found?.source == .flag, hasPassword(target) {
                refuse(
                    target, of: setting, from: found?.source,
                    "has a password, which would be in the list of processes: give it by ?password-file=PATH or "
                        + "?password-env=NAME of a mail server, or the whole target by \(setting.environment) or in the "
                        + "configuration file")
            }
        }
        return signed(found?.value ?? [])
    }

    private mutating func signed(_ targets: [String]) -> [String] {
        guard let paths = list(.webhookSecretFile)?.value else { return targets }
        if paths.count > Self.secretsMax { refuseSecret("names more than two files") }
        for path in paths {
            if let fault = WebhookSecretFile.fault(path) { refuseSecret(fault) }
        }
        if !targets.isEmpty, !targets.contains(where: isHTTPAddress) {
            refuseSecret("is given, and no target is a webhook, http://... or https://...")
        }
        // Behind what options a target has already.
        let fragment = paths.map { "#webhook-secret-file=\($0)" }.joined()
        return targets.map { isHTTPAddress($0) ? $0 + fragment : $0 }
    }

    /// What is wrong is mostly in a file, which no change of the command line mends.
    private mutating func refuseSecret(_ wrong: String) {
        let setting = Setting.webhookSecretFile
        refuse(
            SettingError(
                name: setting.key, source: nil,
                description: "setting '\(setting.key)' \(wrong); allowed: \(setting.allowed)"))
    }
}

private enum WebhookSecretFile {
    private static let prefix = Array("whsec_".utf8)
    private static let bytesMax = 4_096

    /// What is wrong with the file of a secret; `nil`: nothing. Shows nothing of it.
    static func fault(_ path: String) -> String? {
        // The path goes on in the fragment of a URL.
        if path.contains("#") { return "is a path with #" }
        var status = stat()
        guard stat(path, &status) == 0 else { return "names a file that cannot be read" }
        // It is read once more later.
        guard status.st_mode & S_IFMT == S_IFREG else { return "names what is no plain file" }
        guard let file = fopen(path, "re") else { return "names a file that cannot be read" }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else { return "names a file that cannot be read" }
        var text = bytes[..<count]
        if text.last == UInt8(ascii: "\n") { text.removeLast() }
        if text.last == UInt8(ascii: "\r") { text.removeLast() }
        guard text.starts(with: prefix), let size = decodedCount(text.dropFirst(prefix.count)) else {
            return "names a file that has no whsec_BASE64"
        }
        return (24...64).contains(size) ? nil : "names a file whose secret has less than 24 or more than 64 bytes"
    }

    /// How many bytes a text of Base64 stands for; `nil` if it is none.
    private static func decodedCount(_ text: ArraySlice<UInt8>) -> Int? {
        let digits = text.prefix { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
                true
            default: false
            }
        }
        let padding = text.dropFirst(digits.count)
        guard text.count % 4 == 0, padding.count <= 2, padding.allSatisfy({ $0 == UInt8(ascii: "=") }) else {
            return nil
        }
        return text.count / 4 * 3 - padding.count
    }
}
