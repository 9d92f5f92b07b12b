// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// `smtp://[USER[:PASSWORD]@]HOST:PORT[?OPTION[&OPTION]]`, and the same with smtps. Whoever may list processes reads a
// command line, so a password has ways around it: a file, or a variable. Errors name options and what is allowed, never
// what was given, for a password may stand anywhere in a text that is not understood.

/// What the URL of a mail server says.
struct MailURL: Hashable {
    /// Where its password is.
    enum Password: Hashable {
        case none
        case text(String)
        case file(String)
        case variable(String)
    }

    let scheme: String
    /// HOST or HOST:PORT
    let authority: String
    let user: String?
    private(set) var password = Password.none
    private(set) var requiresTLS = true

    /// - Parameter rest: what follows the scheme's colon.
    init(scheme: String, _ rest: String) throws(DeliveryURLError) {
        self.scheme = scheme
        guard rest.hasPrefix("//") else { throw .refused("\(scheme): needs //HOST:PORT") }
        let parts = rest.dropFirst(2).split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var authority = parts.first.map(String.init) ?? ""
        while authority.hasSuffix("/") { authority.removeLast() }
        var user: String?
        if let at = authority.lastIndex(of: "@") {
            let credentials = authority[..<at].split(separator: ":", maxSplits: 1).map { MailURL.decoded($0) }
            user = credentials.first
            if credentials.count == 2 { password = .text(credentials[1]) }
            authority = String(authority[authority.index(after: at)...])
        }
        guard !authority.isEmpty, !authority.hasPrefix(":") else { throw .refused("\(scheme): needs a host") }
        self.authority = authority
        self.user = user
        if parts.count == 2 {
            for option in parts[1].split(separator: "&", omittingEmptySubsequences: false) { try read(option) }
        }
        guard password == .none || user?.isEmpty == false else { throw .refused("A password needs a user: USER@HOST") }
        guard password == .none || requiresTLS || isLoopback else {
            throw .refused("With tls=off a password would go off loopback as plain text")
        }
    }

    private mutating func read(_ option: Substring) throws(DeliveryURLError) {
        let pair = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        let value = pair.count == 2 ? MailURL.decoded(pair[1]) : ""
        switch pair[0] {
        case "tls":
            guard value == "off", scheme == "smtp" else { throw .refused("The one value of tls is tls=off, on smtp:") }
            requiresTLS = false
        case "password-file", "password-env":
            guard !value.isEmpty else { throw .refused("\(pair[0]) needs a value") }
            guard password == .none else { throw .refused("A password is given in one way") }
            password = pair[0] == "password-file" ? .file(value) : .variable(value)
        default: throw .refused("An option of the mail server is not known")
        }
    }

    /// Whether only this machine is spoken to; any name but localhost counts as outside.
    private var isLoopback: Bool {
        if authority.hasPrefix("[") { return authority == "[::1]" || authority.hasPrefix("[::1]:") }
        let host = authority.prefix { $0 != ":" }
        if host.lowercased() == "localhost" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// Percent-decoding.
    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension MailURL {
    /// The password, from where it is; `nil` if there is none.
    func readPassword() throws(DeliveryURLError) -> String? {
        switch password {
        case .none: return nil
        case .text(let text): return text
        case .variable(let name):
            guard let value = getenv(name) else { throw .refused("The variable of password-env is not set") }
            return try MailURL.checked(String(cString: value), "The variable of password-env")
        case .file(let path): return try MailURL.checked(MailURL.contents(of: path), "The file of password-file")
        }
    }

    private static let passwordBytesMax = 4_096

    /// The file without the end of its line.
    private static func contents(of path: String) throws(DeliveryURLError) -> String {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .refused("The file of password-file cannot be read") }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: passwordBytesMax + 3)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes {
                Glibc.read(file, $0.baseAddress.map { $0 + count }, $0.count - count)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw .refused("The file of password-file cannot be read") }
            if got == 0 { break }
            count += got
        }
        var text = bytes[..<count]
        if text.last == UInt8(ascii: "\n") { text.removeLast() }
        if text.last == UInt8(ascii: "\r") { text.removeLast() }
        return String(decoding: text, as: UTF8.self)
    }

    private static func checked(_ password: String, _ place: String) throws(DeliveryURLError) -> String {
        guard !password.isEmpty else { throw .refused("\(place) is empty") }
        guard password.utf8.count <= passwordBytesMax else { throw .refused("\(place) is too long for a password") }
        guard !password.utf8.contains(0) else { throw .refused("\(place) has a NUL") }
        return password
    }
}
