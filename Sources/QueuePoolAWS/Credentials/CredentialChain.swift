// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolJSON
import QueuePoolSigning

// The places where AWS's tools look for credentials, in botocore's order: variables; the role of the profile; a web
// identity (variables, then profile); the keys of the profile; the container's endpoint; the instance's. The first that
// is set up decides: if it is set up and wrong, that is an error, for to sign as somebody else would be worse.
// Sources: botocore/credentials.py (create_credential_resolver); the SDK guide's pages on "container credential
// provider" and "IMDS credential provider".

/// The chain of sources.
package struct CredentialChain: CredentialSource {
    private let surroundings: AWSSurroundings
    private let explicitProfile: String?
    private let service: SecurityTokenService

    /// Hosts that a container's endpoint may have without TLS: besides loopback, ECS's and EKS's own.
    private static let containerHosts: Set<String> = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"]
    private static let roleChainMax = 8

    /// - Parameter profile: named by a setting of our own; then the variables' keys do not count, as in botocore.
    package init(_ surroundings: AWSSurroundings, _ endpoints: AWSEndpoints, profile: String? = nil) {
        self.surroundings = surroundings
        explicitProfile = profile
        service = SecurityTokenService(surroundings, endpoints)
    }

    package func load() async throws(CredentialError) -> AWSCredentials? {
        if explicitProfile == nil, let found = try environment() { return found }
        let name = explicitProfile ?? surroundings.profileName
        let files = surroundings.profiles()
        let profile = files.profile(name)
        if profile == nil, explicitProfile != nil || name != "default" {
            throw CredentialError(source: "profile", reason: "the profile that was named is in no file")
        }
        if let profile, profile["role_arn"] != nil, profile["web_identity_token_file"] == nil {
            return try await role(name, files, depth: 0)
        }
        if let found = try await webIdentity(explicitProfile == nil ? variablesIdentity() : nil) { return found }
        if let profile {
            if let found = try await webIdentity(profileIdentity(profile)) { return found }
            if let found = try keys(profile) { return found }
            for key in ["credential_process", "sso_session", "sso_start_url"] where profile[key] != nil {
                throw CredentialError(source: "profile", reason: "\(key) is not supported")
            }
        }
        if let found = try await container() { return found }
        return try await instance()
    }

    // MARK: - Variables

    private func environment() throws(CredentialError) -> AWSCredentials? {
        guard let key = surroundings.text("AWS_ACCESS_KEY_ID") else { return nil }
        guard let secret = surroundings.text("AWS_SECRET_ACCESS_KEY") else {
            throw CredentialError(
                source: "environment", reason: "AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not")
        }
        return AWSCredentials(
            accessKeyID: key, secretAccessKey: secret, sessionToken: surroundings.text("AWS_SESSION_TOKEN"))
    }

    // MARK: - Profiles

    private func keys(_ profile: [String: String]) throws(CredentialError) -> AWSCredentials? {
        guard let key = profile["aws_access_key_id"] else { return nil }
        guard let secret = profile["aws_secret_access_key"] else {
            throw CredentialError(source: "profile", reason: "aws_access_key_id without aws_secret_access_key")
        }
        return AWSCredentials(accessKeyID: key, secretAccessKey: secret, sessionToken: profile["aws_session_token"])
    }

    /// A profile's `role_arn`, with the credentials of `source_profile` or `credential_source`.
    private func role(_ name: String, _ files: ProfileFile, depth: Int) async throws(CredentialError) -> AWSCredentials
    {
        guard depth < CredentialChain.roleChainMax else {
            throw CredentialError(source: "profile", reason: "source_profile leads in a circle")
        }
        guard let profile = files.profile(name), let arn = profile["role_arn"] else {
            throw CredentialError(source: "profile", reason: "source_profile names a profile that is in no file")
        }
        if profile["mfa_serial"] != nil {
            throw CredentialError(source: "profile", reason: "mfa_serial is not supported: nobody is there to ask")
        }
        let base: AWSCredentials?
        switch (profile["source_profile"], profile["credential_source"]) {
        case (let source?, nil):
            guard let other = files.profile(source) else {
                throw CredentialError(source: "profile", reason: "source_profile names a profile that is in no file")
            }
            // A profile may be its own source: then its keys count.
            if source == name {
                base = try keys(other)
            } else if let found = try await webIdentity(profileIdentity(other)) {
                base = found
            } else if other["role_arn"] != nil {
                base = try await role(source, files, depth: depth + 1)
            } else {
                base = try keys(other)
            }
        case (nil, let source?):
            switch source {
            case "Environment": base = try environment()
            case "EcsContainer": base = try await container()
            case "Ec2InstanceMetadata": base = try await instance()
            default:
                throw CredentialError(
                    source: "profile",
                    reason: "credential_source is none of Environment, EcsContainer, Ec2InstanceMetadata")
            }
        default:
            throw CredentialError(
                source: "profile", reason: "role_arn needs one of source_profile and credential_source")
        }
        guard let base else {
            throw CredentialError(source: "profile", reason: "the source of role_arn has no credentials")
        }
        let request = RoleRequest(
            roleARN: arn, sessionName: profile["role_session_name"], externalID: profile["external_id"],
            duration: profile["duration_seconds"].flatMap { Int($0) })
        return try await service.assumeRole(request, base)
    }

    // MARK: - Web identity

    private struct Identity {
        let file: String
        let arn: String?
        let session: String?
    }

    private func variablesIdentity() -> Identity? {
        surroundings.text("AWS_WEB_IDENTITY_TOKEN_FILE").map { file in
            Identity(
                file: file, arn: surroundings.text("AWS_ROLE_ARN"), session: surroundings.text("AWS_ROLE_SESSION_NAME"))
        }
    }

    private func profileIdentity(_ profile: [String: String]) -> Identity? {
        profile["web_identity_token_file"].map { file in
            Identity(file: file, arn: profile["role_arn"], session: profile["role_session_name"])
        }
    }

    /// The token's file is read each time: the platform replaces it before it expires.
    private func webIdentity(_ identity: Identity?) async throws(CredentialError) -> AWSCredentials? {
        guard let identity else { return nil }
        guard let arn = identity.arn else {
            throw CredentialError(source: "web identity", reason: "a token file without a role")
        }
        guard let token = surroundings.file(identity.file).map(trimmed), !token.isEmpty else {
            throw CredentialError(source: "web identity", reason: "the token file is empty or cannot be read")
        }
        return try await service.assumeRole(
            RoleRequest(roleARN: arn, sessionName: identity.session), webIdentityToken: token)
    }

    // MARK: - Container

    private func container() async throws(CredentialError) -> AWSCredentials? {
        let url: String
        if let path = surroundings.text("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            url = "http://169.254.170.2" + path
        } else if let full = surroundings.text("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            url = full
        } else {
            return nil
        }
        let name = SplitURL(url).host
        let host = name.hasPrefix("[") ? String(name.prefix { $0 != "]" }) + "]" : String(name.prefix { $0 != ":" })
        let isLoopback = host == "localhost" || host == "[::1]" || SplitURL.isIPv4Loopback(host)
        guard url.hasPrefix("https://") || isLoopback || CredentialChain.containerHosts.contains(host) else {
            throw CredentialError(
                source: "container endpoint", reason: "without TLS only loopback and the container's own are allowed")
        }
        var headers: [(name: String, value: String)] = [("Accept", "application/json")]
        if let file = surroundings.text("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            guard let token = surroundings.file(file).map(trimmed), !token.isEmpty else {
                throw CredentialError(
                    source: "container endpoint", reason: "the token file is empty or cannot be read")
            }
            headers.append(("Authorization", token))
        } else if let token = surroundings.text("AWS_CONTAINER_AUTHORIZATION_TOKEN") {
            headers.append(("Authorization", token))
        }
        let answer = try await ask("container endpoint", "GET", url, headers, milliseconds: 2_000)
        return try decode(answer, source: "container endpoint")
    }

    // MARK: - Instance

    private func instance() async throws(CredentialError) -> AWSCredentials? {
        if surroundings.text("AWS_EC2_METADATA_DISABLED")?.lowercased() == "true" { return nil }
        var base = surroundings.text("AWS_EC2_METADATA_SERVICE_ENDPOINT") ?? "http://169.254.169.254"
        if base.hasSuffix("/") { base.removeLast() }
        let source = "instance metadata"
        let token = try await ask(
            source, "PUT", base + "/latest/api/token", [("X-aws-ec2-metadata-token-ttl-seconds", "21600")],
            milliseconds: 1_000)
        let headers = [(name: "X-aws-ec2-metadata-token", value: trimmed(String(decoding: token, as: UTF8.self)))]
        let path = base + "/latest/meta-data/iam/security-credentials/"
        let list = try await ask(source, "GET", path, headers, milliseconds: 1_000)
        guard let role = String(decoding: list, as: UTF8.self).split(whereSeparator: \.isNewline).first else {
            throw CredentialError(source: source, reason: "the instance has no role")
        }
        let answer = try await ask(
            source, "GET", path + percentEncoded(trimmed(String(role))), headers, milliseconds: 1_000)
        return try decode(answer, source: source)
    }

    // MARK: - Parts

    private func ask(
        _ source: String, _ method: String, _ url: String, _ headers: [(name: String, value: String)],
        milliseconds: Int
    ) async throws(CredentialError) -> [UInt8] {
        let answer: HTTPResponse
        do throws(CurlError) {
            answer = try await surroundings.perform(
                HTTPRequest(method: method, url: url, headers: headers, timeoutMilliseconds: milliseconds))
        } catch {
            throw CredentialError(source: source, reason: "no answer: \(error)")
        }
        guard answer.status == 200 else {
            throw CredentialError(source: source, reason: "answered \(answer.status)")
        }
        return answer.body
    }

    private func decode(_ body: [UInt8], source: String) throws(CredentialError) -> AWSCredentials {
        var fields: [String: String] = [:]
        let isRead = body.withUnsafeBytes { bytes in
            var reader = JSONReader(bytes)
            do throws(JSONFault) {
                try reader.beginObject()
                while let key = try reader.nextKey()?.text {
                    if reader.peekKind() == .string {
                        fields[key] = try reader.readString().text
                    } else {
                        try reader.skipValue()
                    }
                }
                return true
            } catch {
                return false
            }
        }
        guard isRead, let key = fields["AccessKeyId"], let secret = fields["SecretAccessKey"],
            let token = fields["Token"],
            let end = fields["Expiration"].flatMap(WallTime.parseISO8601)
        else {
            let code = fields["Code"].map { ", code \(safeCode($0))" } ?? ""
            throw CredentialError(source: source, reason: "an answer without credentials\(code)")
        }
        return AWSCredentials(
            accessKeyID: key, secretAccessKey: secret, sessionToken: token,
            expiresAt: Timestamp(milliseconds: end * 1_000))
    }

    private func trimmed(_ text: String) -> String {
        var text = text[...]
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text.drop(while: \.isWhitespace))
    }
}
