// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCurl

/// Somewhere that messages are delivered to.
package protocol DeliveryTarget: Sendable {
    /// What kind of target it is, for logs.
    var kind: String { get }
    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome
}

/// Why a text names no target.
public struct DeliveryURLError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    static func refused(_ why: String) -> DeliveryURLError {
        DeliveryURLError(
            description: why
                + "; allowed are stdout:, exec:CMD, http(s)://..., smtp://HOST:PORT[?tls=off] and smtps://HOST:PORT")
    }
}

package enum DeliveryURL {
    /// The target of `stdout:`, `exec:CMD`, `http(s)://`, `smtp://HOST:PORT[?tls=off]` or `smtps://`.
    package static func target(_ text: String, engine: CurlEngine) throws(DeliveryURLError) -> any DeliveryTarget {
        guard let colon = text.firstIndex(of: ":") else { throw .refused("A delivery target needs a scheme") }
        let scheme = text[..<colon].lowercased()
        let rest = String(text[text.index(after: colon)...])
        switch scheme {
        case "stdout":
            guard rest.isEmpty else { throw .refused("stdout: takes nothing after the colon") }
            return StandardOutputTarget()
        case "exec":
            guard !rest.isEmpty else { throw .refused("exec: needs a command") }
            return CommandTarget(command: rest)
        case "http", "https":
            guard rest.hasPrefix("//"), rest.count > 2 else { throw .refused("\(scheme): needs a host") }
            return WebhookTarget(url: text, engine: engine)
        case "smtp", "smtps": return try mail(scheme, rest, engine)
        default: throw .refused("The scheme of a delivery target is not known")
        }
    }

    private static func mail(
        _ scheme: String, _ rest: String, _ engine: CurlEngine
    ) throws(DeliveryURLError) -> any DeliveryTarget {
        guard rest.hasPrefix("//") else { throw .refused("\(scheme): needs //HOST:PORT") }
        let parts = rest.dropFirst(2).split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        var authority = parts.first.map(String.init) ?? ""
        while authority.hasSuffix("/") { authority.removeLast() }
        var requiresTLS = true
        if parts.count == 2 {
            guard parts[1] == "tls=off", scheme == "smtp" else {
                throw .refused("The only option is tls=off, on smtp:")
            }
            requiresTLS = false
        }
        var user: String?
        var password: String?
        if let at = authority.lastIndex(of: "@") {
            let credentials = authority[..<at].split(separator: ":", maxSplits: 1).map { decoded(String($0)) }
            user = credentials.first
            password = credentials.count == 2 ? credentials[1] : nil
            authority = String(authority[authority.index(after: at)...])
        }
        guard !authority.isEmpty, !authority.hasPrefix(":") else { throw .refused("\(scheme): needs a host") }
        return MailTarget(
            url: "\(scheme)://\(authority)", user: user, password: password, requiresTLS: requiresTLS, engine: engine)
    }

    /// Percent-decoding, for credentials.
    private static func decoded(_ text: String) -> String {
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
