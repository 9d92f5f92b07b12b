// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolEmail

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
    /// In whose name mails are signed, and each key's selector and file: the first selector is the first file's.
    private(set) var signingDomain: String?
    private(set) var selectors: [String] = []
    private(set) var keyFiles: [String] = []

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
        guard (signingDomain == nil) == selectors.isEmpty, selectors.count == keyFiles.count else {
            throw .refused("dkim-domain needs a dkim-selector and a dkim-key-file for each key")
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
        case "dkim-domain", "dkim-selector", "dkim-key-file":
            guard !value.isEmpty else { throw .refused("\(pair[0]) needs a value") }
            try readSigning(pair[0], value)
        default: throw .refused("An option of the mail server is not known")
        }
    }

    private mutating func readSigning(_ option: Substring, _ value: String) throws(DeliveryURLError) {
        switch option {
        case "dkim-selector": selectors.append(value)
        case "dkim-key-file": keyFiles.append(value)
        default:
            guard signingDomain == nil else { throw .refused("dkim-domain is given once") }
            signingDomain = value
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
    static func decoded(_ text: Substring) -> String {
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
        case .file(let path): return try MailURL.passwordOfFile(path)
        }
    }

    static let passwordBytesMax = 4_096

    /// The file without the end of its line.
    private static func passwordOfFile(_ path: String) throws(DeliveryURLError) -> String {
        guard var text = contents(of: path, bytesMax: passwordBytesMax + 3)?[...] else {
            throw .refused("The file of password-file cannot be read")
        }
        if text.last == UInt8(ascii: "\n") { text.removeLast() }
        if text.last == UInt8(ascii: "\r") { text.removeLast() }
        return try checked(String(decoding: text, as: UTF8.self), "The file of password-file")
    }

    /// The first bytes of a file; `nil` if it cannot be read.
    static func contents(of path: String, bytesMax: Int) -> [UInt8]? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: bytesMax)
        var count = 0
        while count < bytes.count {
            let got = bytes.withUnsafeMutableBytes {
                Glibc.read(file, $0.baseAddress.map { $0 + count }, $0.count - count)
            }
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { return nil }
            if got == 0 { break }
            count += got
        }
        return Array(bytes[..<count])
    }

    static func checked(_ password: String, _ place: String) throws(DeliveryURLError) -> String {
        guard !password.isEmpty else { throw .refused("\(place) is empty") }
        guard password.utf8.count <= passwordBytesMax else { throw .refused("\(place) is too long for a password") }
        guard !password.utf8.contains(0) else { throw .refused("\(place) has a NUL") }
        return password
    }
}

extension MailURL {
    /// RSA of 16,384 bits in PEM has some 13,000.
    private static let keyBytesMax = 32_768

    /// What signs the mails, with the keys from their files; `nil` if they go unsigned.
    func readSigner() throws(DeliveryURLError) -> DKIMSigner? {
        guard let signingDomain else { return nil }
        var identities: [DKIMSigner.Identity] = []
        for (selector, file) in zip(selectors, keyFiles) {
            identities.append(DKIMSigner.Identity(selector: selector, key: try MailURL.key(of: file)))
        }
        do {
            return try DKIMSigner(domain: signingDomain, identities: identities)
        } catch .domain {
            throw .refused("dkim-domain \(DKIMError.domain)")
        } catch {
            throw .refused("dkim-selector \(error)")
        }
    }

    private static func key(of path: String) throws(DeliveryURLError) -> DKIMKey {
        guard let bytes = contents(of: path, bytesMax: keyBytesMax + 1) else {
            throw .file("The file of dkim-key-file cannot be read")
        }
        guard bytes.count <= keyBytesMax else { throw .file("The file of dkim-key-file is too long for a key") }
        do {
            return try DKIMKey(pem: String(decoding: bytes, as: UTF8.self))
        } catch {
            throw .file("The file of dkim-key-file \(error)")
        }
    }
}
