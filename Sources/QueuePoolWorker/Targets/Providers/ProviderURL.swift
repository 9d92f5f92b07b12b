// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// `ses:REGION`, `sendgrid:`, `mailgun:DOMAIN`, `postmark:` and `resend:`, each with `?OPTION[&OPTION]`. A key has no
// place
// in a URL, which stands on a command line: it is in a file or in a variable. Errors name options and what is allowed,
// never what was given.

/// What the URL of an email service says.
struct ProviderURL: Hashable, Sendable {
    private enum Key: Hashable {
        case none
        case file(String)
        case variable(String)
    }

    /// The region of `ses:`, the domain of `mailgun:`; empty for the others.
    let name: String
    /// Where it is asked; `nil`: where it is.
    private(set) var endpoint: String?
    private(set) var isInEU = false
    /// Postmark's message stream.
    private(set) var stream: String?
    /// What the service's statistics call these mails.
    private(set) var tag: String?
    private var key = Key.none

    /// - Parameter rest: what follows the scheme's colon.
    init(_ provider: EmailProvider, _ rest: String) throws(DeliveryURLError) {
        let parts = rest.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        name = parts.first.map(String.init) ?? ""
        if let rule = provider.name {
            guard rule.allows(name) else { throw .refused("\(provider.scheme): needs \(rule.what)") }
        } else if !name.isEmpty {
            throw .refused("\(provider.scheme): takes nothing but options after the colon")
        }
        if parts.count == 2 {
            for option in parts[1].split(separator: "&", omittingEmptySubsequences: false) {
                try read(option, provider)
            }
        }
        if case .key = provider.authorization, key == .none {
            throw .refused("\(provider.scheme): needs key-file=PATH or key-env=NAME")
        }
    }

    private mutating func read(_ option: Substring, _ provider: EmailProvider) throws(DeliveryURLError) {
        let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let value = pair.count == 2 ? MailURL.decoded(pair[1]) : ""
        let name = String(pair[0])
        guard ["endpoint", "tag"].contains(name) || provider.options.contains(name) else {
            throw .refused("An option of \(provider.scheme): is not known")
        }
        guard !value.isEmpty else { throw .refused("\(name) needs a value") }
        switch name {
        case "key-file", "key-env":
            guard key == .none else { throw .refused("A key is given in one way") }
            key = name == "key-file" ? .file(value) : .variable(value)
        case "endpoint":
            guard let found = ProviderURL.endpoint(value) else {
                throw .refused("endpoint needs https://HOST[:PORT], or http:// on loopback")
            }
            endpoint = found
        case "region":
            guard value == "eu" || value == "us" else { throw .refused("The values of region are eu and us") }
            isInEU = value == "eu"
        case "stream": stream = try ProviderURL.word(value, "stream")
        default: tag = try ProviderURL.word(value, name)
        }
    }

    /// What every service takes as a tag: letters, digits, `_` and `-`.
    private static func word(_ value: String, _ option: String) throws(DeliveryURLError) -> String {
        guard value.utf8.count <= 128, value.utf8.allSatisfy({ isAlphanumeric($0) || $0 == 45 || $0 == 95 }) else {
            throw .refused("\(option) needs at most 128 letters, digits, _ and -")
        }
        return value
    }

    /// A base URL without a slash at its end; `nil` if it is none, or a key would go off loopback as plain text.
    private static func endpoint(_ text: String) -> String? {
        let url = text.hasSuffix("/") ? String(text.dropLast()) : text
        let scheme = url.hasPrefix("https://") ? "https://" : "http://"
        guard url.hasPrefix(scheme) else { return nil }
        let authority = url.dropFirst(scheme.count)
        guard !authority.isEmpty,
            authority.utf8.allSatisfy({ isAlphanumeric($0) || "-.:[]".utf8.contains($0) })
        else { return nil }
        if scheme == "https://" { return url }
        if authority == "[::1]" || authority.hasPrefix("[::1]:") { return url }
        let host = authority.prefix { $0 != ":" }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isLoopback = parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
        return isLoopback || host.lowercased() == "localhost" ? url : nil
    }

    static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }

    /// The key, from where it is; empty if requests are signed.
    func readKey() throws(DeliveryURLError) -> String {
        let text: String
        let place: String
        switch key {
        case .none: return ""
        case .variable(let name):
            guard let value = getenv(name) else { throw .refused("The variable of key-env is not set") }
            (text, place) = (String(cString: value), "The variable of key-env")
        case .file(let path):
            place = "The file of key-file"
            guard var bytes = MailURL.contents(of: path, bytesMax: MailURL.passwordBytesMax + 3)?[...] else {
                throw .refused("\(place) cannot be read")
            }
            if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
            if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
            text = String(decoding: bytes, as: UTF8.self)
        }
        // It goes into a header.
        guard text.utf8.allSatisfy({ (33..<127).contains($0) }) else {
            throw .refused("\(place) has more than one line, blanks, or characters beyond ASCII")
        }
        return try MailURL.checked(text, place)
    }
}
