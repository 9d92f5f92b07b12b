// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCurl
import QueuePoolSettings

extension TokenSettings {
    /// The setting that gives it.
    var setting: Setting {
        switch self {
        case .file: .tokenFile
        case .text: .token
        }
    }

    /// As errors name it.
    var name: String {
        switch self {
        case .file(let path):
            "setting '\(setting.key)', the file '\(SettingError.printable(path, scalarsMax: 1_024))'"
        case .text: "setting '\(setting.key)' (environment \(setting.environment))"
        }
    }

    /// Reads the token.
    /// - Throws: `CommandFailure` that shows nothing of it.
    func read() throws(CommandFailure) -> String {
        switch self {
        case .text(let hidden): return hidden.text
        case .file(let path):
            let file = SecretFile(setting: .tokenFile, path: path)
            // What 'queuepool key' printed is longer than a token: the token is one of its members.
            let text = try file.read(bytesMax: TokenSettings.bytesMax + 1_024)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            guard !text.isEmpty else { throw file.wrong("is empty") }
            let token = text.hasPrefix("{") ? TokenSettings.token(ofKey: text) : text
            guard let token, TokenSettings.isToken(token) else { throw file.wrong("has no token") }
            return token
        }
    }

    /// What transfers show, read again where it may change.
    /// - Throws: as `read()` does.
    func callerToken() throws(CommandFailure) -> CallerToken {
        let text = try read()
        guard case .file = self else { return CallerToken(text) }
        // While the file is of no use, the token before is all there is.
        return CallerToken(text) { try? self.read() }
    }

    private struct Key: Decodable {
        var token: String
    }

    private static func token(ofKey text: String) -> String? {
        try? JSONDecoder().decode(Key.self, from: Data(text.utf8)).token
    }
}
