// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolSigning

// Roles through STS. Its answers are XML of which four fields matter; they hold no markup, so they are cut out between
// their tags, not parsed. Source: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html

/// What a role's session is asked for.
package struct RoleRequest: Hashable, Sendable {
    package var roleARN: String
    package var sessionName: String
    package var externalID: String?
    /// Seconds, 900 to 43,200; `nil`: the service's hour.
    package var duration: Int?

    package init(roleARN: String, sessionName: String? = nil, externalID: String? = nil, duration: Int? = nil) {
        self.roleARN = roleARN
        self.sessionName = sessionName ?? "queuepool"
        self.externalID = externalID
        self.duration = duration
    }
}

/// The security token service.
package struct SecurityTokenService: Sendable {
    package let surroundings: AWSSurroundings
    package let endpoints: AWSEndpoints
    private static let timeoutMilliseconds = 10_000

    package init(_ surroundings: AWSSurroundings, _ endpoints: AWSEndpoints) {
        self.surroundings = surroundings
        self.endpoints = endpoints
    }

    /// Signed with credentials of one's own.
    package func assumeRole(
        _ role: RoleRequest, _ credentials: AWSCredentials
    ) async throws(CredentialError) -> AWSCredentials {
        try await ask("AssumeRole", role, [("ExternalId", role.externalID)], signedBy: credentials)
    }

    /// Proved by a token, not signed.
    package func assumeRole(
        _ role: RoleRequest, webIdentityToken token: String
    ) async throws(CredentialError) -> AWSCredentials {
        try await ask("AssumeRoleWithWebIdentity", role, [("WebIdentityToken", token)], signedBy: nil)
    }

    private func ask(
        _ action: String, _ role: RoleRequest, _ more: [(String, String?)], signedBy credentials: AWSCredentials?
    ) async throws(CredentialError) -> AWSCredentials {
        let region = endpoints.region ?? "us-east-1"
        let url: String
        do throws(AWSError) { url = try endpoints.url(service: "sts", region: region) } catch {
            throw CredentialError(source: action, reason: "the region cannot be part of a host's name")
        }
        var body = "Action=\(action)&Version=2011-06-15"
        var fields: [(String, String?)] = [("RoleArn", role.roleARN), ("RoleSessionName", role.sessionName)]
        fields += more + [("DurationSeconds", role.duration.map(String.init))]
        for case (let name, let value?) in fields { body += "&\(name)=\(percentEncoded(value))" }
        let request = AWSRequest(
            service: "sts", region: region, url: url + "/",
            headers: [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")], body: Array(body.utf8),
            timeoutMilliseconds: SecurityTokenService.timeoutMilliseconds)
        var answer = try await perform(request, action, signedBy: credentials)
        // Nobody else may have learned the time yet: without a role's credentials nothing else is signed.
        if credentials != nil, surroundings.clock.learn(from: answer) != nil {
            answer = try await perform(request, action, signedBy: credentials)
        }
        let text = String(decoding: answer.body, as: UTF8.self)
        guard answer.status == 200 else {
            let code = field("Code", text).map(safeCode) ?? "no code"
            throw CredentialError(source: action, reason: "STS answered \(answer.status) \(code)")
        }
        guard let key = field("AccessKeyId", text), let secret = field("SecretAccessKey", text),
            let token = field("SessionToken", text), let end = field("Expiration", text).flatMap(WallTime.parseISO8601)
        else { throw CredentialError(source: action, reason: "an answer of STS without credentials") }
        return AWSCredentials(
            accessKeyID: key, secretAccessKey: secret, sessionToken: token,
            expiresAt: Timestamp(milliseconds: end * 1_000))
    }

    private func perform(
        _ request: AWSRequest, _ action: String, signedBy credentials: AWSCredentials?
    ) async throws(CredentialError) -> HTTPResponse {
        let time = surroundings.clock.now()
        let added = credentials.map { SignatureV4().headers(for: request, $0, at: time) } ?? []
        do throws(CurlError) {
            return try await surroundings.perform(
                HTTPRequest(
                    method: "POST", url: request.url, headers: request.headers + added, body: request.body,
                    timeoutMilliseconds: request.timeoutMilliseconds))
        } catch {
            throw CredentialError(source: action, reason: "no answer from STS: \(error)")
        }
    }

    /// The text between a field's tags, without blanks.
    private func field(_ name: String, _ text: String) -> String? {
        let bytes = Array(text.utf8)
        guard let start = SecurityTokenService.find("<\(name)>", bytes, from: 0) else { return nil }
        let from = start + name.utf8.count + 2
        guard let end = SecurityTokenService.find("</\(name)>", bytes, from: from) else { return nil }
        let value = String(decoding: bytes[from..<end], as: UTF8.self).filter { !$0.isWhitespace }
        return value.isEmpty ? nil : value
    }

    private static func find(_ mark: String, _ bytes: [UInt8], from: Int) -> Int? {
        let mark = Array(mark.utf8)
        guard from + mark.count <= bytes.count else { return nil }
        return (from...(bytes.count - mark.count)).first { bytes[$0...].starts(with: mark) }
    }
}

/// A role, taken on with the credentials of another source: a shard in another account, or a profile's `role_arn`.
package struct AssumedRole: CredentialSource {
    let base: any CredentialSource
    let role: RoleRequest
    let service: SecurityTokenService

    package init(base: any CredentialSource, role: RoleRequest, service: SecurityTokenService) {
        self.base = base
        self.role = role
        self.service = service
    }

    package func load() async throws(CredentialError) -> AWSCredentials? {
        guard let credentials = try await base.load() else { return nil }
        return try await service.assumeRole(role, credentials)
    }
}

/// A code that may be shown: letters, digits, dots; never more than a name's worth.
func safeCode(_ text: some StringProtocol) -> String {
    String(
        text.prefix(64).filter { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "." || $0 == "_" || $0 == "-") })
}

/// RFC 3986: all but the unreserved.
package func percentEncoded(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    for byte in text.utf8 {
        let scalar = Unicode.Scalar(byte)
        if scalar.isASCII,
            Character(scalar).isLetter || Character(scalar).isNumber || "-._~".unicodeScalars.contains(scalar)
        {
            out.append(byte)
        } else {
            out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
        }
    }
    return String(decoding: out, as: UTF8.self)
}
