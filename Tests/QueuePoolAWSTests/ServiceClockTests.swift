// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolAWS

// This machine's clock is two hours behind the services' in all of these: 12:36 here, 14:36 there.

private let here = Timestamp(milliseconds: 1_440_938_160_000)
private let there = here + 7_200_000
private let date = "Sun, 30 Aug 2015 14:36:00 GMT"

private func refusal(_ code: String, status: Int = 403, date: String? = date) -> HTTPResponse {
    HTTPResponse(
        status: status, headers: date.map { [("Date", $0)] } ?? [],
        body: Array("<ErrorResponse><Error><Code>\(code)</Code></Error></ErrorResponse>".utf8))
}

@Suite("The services' clock")
struct ServiceClockTests {
    @Test func `is learned from a refusal for the time, and from nothing else`() {
        let clock = ServiceClock(ManualClock(here))
        #expect(clock.learn(from: refusal("AccessDenied")) == nil)
        #expect(clock.learn(from: refusal("RequestTimeTooSkewed", date: nil)) == nil)
        #expect(clock.learn(from: refusal("RequestTimeTooSkewed", status: 500)) == nil)
        #expect(clock.now() == here)
        #expect(clock.learn(from: refusal("RequestTimeTooSkewed")) == "RequestTimeTooSkewed")
        #expect(clock.now() == there)
    }

    @Test func `teaches once: a signature that is still refused is wrong for another reason`() {
        let clock = ServiceClock(ManualClock(here))
        #expect(clock.learn(from: refusal("SignatureDoesNotMatch")) != nil)
        #expect(clock.learn(from: refusal("SignatureDoesNotMatch")) == nil)
        #expect(clock.now() == there)
    }

    @Test func `is learned from STS too, which is asked once more and signed for by it`() async throws {
        let clock = ServiceClock(ManualClock(here))
        let times = Mutex<[String]>([])
        let surroundings = AWSSurroundings(
            variable: { $0 == "AWS_REGION" ? "eu-central-1" : nil }, file: { _ in nil },
            perform: { request throws(CurlError) in
                let time = request.headers.first { $0.name.lowercased() == "x-amz-date" }?.value ?? ""
                times.withLock { $0.append(time) }
                guard time == "20150830T143600Z" else { return refusal("RequestExpired", status: 400) }
                let credentials = """
                    <AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>
                    <Expiration>2015-08-30T15:36:00Z</Expiration>
                    """
                return HTTPResponse(status: 200, headers: [], body: Array(credentials.utf8))
            }, clock: clock)
        let service = SecurityTokenService(surroundings, AWSEndpoints(surroundings))
        let base = AWSCredentials(accessKeyID: "A", secretAccessKey: "b")
        let got = try await service.assumeRole(RoleRequest(roleARN: "arn:aws:iam::1:role/r"), base)
        #expect(got.accessKeyID == "ASIA")
        #expect(times.withLock { $0 } == ["20150830T123600Z", "20150830T143600Z"])
    }

    @Test func `is the one by which credentials expire`() async throws {
        let clock = ServiceClock(ManualClock(here))
        // Good for an hour by this machine's clock, and over for an hour at the services.
        let source = CountingSource(
            credentials: AWSCredentials(accessKeyID: "A", secretAccessKey: "b", expiresAt: here + 3_600_000))
        let provider = CredentialProvider(source: source, clock: clock, random: { 0 })
        #expect(try await provider.credentials().accessKeyID == "A")
        #expect(clock.learn(from: refusal("RequestTimeTooSkewed")) != nil)
        await #expect(throws: AWSError.self) { try await provider.credentials() }
        #expect(source.loads == 2)
    }
}

/// Gives the same credentials each time, and counts.
private final class CountingSource: CredentialSource {
    private let credentials: AWSCredentials
    private let count = Mutex(0)

    init(credentials: AWSCredentials) { self.credentials = credentials }

    var loads: Int { count.withLock { $0 } }

    func load() async throws(CredentialError) -> AWSCredentials? {
        count.withLock { $0 += 1 }
        return credentials
    }
}
