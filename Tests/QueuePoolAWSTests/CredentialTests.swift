// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolAWS

/// Variables, files and answers of a test; keeps the requests.
final class Stage: Sendable {
    let variables: [String: String]
    let files: [String: String]
    let answers: [String: String]
    let requests = Mutex<[HTTPRequest]>([])

    /// - Parameter answers: body by `METHOD URL`; anything else gets no answer.
    init(_ variables: [String: String] = [:], files: [String: String] = [:], answers: [String: String] = [:]) {
        self.variables = variables
        self.files = files
        self.answers = answers
    }

    var surroundings: AWSSurroundings {
        AWSSurroundings(
            variable: { self.variables[$0] }, file: { self.files[$0] },
            perform: { request throws(CurlError) in
                self.requests.withLock { $0.append(request) }
                guard let body = self.answers["\(request.method) \(request.url)"] else { throw CurlError.unreachable }
                return HTTPResponse(status: 200, headers: [], body: Array(body.utf8))
            }, clock: ServiceClock(ManualClock(Timestamp(milliseconds: 1_440_938_160_000))))
    }

    func load() async throws -> AWSCredentials? {
        try await CredentialChain(surroundings, AWSEndpoints(surroundings)).load()
    }
}

@Suite struct `The credential chain` {
    private static let sts = """
        <R><Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey>
        <SessionToken>t==</SessionToken><Expiration>2015-08-30T13:36:00Z</Expiration></Credentials></R>
        """
    private static let json = """
        {"Code":"Success","AccessKeyId":"ASIA","SecretAccessKey":"s","Token":"t==","Expiration":"2015-08-30T13:36:00Z"}
        """
    private static let temporary = AWSCredentials(
        accessKeyID: "ASIA", secretAccessKey: "s", sessionToken: "t==",
        expiresAt: Timestamp(milliseconds: 1_440_941_760_000))

    @Test func `takes the variables before the files`() async throws {
        let files = ["c": "[default]\naws_access_key_id=F\naws_secret_access_key=f # mine\n"]
        let keys = ["AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "b", "AWS_SHARED_CREDENTIALS_FILE": "c"]
        #expect(try await Stage(keys, files: files).load()?.accessKeyID == "A")
        let fromFile = try await Stage(["AWS_SHARED_CREDENTIALS_FILE": "c"], files: files).load()
        #expect(fromFile == AWSCredentials(accessKeyID: "F", secretAccessKey: "f"))
    }

    @Test func `takes on the role of a profile, signed by its source`() async throws {
        let stage = Stage(
            ["AWS_PROFILE": "p", "AWS_CONFIG_FILE": "c", "AWS_REGION": "eu-central-1"],
            files: [
                "c": """
                [profile base]
                aws_access_key_id = BASE
                aws_secret_access_key = x
                [profile p]
                role_arn = arn:aws:iam::1:role/r
                source_profile = base
                external_id = e/1
                """
            ], answers: ["POST https://sts.eu-central-1.amazonaws.com/": Self.sts])
        #expect(try await stage.load() == Self.temporary)
        let request = try #require(stage.requests.withLock { $0.first })
        let body = String(decoding: request.body, as: UTF8.self)
        #expect(body.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A1%3Arole%2Fr&") && body.contains("ExternalId=e%2F1"))
        #expect(request.headers.contains { $0.name == "Authorization" && $0.value.contains("Credential=BASE/") })
    }

    @Test func `ends a circle of source profiles`() async {
        let role = "role_arn=r\nsource_profile="
        let stage = Stage(
            ["AWS_PROFILE": "a", "AWS_CONFIG_FILE": "c"],
            files: ["c": "[profile a]\n\(role)b\n[profile b]\n\(role)a\n"])
        await #expect(throws: CredentialError.self) { try await stage.load() }
    }

    @Test func `sends a web identity unsigned`() async throws {
        let stage = Stage(
            ["AWS_WEB_IDENTITY_TOKEN_FILE": "t", "AWS_ROLE_ARN": "r"], files: ["t": "token\n"],
            answers: ["POST https://sts.us-east-1.amazonaws.com/": Self.sts])
        #expect(try await stage.load() == Self.temporary)
        let request = try #require(stage.requests.withLock { $0.first })
        #expect(String(decoding: request.body, as: UTF8.self).contains("&WebIdentityToken=token"))
        #expect(!request.headers.contains { $0.name == "Authorization" })
    }

    @Test func `asks the container's endpoint with its token`() async throws {
        let stage = Stage(
            ["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x", "AWS_CONTAINER_AUTHORIZATION_TOKEN": "T"],
            answers: ["GET http://169.254.170.2/v2/x": Self.json])
        #expect(try await stage.load() == Self.temporary)
        #expect(stage.requests.withLock { $0[0].headers.contains { $0.name == "Authorization" && $0.value == "T" } })
    }

    @Test(arguments: ["http://example.com/x", "http://127.0.0.1.example.com/x", "http://127.0.0.1@example.com/x"])
    func `gives no token to a host beyond the machine without TLS`(url: String) async {
        let stage = Stage(["AWS_CONTAINER_CREDENTIALS_FULL_URI": url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "T"])
        await #expect(throws: CredentialError.self) { try await stage.load() }
        #expect(stage.requests.withLock { $0.isEmpty })
    }

    @Test func `asks the instance, token first, and may be told not to`() async throws {
        let base = "http://169.254.169.254/latest"
        let path = "\(base)/meta-data/iam/security-credentials/"
        let answers = ["PUT \(base)/api/token": "TOKEN", "GET \(path)": "role\n", "GET \(path)role": Self.json]
        let stage = Stage(answers: answers)
        #expect(try await stage.load() == Self.temporary)
        #expect(stage.requests.withLock { $0.map(\.timeoutMilliseconds) } == [1_000, 1_000, 1_000])
        #expect(try await Stage(["AWS_EC2_METADATA_DISABLED": "true"], answers: answers).load() == nil)
    }

    @Test func `shows no value of credentials`() {
        let text = "\(Self.temporary) \(String(reflecting: Self.temporary))"
        #expect(text == "AWSCredentials AWSCredentials")
    }
}

@Suite struct `The life of credentials` {
    private static func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }
    private static func hour(_ id: String, from start: Int64) -> AWSCredentials {
        AWSCredentials(accessKeyID: id, secretAccessKey: "s", expiresAt: at(start + 3_600_000))
    }
    private static func word(_ decision: CredentialRefresh.Decision) -> String {
        switch decision {
        case .use(let credentials, let starts): "use \(credentials.accessKeyID)\(starts ? " fetch" : "")"
        case .wait(let starts): "wait\(starts ? " fetch" : "")"
        case .fail: "fail"
        }
    }

    @Test func `goes from waiting to use, to a refresh behind use, to waiting again`() {
        var life = CredentialRefresh()
        #expect(Self.word(life.decide(at: Self.at(0))) == "wait fetch")
        #expect(Self.word(life.decide(at: Self.at(0))) == "wait")
        _ = life.fetched(.success(Self.hour("a", from: 0)), at: Self.at(0), random: 0)
        #expect(Self.word(life.decide(at: Self.at(3_299_999))) == "use a")
        #expect(Self.word(life.decide(at: Self.at(3_300_000))) == "use a fetch")
        #expect(Self.word(life.decide(at: Self.at(3_300_001))) == "use a")
        let error = CredentialError(source: "s", reason: "r")
        _ = life.fetched(.failure(error), at: Self.at(3_300_002), random: 0)
        #expect(Self.word(life.decide(at: Self.at(3_300_003))) == "use a")
        #expect(Self.word(life.decide(at: Self.at(3_301_002))) == "use a fetch")
        #expect(Self.word(life.decide(at: Self.at(3_590_000))) == "wait")
        _ = life.fetched(.failure(error), at: Self.at(3_590_001), random: 0)
        #expect(Self.word(life.decide(at: Self.at(3_590_002))) == "fail")
        #expect(Self.word(life.decide(at: Self.at(3_592_001))) == "wait fetch")
        _ = life.fetched(.success(Self.hour("b", from: 3_592_002)), at: Self.at(3_592_002), random: 0.5)
        #expect(Self.word(life.decide(at: Self.at(3_592_003))) == "use b")
    }

    @Test func `asks again often while nothing can be signed, and seldom while old ones are good`() {
        let error = CredentialError(source: "s", reason: "r")
        func lastPause(of life: CredentialRefresh, failingFrom start: Int64, until end: Int64) -> Int64 {
            var life = life
            var last = start
            var pause: Int64 = 0
            for now in stride(from: start, to: end, by: 500) {
                guard Self.word(life.decide(at: Self.at(now))).hasSuffix("fetch") else { continue }
                _ = life.fetched(.failure(error), at: Self.at(now), random: 0)
                pause = now - last
                last = now
            }
            return pause
        }
        #expect(lastPause(of: CredentialRefresh(), failingFrom: 0, until: 600_000) == 8_000)
        var life = CredentialRefresh()
        _ = life.decide(at: Self.at(0))
        _ = life.fetched(.success(Self.hour("a", from: 0)), at: Self.at(0), random: 0)
        #expect(lastPause(of: life, failingFrom: 3_300_000, until: 3_589_000) == 60_000)
        // What failed while they were good delays nobody once they are not.
        #expect(lastPause(of: life, failingFrom: 3_300_000, until: 3_700_000) == 8_000)
        for now in stride(from: Int64(3_300_000), to: 3_589_000, by: 500) {
            guard Self.word(life.decide(at: Self.at(now))).hasSuffix("fetch") else { continue }
            _ = life.fetched(.failure(error), at: Self.at(now), random: 0)
        }
        #expect(Self.word(life.decide(at: Self.at(3_590_000))) == "wait fetch")
    }

    @Test func `uses none that a service refused, even if the source gives them again`() {
        var life = CredentialRefresh()
        let old = Self.hour("a", from: 0)
        _ = life.decide(at: Self.at(0))
        _ = life.fetched(.success(old), at: Self.at(0), random: 0)
        life.refuse(old)
        #expect(Self.word(life.decide(at: Self.at(1))) == "wait fetch")
        _ = life.fetched(.success(old), at: Self.at(2), random: 0)
        #expect(Self.word(life.decide(at: Self.at(3))) == "fail")
    }
}

@Suite struct `Region and endpoints` {
    @Test func `come from variables before the profile, the service's own before all`() throws {
        let file =
            "[default]\nregion=eu-west-1\nservices=s\nendpoint_url=http://p\n"
            + "[services s]\nsqs =\n  endpoint_url = http://q/\n"
        let fromFile = AWSEndpoints(Stage(["AWS_CONFIG_FILE": "c"], files: ["c": file]).surroundings)
        #expect(fromFile.region == "eu-west-1")
        #expect(try fromFile.url(service: "sqs") == "http://q" && fromFile.url(service: "s3") == "http://p")
        let variables = ["AWS_CONFIG_FILE": "c", "AWS_REGION": "cn-north-1", "AWS_ENDPOINT_URL_S3": "http://v"]
        let both = AWSEndpoints(Stage(variables, files: ["c": file]).surroundings)
        #expect(try both.region == "cn-north-1" && both.url(service: "s3") == "http://v")
    }

    @Test func `refuse a region that is no part of a host's name`() {
        let endpoints = AWSEndpoints(Stage().surroundings)
        #expect(throws: AWSError.permanent(code: "InvalidRegion", status: 0)) {
            try endpoints.url(service: "sqs", region: "a.example/")
        }
        #expect(throws: AWSError.permanent(code: "MissingRegion", status: 0)) { try endpoints.url(service: "sqs") }
    }
}

@Suite struct `What a caller may do after a failure` {
    @Test(arguments: [
        (CurlError.unreachable, false, AWSError.retryable(code: "Unreachable")),
        (.timeout, false, .retryable(code: "Timeout")), (.timeout, true, .unknownOutcome(code: "Timeout")),
        (.other(code: 56), true, .unknownOutcome(code: "Curl56")), (.tls, false, .permanent(code: "TLS", status: 0)),
        // A TLS handshake that was reset.
        (.other(code: 35), false, .retryable(code: "Curl35")), (.cancelled, true, .cancelled),
    ])
    func `depends on whether the request left`(error: CurlError, wasSent: Bool, expected: AWSError) {
        #expect(SignedCaller.error(CurlFailure(error: error, wasSent: wasSent)) == expected)
    }
}
