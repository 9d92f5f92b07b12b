// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import QueuePoolSigning

// AWS Signature Version 4. Ours, not CURLOPT_AWS_SIGV4: libcurl 7.88 (Debian 12) neither sorts nor encodes the query,
// signs without the security token unless the caller adds the header in the right place, and cannot be told S3's rule
// for paths; these were mended in 8.x one by one. The judge of this file is botocore: Tests/Outside/test_signing.py.
// Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html

/// Signs requests to AWS, keeping the keys derived for a day, region and service.
package final class SignatureV4: Sendable {
    private let author = RequestAuthor()

    package init() {}

    /// The headers to add to a request so that AWS takes it.
    ///
    /// Same input, same output. A header of the request named like one of these is not sent (see `isOurs`).
    /// - Parameter time: what the service's clock shows, to within minutes.
    package func headers(
        for request: AWSRequest, _ credentials: AWSCredentials, at time: Timestamp
    ) -> [(name: String, value: String)] {
        let seconds = time.milliseconds / 1_000
        let url = SplitURL(request.url)
        let given = request.headers.first { SignatureV4.equal($0.name, "x-amz-content-sha256") }?.value
        let payload = given ?? RequestAuthor.hash(request.body)
        var added: [(name: String, value: String)] = [("X-Amz-Date", WallTime.basic(seconds))]
        if let token = credentials.sessionToken { added.append(("X-Amz-Security-Token", token)) }
        if request.service == "s3", given == nil { added.append(("X-Amz-Content-Sha256", payload)) }

        var signed = SignedRequest(method: request.method, target: "\(url.path)?\(url.query)")
        var hasHost = false
        for header in request.headers where !SignatureV4.isOurs(header.name) {
            let name = header.name.lowercased()
            guard !SignatureV4.unsigned.contains(name) else { continue }
            if name == "host" { hasHost = true }
            signed.add(name: name, value: header.value)
        }
        if !hasHost { signed.add(name: "host", value: url.host) }
        for header in added { signed.add(name: header.name, value: header.value) }
        let scope = SigningScope(
            day: seconds / 86_400, region: request.region, service: request.service,
            accessKeyID: credentials.accessKeyID, secret: credentials.secretAccessKey)
        added.append(("Authorization", author.authorization(signed, payload: payload, seconds: seconds, scope)))
        return added
    }

    /// Headers that signing writes; a request's own are left out.
    package static func isOurs(_ name: String) -> Bool {
        equal(name, "x-amz-date") || equal(name, "x-amz-security-token") || equal(name, "authorization")
    }

    /// What proxies may change on the way, and what only the connection is about; the same list as botocore's.
    private static let unsigned: Set<String> = [
        "baggage", "connection", "expect", "keep-alive", "proxy-authenticate", "proxy-authorization", "te",
        "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id",
    ]

    private static func equal(_ name: String, _ lowercased: String) -> Bool {
        name.utf8.count == lowercased.utf8.count && name.lowercased() == lowercased
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
