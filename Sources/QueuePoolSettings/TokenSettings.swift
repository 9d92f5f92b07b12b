// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where the token is by which a command shows a server who it is.
package enum TokenSettings: Hashable, Sendable {
    /// Path of a file.
    case file(String)
    case text(HiddenText)

    /// Bytes of the longest one.
    package static let bytesMax = 4_096

    /// Whether a text can stand behind `Authorization: Bearer` (RFC 6750, 2.1).
    package static func isToken(_ text: String) -> Bool {
        let body = text.utf8.prefix { $0 != UInt8(ascii: "=") }
        return !body.isEmpty && text.utf8.count <= bytesMax
            && body.allSatisfy { isLetterOrDigit($0) || "-._~+/".utf8.contains($0) }
            && text.utf8.dropFirst(body.count).allSatisfy { $0 == UInt8(ascii: "=") }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }

    /// Reads the settings of a token for a server that is no setting itself.
    /// - Parameter endpoint: base URL of that server.
    /// - Returns: `nil` if none is given.
    /// - Throws: `SettingErrors` with everything that is wrong.
    package static func read(
        flags: [String: [String]], environment: [String: String], endpoint: String
    ) async throws -> TokenSettings? {
        var reader = try await SettingsReader(flags: flags, environment: environment)
        let token = reader.tokenSettings(towards: endpoint)
        try reader.finish()
        return token
    }
}

extension Setting {
    package static let tokenFile = Setting(
        "token-file", flag: "token-file", .text,
        allowed: "path of a file that its owner alone may read, with a token or with what 'queuepool key' printed",
        commands: [.work, .send, .pool],
        text: "The token of a key, for a server that asks for one. When the server does not accept it any more, the "
            + "file is read again.")
    package static let token = Setting(
        "token", flag: "token", .text, allowed: "a token of 'queuepool key', by the variable only",
        commands: [.work, .send, .pool], isSecret: true,
        text: "The same token without a file. On the command line others could read it, so there it is refused.")
}

extension SettingsReader {
    /// - Parameter endpoint: base URL of the server that gets it; `nil` if that was refused.
    /// - Returns: `nil` if no token is given, or after a refusal.
    mutating func tokenSettings(towards endpoint: String?) -> TokenSettings? {
        let file = text(.tokenFile)
        let token = text(.token)
        if let token, token.source != .environment {
            refuse(nil, of: .token, from: token.source ?? .file, "is where others may read it")
            return nil
        }
        if file != nil, let token {
            refuse(nil, of: .token, from: token.source ?? .environment, "and 'token-file' are given both")
            return nil
        }
        if let token, !TokenSettings.isToken(token.value) {
            refuse(nil, of: .token, from: token.source ?? .environment, "is no token")
            return nil
        }
        guard let given = file.map({ (Setting.tokenFile, $0.source) }) ?? token.map({ (Setting.token, $0.source) })
        else { return nil }
        if let endpoint, !isPrivate(endpoint) {
            refuse(
                SettingError(
                    name: given.0.key, source: given.1,
                    description: "setting '\(given.0.key)': the token would go off loopback as plain text; allowed: an "
                        + "endpoint of https, or of loopback"))
            return nil
        }
        return file.map { .file($0.value) } ?? token.map { .text(HiddenText(text: $0.value)) }
    }
}

/// Whether nobody in between can read what goes to an address: it is encrypted, or does not leave this machine.
func isPrivate(_ endpoint: String) -> Bool {
    let scheme = "http://"
    guard endpoint.hasPrefix(scheme) else { return endpoint.hasPrefix("https://") }
    let authority = String(endpoint.dropFirst(scheme.count).prefix { !"/?#".contains($0) })
    return (ListenAddress(authority) ?? ListenAddress(authority + ":80"))?.isLoopback == true
}
