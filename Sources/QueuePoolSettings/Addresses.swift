// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

/// An address to listen on.
package struct ListenAddress: Hashable, Sendable, CustomStringConvertible {
    /// A name or a literal, without brackets.
    package let host: String
    /// 0...65535; 0 takes a free port.
    package let port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// - Returns: `nil` unless the text is HOST:PORT or [IPV6]:PORT.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else { return nil }
        let digits = text[text.index(after: colon)...]
        guard (1...5).contains(digits.count), digits.utf8.allSatisfy({ (48...57).contains($0) }),
            let port = Int(digits), port <= 65_535
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
            guard host.utf8.allSatisfy({ Self.isHexDigit($0) || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") })
            else { return nil }
        } else {
            guard host.utf8.allSatisfy({ PoolName.isAllowed($0) || $0 == UInt8(ascii: ".") }) else { return nil }
        }
        guard !host.isEmpty else { return nil }
        self.init(host: String(host), port: port)
    }

    private static func isHexDigit(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (97...102).contains(byte) || (65...70).contains(byte)
    }

    /// Whether only this machine can reach the address: 127.0.0.0/8, ::1, localhost. Any other name counts as outside.
    package var isLoopback: Bool {
        if host.lowercased() == "localhost" || host == "::1" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    package var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

/// A pool to make at the start when it does not exist.
package struct PoolSpec: Hashable, Sendable {
    package let name: PoolName
    /// 1...256
    package let shards: Int

    package init(name: PoolName, shards: Int) {
        self.name = name
        self.shards = shards
    }

    /// - Returns: `nil` unless the text is NAME=SHARDS with an allowed name and number.
    package init?(_ text: String) {
        guard let equals = text.lastIndex(of: "=") else { return nil }
        self.init(name: String(text[..<equals]), shards: String(text[text.index(after: equals)...]))
    }

    package init?(name: String, shards: String) {
        guard let name = PoolName(name), let shards = Int(shards), (1...Topology.shardsMax).contains(shards) else {
            return nil
        }
        self.init(name: name, shards: shards)
    }
}

/// Where topologies are kept.
package enum ControlAddress: Hashable, Sendable {
    case sqlite(file: String)
    /// 3...255 of letters, digits, dot, hyphen, underscore.
    case dynamoDB(table: String)

    /// As it is given.
    package var text: String {
        switch self {
        case .sqlite(let file): "sqlite:\(file)"
        case .dynamoDB(let table): "dynamodb:\(table)"
        }
    }

    package init?(_ text: String) {
        let parts = text.split(separator: ":", maxSplits: 1)
        guard parts.count == 2 else { return nil }
        switch parts[0] {
        case "sqlite": self = .sqlite(file: String(parts[1]))
        case "dynamodb":
            guard (3...255).contains(parts[1].utf8.count),
                parts[1].utf8.allSatisfy({ PoolName.isAllowed($0) || $0 == UInt8(ascii: ".") })
            else { return nil }
            self = .dynamoDB(table: String(parts[1]))
        default: return nil
        }
    }
}

/// Whether a text names a delivery target. The worker reads the target itself; this only stops a typo at the start.
package func isDeliverTarget(_ text: String) -> Bool {
    if text == "stdout:" { return true }
    if text.hasPrefix("exec:") { return text.count > 5 }
    // What follows is read by the target.
    if ["ses:", "sendgrid:", "mailgun:", "postmark:", "resend:"].contains(where: text.hasPrefix) { return true }
    let schemes = ["smtp://", "smtps://", "http://", "https://", "lambda+http://", "lambda+https://"]
    return schemes.contains { text.hasPrefix($0) && text.count > $0.count }
}

/// Whether a text is shard numbers and ranges, such as `0-3` or `0,2,4-7`, each 0...255 and the ranges rising.
package func isShardSelection(_ text: String) -> Bool {
    let parts = text.split(separator: ",", omittingEmptySubsequences: false)
    return parts.allSatisfy { part in
        let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { UInt8($0) }
        guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1] else { return false }
        return first <= last
    }
}

/// Whether a delivery target that is a URL has a password in it.
package func hasPassword(_ target: String) -> Bool {
    let schemes = ["smtp://", "smtps://", "http://", "https://", "lambda+http://", "lambda+https://"]
    guard let scheme = schemes.first(where: target.hasPrefix) else { return false }
    let rest = target.dropFirst(scheme.count)
    // A mail server's URL has no path, so that what follows is the credentials' whatever is in it.
    let ends: Set<Character> = scheme.hasSuffix("http://") || scheme.hasSuffix("https://") ? ["/", "?", "#"] : ["?"]
    let authority = rest.prefix { !ends.contains($0) }
    return authority.lastIndex(of: "@").map { authority[..<$0].contains(":") } ?? false
}
