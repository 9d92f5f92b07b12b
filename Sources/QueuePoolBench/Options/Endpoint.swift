// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The token of a key, for a server that asks for one. No description shows it.
package struct BenchToken: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
    let text: String

    /// - Parameter text: without a line break.
    package init(_ text: String) { self.text = text }

    package var description: String { "(hidden)" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// `http://HOST:PORT` taken apart. Host is an IPv4 address or `localhost`: load is made over loopback or a test
/// network, and name resolution would add a dependency without measuring anything.
struct Endpoint: Hashable, Sendable {
    let host: String
    let port: UInt16
    /// Shown with each request; `nil`: nothing is.
    var token: BenchToken?

    init(host: String, port: UInt16) {
        self.host = host
        self.port = port
    }

    init(_ text: String, token: BenchToken? = nil) throws(InvalidBenchOption) {
        let prefix = "http://"
        var rest = Substring(text)
        guard !rest.hasPrefix("https://") else {
            throw InvalidBenchOption(
                field: "endpoint", value: "an address of https",
                allowed: "http://A.B.C.D:PORT or http://localhost:PORT; bench measures plain HTTP only")
        }
        guard rest.hasPrefix(prefix) else { throw Endpoint.invalid(text) }
        rest = rest.dropFirst(prefix.count)
        if rest.last == "/" { rest = rest.dropLast() }
        let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0 else { throw Endpoint.invalid(text) }
        let host = parts[0] == "localhost" ? "127.0.0.1" : String(parts[0])
        let numbers = host.split(separator: ".", omittingEmptySubsequences: false)
        guard numbers.count == 4, numbers.allSatisfy({ UInt8($0) != nil }) else { throw Endpoint.invalid(text) }
        self.init(host: host, port: port)
        self.token = token
    }

    /// The lines of a request's head that say where it goes and who sends it.
    var headLines: String {
        "Host: \(authority)\r\n" + (token.map { "Authorization: Bearer \($0.text)\r\n" } ?? "")
    }

    var authority: String { "\(host):\(port)" }
    var url: String { "http://\(authority)" }

    private static func invalid(_ text: String) -> InvalidBenchOption {
        InvalidBenchOption(
            field: "endpoint", value: "a text of \(text.utf8.count) bytes",
            allowed: "http://A.B.C.D:PORT or http://localhost:PORT")
    }
}
