// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
package import QueuePoolCore
import QueuePoolSigning
import Synchronization

// AWS Signature Version 4. Ours, not CURLOPT_AWS_SIGV4: libcurl 7.88 (Debian 12) neither sorts nor encodes the query,
// signs without the security token unless the caller adds the header in the right place, and cannot be told S3's rule
// for paths; these were mended in 8.x one by one. The judge of this file is botocore: Tests/Outside/test_signing.py.
// Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

/// Signs requests, keeping the keys derived for a day, region and service.
package final class SignatureV4: Sendable {
    private struct Scope: Hashable {
        let day: Int64
        let region: String
        let service: String
        let accessKeyID: String
        let secretAccessKey: String
    }

    /// Far more than a pool's regions and accounts need in a day; then all are derived again.
    private static let keysMax = 64
    private let keys = Mutex<[Scope: SymmetricKey]>([:])

    package init() {}

    /// The headers to add to a request so that AWS takes it.
    ///
    /// Same input, same output. A header of the request named like one of these is not sent (see `isOurs`).
    /// - Parameter time: what the service's clock shows, to within minutes.
    package func headers(
        for request: AWSRequest, _ credentials: AWSCredentials, at time: Timestamp
    ) -> [(name: String, value: String)] {
        let seconds = time.milliseconds / 1_000
        let date = WallTime.basic(seconds)
        let day = String(date.prefix(8))
        let url = SplitURL(request.url)
        let given = request.headers.first { SignatureV4.equal($0.name, "x-amz-content-sha256") }?.value
        let payload = given ?? SignatureV4.hex(SHA256.hash(data: request.body))
        var added: [(name: String, value: String)] = [("X-Amz-Date", date)]
        if let token = credentials.sessionToken { added.append(("X-Amz-Security-Token", token)) }
        if request.service == "s3", given == nil { added.append(("X-Amz-Content-Sha256", payload)) }

        var signed = request.headers.filter { !SignatureV4.isOurs($0.name) }.map {
            (name: $0.name.lowercased(), value: SignatureV4.trimmed($0.value))
        }.filter { !SignatureV4.unsigned.contains($0.name) }
        if !signed.contains(where: { $0.name == "host" }) { signed.append(("host", url.host)) }
        for header in added { signed.append((header.name.lowercased(), SignatureV4.trimmed(header.value))) }
        let order = signed.indices.sorted { (signed[$0].name, $0) < (signed[$1].name, $1) }

        var canonical: [UInt8] = []
        canonical.reserveCapacity(512 + request.url.utf8.count)
        func add(_ text: some StringProtocol) { canonical.append(contentsOf: text.utf8) }
        add(request.method)
        canonical.append(10)
        request.service == "s3"
            ? add(url.path.isEmpty ? "/" : url.path) : SignatureV4.addEncodedPath(url.path, to: &canonical)
        canonical.append(10)
        SignatureV4.addQuery(url.query, to: &canonical)
        canonical.append(10)
        var names = ""
        for (place, index) in order.enumerated() {
            // A repeated header is one line, its values in the order of the request.
            if place > 0, signed[order[place - 1]].name == signed[index].name {
                canonical[canonical.count - 1] = UInt8(ascii: ",")
            } else {
                add(signed[index].name)
                canonical.append(UInt8(ascii: ":"))
                names += (names.isEmpty ? "" : ";") + signed[index].name
            }
            add(signed[index].value)
            canonical.append(10)
        }
        add("\n\(names)\n\(payload)")

        let scope = "\(day)/\(request.region)/\(request.service)/aws4_request"
        let text = "AWS4-HMAC-SHA256\n\(date)\n\(scope)\n\(SignatureV4.hex(SHA256.hash(data: canonical)))"
        let key = signingKey(
            Scope(
                day: seconds / 86_400, region: request.region, service: request.service,
                accessKeyID: credentials.accessKeyID, secretAccessKey: credentials.secretAccessKey), day)
        let signature = SignatureV4.hex(HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: key))
        added.append(
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope), SignedHeaders=\(names), "
                    + "Signature=\(signature)"
            ))
        return added
    }

    /// Headers that signing writes; a request's own are left out.
    package static func isOurs(_ name: String) -> Bool {
        equal(name, "x-amz-date") || equal(name, "x-amz-security-token") || equal(name, "authorization")
    }

    // MARK: - Parts

    /// What proxies may change on the way, and what only the connection is about; the same list as botocore's.
    private static let unsigned: Set<String> = [
        "baggage", "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te",
        "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id",
    ]

    private func signingKey(_ scope: Scope, _ day: String) -> SymmetricKey {
        if let key = keys.withLock({ $0[scope] }) { return key }
        var key = SymmetricKey(data: Array("AWS4\(scope.secretAccessKey)".utf8))
        for part in [day, scope.region, scope.service, "aws4_request"] {
            key = SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Array(part.utf8), using: key))
        }
        keys.withLock { keys in
            if keys.count >= SignatureV4.keysMax { keys = [:] }
            keys[scope] = key
        }
        return key
    }

    /// Without dot segments and empty ones, each byte but the unreserved and `/` encoded once more.
    private static func addEncodedPath(_ path: Substring, to out: inout [UInt8]) {
        var segments: [Substring] = []
        for segment in path.split(separator: "/") where segment != "." {
            if segment == ".." { _ = segments.popLast() } else { segments.append(segment) }
        }
        for segment in segments {
            out.append(UInt8(ascii: "/"))
            for byte in segment.utf8 {
                if isUnreserved(byte) {
                    out.append(byte)
                } else {
                    out.append(UInt8(ascii: "%"))
                    out.append(digit(byte >> 4, upper: true))
                    out.append(digit(byte & 15, upper: true))
                }
            }
        }
        if segments.isEmpty || path.utf8.last == UInt8(ascii: "/") { out.append(UInt8(ascii: "/")) }
    }

    /// Pairs by name, then by value; encoded already.
    private static func addQuery(_ query: Substring, to out: inout [UInt8]) {
        guard !query.isEmpty else { return }
        let pairs = query.split(separator: "&", omittingEmptySubsequences: false).map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (name: Array(parts[0].utf8), value: parts.count > 1 ? Array(parts[1].utf8) : [])
        }.sorted { a, b in
            a.name == b.name ? a.value.lexicographicallyPrecedes(b.value) : a.name.lexicographicallyPrecedes(b.name)
        }
        for (place, pair) in pairs.enumerated() {
            if place > 0 { out.append(UInt8(ascii: "&")) }
            out.append(contentsOf: pair.name)
            out.append(UInt8(ascii: "="))
            out.append(contentsOf: pair.value)
        }
    }

    private static func isUnreserved(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): true
        default: false
        }
    }

    /// Without blanks at the ends, with single spaces inside.
    private static func trimmed(_ value: String) -> String {
        value.split { $0 == " " || $0 == "\t" }.joined(separator: " ")
    }

    private static func equal(_ name: String, _ lowercased: String) -> Bool {
        name.utf8.count == lowercased.utf8.count && name.lowercased() == lowercased
    }

    private static func digit(_ value: UInt8, upper: Bool = false) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: upper ? "A" : "a") + value - 10
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(64)
        for byte in bytes {
            out.append(digit(byte >> 4))
            out.append(digit(byte & 15))
        }
        return String(decoding: out, as: UTF8.self)
    }
}

/// The parts of a complete URL that signing needs.
struct SplitURL {
    /// As the `Host` header carries it: no user, no port that the scheme implies.
    let host: String
    let path: Substring
    let query: Substring

    init(_ url: String) {
        let isSecure = url.hasPrefix("https://")
        var rest = url[...]
        if let scheme = SplitURL.range(of: "://", in: url) { rest = url[scheme...] }
        rest = rest.prefix { $0 != "#" }
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        let afterHost = rest[authority.endIndex...]
        path = afterHost.prefix { $0 != "?" }
        query = afterHost[path.endIndex...].dropFirst()
        var name = authority.split(separator: "@").last ?? authority
        let implied = isSecure ? ":443" : ":80"
        if name.hasSuffix(implied) { name = name.dropLast(implied.count) }
        host = String(name)
    }

    /// 127.0.0.0/8 as four numbers: a name that only begins so is somebody else's host.
    static func isIPv4Loopback(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    private static func range(of mark: String, in text: String) -> String.Index? {
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix(mark) else { return nil }
        return text.index(colon, offsetBy: mark.count)
    }
}
