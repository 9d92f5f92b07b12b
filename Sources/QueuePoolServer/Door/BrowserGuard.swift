// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A browser runs code of any page that its user opens, and lets it send requests to this machine. Two rules keep such
// pages out; both look at what a page can't choose:
//
// - Host: a page whose own name was bound to 127.0.0.1 after it was loaded (DNS rebinding) is of the same origin as the
//   server, and could read its answers. Its requests carry that name. On loopback only the names of this machine are
//   answered, and those that the operator allows.
// - Origin and Sec-Fetch-Site: a page of another origin can't read answers, but what it sends would be carried out.
//   Browsers say where a request comes from; programs that are no browsers send neither header. A page of another port
//   of this machine is `same-site`, and just as foreign.

/// Decides whether a request may be one of its user's own. Pure.
package struct BrowserGuard: Hashable, Sendable {
    /// In lower case, without ports.
    private let allowedHosts: Set<String>
    /// Whether other names than this machine's and the allowed ones are refused.
    private let isHostChecked: Bool

    enum Refusal: Hashable {
        case noHost
        case foreignHost
        case foreignOrigin
    }

    /// - Parameters:
    ///   - isLoopback: whether only this machine reaches the server.
    ///   - allowedHosts: names that the server goes by besides, without ports, for instance a proxy's.
    package init(isLoopback: Bool, allowedHosts: [String]) {
        self.allowedHosts = Set(allowedHosts.map { $0.lowercased() })
        // Off loopback nobody knows what names the server has, unless the operator says some.
        isHostChecked = isLoopback || !allowedHosts.isEmpty
    }

    /// - Parameters:
    ///   - host: the header Host.
    ///   - origin: the header Origin.
    ///   - fetchSite: the header Sec-Fetch-Site.
    /// - Returns: why the request is refused; `nil` if it is not.
    func refusal(host: String?, origin: String?, fetchSite: String?) -> Refusal? {
        guard let host, !host.isEmpty else { return .noHost }
        guard allows(host: host) else { return .foreignHost }
        let isOfAllowedHost = origin.map(isOfAllowedHost) ?? false
        if let origin, !isOfAllowedHost, !BrowserGuard.isOwn(origin, host: host) { return .foreignOrigin }
        switch fetchSite?.lowercased() {
        case nil, "same-origin", "none": return nil
        default: return isOfAllowedHost ? nil : .foreignOrigin
        }
    }

    /// Whether the header Host names this server.
    func allows(host: String) -> Bool {
        guard isHostChecked else { return true }
        guard let name = BrowserGuard.name(ofAuthority: host.lowercased()[...]) else { return false }
        return BrowserGuard.isLoopback(name) || allowedHosts.contains(String(name))
    }

    private func isOfAllowedHost(_ origin: String) -> Bool {
        guard let name = BrowserGuard.authority(ofOrigin: origin).flatMap({ BrowserGuard.name(ofAuthority: $0) })
        else { return false }
        return allowedHosts.contains(String(name))
    }

    private static func isOwn(_ origin: String, host: String) -> Bool {
        authority(ofOrigin: origin).map { $0 == host.lowercased() } ?? false
    }

    /// In lower case; `nil` for `null` and for what no web server has.
    private static func authority(ofOrigin origin: String) -> Substring? {
        let origin = origin.lowercased()
        return ["http://", "https://"].first { origin.hasPrefix($0) }.map { origin.dropFirst($0.count) }
    }

    /// `NAME`, `NAME:PORT`, `[IPV6]` or `[IPV6]:PORT` without the port and the brackets.
    private static func name(ofAuthority text: Substring) -> Substring? {
        var name = text
        var port: Substring?
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { return nil }
            name = text[text.index(after: text.startIndex)..<end]
            let rest = text[text.index(after: end)...]
            guard rest.isEmpty || rest.hasPrefix(":") else { return nil }
            port = rest.isEmpty ? nil : rest.dropFirst()
        } else if let colon = text.firstIndex(of: ":") {
            name = text[..<colon]
            port = text[text.index(after: colon)...]
        }
        if let port { guard port.utf8.count <= 5, port.utf8.allSatisfy({ (48...57).contains($0) }) else { return nil } }
        return name.isEmpty ? nil : name
    }

    /// localhost, 127.0.0.0/8 or ::1, and no name that only begins like one of them.
    private static func isLoopback(_ name: Substring) -> Bool {
        if name == "localhost" || name == "::1" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127"
            && parts.allSatisfy { (1...3).contains($0.utf8.count) && $0.utf8.allSatisfy { (48...57).contains($0) } }
    }
}

extension BrowserGuard.Refusal {
    /// What the caller is told. It never repeats the header: a page could read it there.
    var problem: Problem {
        switch self {
        case .noHost:
            Problem(
                "no-host", status: 400, title: "The request has no Host",
                detail: "HTTP/1.1 requires the header Host; it names the server, for instance 127.0.0.1:9324.")
        case .foreignHost:
            Problem(
                "host-not-allowed", status: 403, title: "The server does not go by this name",
                detail: "The header Host must be localhost, 127.0.0.0/8 or [::1], or a name that the server was "
                    + "started with: --allowed-host NAME.")
        case .foreignOrigin:
            Problem(
                "origin-not-allowed", status: 403, title: "A web page of another origin may not call this server",
                detail: "The headers Origin and Sec-Fetch-Site must be absent or of the server's own pages; "
                    + "--allowed-host NAME allows the pages of one more host.")
        }
    }
}
