// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore
import QueuePoolCurl
import QueuePoolTestSupport
import Testing

@testable import QueuePoolWorker

@Suite struct `A signed webhook` {
    private static let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    private static let other = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"

    @Test func `has the signature that the standard's own library computes`() throws {
        let key = try #require(WebhookSecrets.key(Self.secret))
        let headers = WebhookSecrets(keys: [key]).headers(
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek", seconds: 1_614_265_330, body: Array(#"{"test": 2432232314}"#.utf8))
        #expect(headers.map(\.name) == ["webhook-id", "webhook-timestamp", "webhook-signature"])
        #expect(
            headers.map(\.value) == [
                "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
            ])
    }

    @Test func `has a signature by each of two secrets`() throws {
        let keys = try [Self.secret, Self.other].map { try #require(WebhookSecrets.key($0)) }
        func signature(_ keys: [[UInt8]]) -> String {
            WebhookSecrets(keys: keys).headers(id: "a", seconds: 1, body: [1, 2])[2].value
        }
        #expect(signature(keys) == signature([keys[0]]) + " " + signature([keys[1]]))
        #expect(signature([keys[0]]) != signature([keys[1]]))
    }

    @Test(arguments: [
        "", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64!", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRY=",
        "whsec_" + String(repeating: "AAAA", count: 22),
    ])
    func `takes no secret that is none`(text: String) {
        #expect(WebhookSecrets.key(text) == nil)
    }

    @Test func `reads its secrets from the files that its fragment names, and is asked without the fragment`() throws {
        let path = "/tmp/queuepool-webhook-\(getpid()).secret"
        let file = try #require(fopen(path, "w"))
        fputs(Self.secret + "\n", file)
        fclose(file)
        defer { unlink(path) }
        let option = "#webhook-secret-file=\(path)"
        let engine = CurlEngine()
        defer { engine.shutdown() }
        func webhook(_ fragment: String) throws -> WebhookTarget? {
            try DeliveryURL.target("https://h/p?q=1" + fragment, engine: engine) as? WebhookTarget
        }
        let signed = try #require(try webhook("#rate=5\(option)\(option)"))
        #expect(signed.url == "https://h/p?q=1" && signed.secrets != nil)
        #expect(try webhook("#rate=5")?.secrets == nil)
        for wrong in [option + option + option, "#webhook-secret=x", "#webhook-secret-file=/dev/null", "#place"] {
            #expect(throws: DeliveryURLError.self) { try webhook(wrong) }
        }
    }
}

@Suite struct `An answer's Retry-After` {
    private static let wall = Timestamp(milliseconds: 784_111_777_000)  // Sun, 06 Nov 1994 08:49:37 GMT

    private static func milliseconds(_ value: String, date: String? = nil) -> Int64? {
        var headers = [(name: "retry-after", value: value)]
        if let date { headers.append(("Date", date)) }
        return RetryAfterHeader.milliseconds(
            HTTPResponse(status: 503, headers: headers, body: []), wall: Self.wall)
    }

    @Test(arguments: [
        ("0", 0), ("120", 120_000), (" 7\t", 7_000), ("3600", 3_600_000), ("3601", 3_600_000),
        ("99999999999999999999999", 3_600_000),
    ])
    func `is seconds, up to an hour`(value: String, milliseconds: Int64) {
        #expect(Self.milliseconds(value) == milliseconds)
    }

    @Test(arguments: [
        ("Sun, 06 Nov 1994 08:50:37 GMT", 60_000), ("Sunday, 06-Nov-94 08:50:37 GMT", 60_000),
        ("Sun Nov  6 08:50:37 1994", 60_000), ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("Mon, 07 Nov 1994 08:49:37 GMT", 3_600_000),
    ])
    func `is a date`(value: String, milliseconds: Int64) {
        #expect(Self.milliseconds(value) == milliseconds)
    }

    @Test func `that is a date is compared with the target's own clock`() {
        let date = "Sun, 06 Nov 1994 10:00:00 GMT"
        #expect(Self.milliseconds("Sun, 06 Nov 1994 10:00:05 GMT", date: date) == 5_000)
    }

    @Test(arguments: ["", "soon", "-5", "+5", "1.5", "5s"])
    func `that is neither is none`(value: String) {
        #expect(Self.milliseconds(value) == nil)
    }
}

@Suite struct `A target that wants a pause` {
    private let start = Timestamp(milliseconds: 1_000)

    @Test func `gets nothing until it is over`() {
        let pause = TargetPause()
        #expect(pause.refusal(now: start) == nil)
        pause.note(status: 503, milliseconds: 5_000, now: start)
        #expect(pause.refusal(now: start + 4_999) == .unavailable(errorClass: "http-503-retry-after"))
        #expect(pause.refusal(now: start + 5_000) == nil)
    }

    @Test func `gets it as long as its longest answer says`() {
        let pause = TargetPause()
        pause.note(status: 429, milliseconds: 5_000, now: start)
        pause.note(status: 503, milliseconds: 1_000, now: start)
        #expect(pause.refusal(now: start + 4_999) == .unavailable(errorClass: "http-429-retry-after"))
        pause.note(status: 503, milliseconds: 9_000, now: start)
        #expect(pause.refusal(now: start + 8_999) == .unavailable(errorClass: "http-503-retry-after"))
    }

    @Test(arguments: [(500, Int64(5_000)), (408, 5_000), (503, 0)])
    func `says so by 429 or 503 only`(status: Int, milliseconds: Int64) {
        let pause = TargetPause()
        pause.note(status: status, milliseconds: milliseconds, now: start)
        #expect(pause.refusal(now: start) == nil)
    }

    @Test func `is not asked meanwhile`() async {
        let clock = ManualClock()
        let engine = CurlEngine()
        defer { engine.shutdown() }
        // Nobody listens there: whoever is asked is unreachable.
        let target = WebhookTarget(url: "http://127.0.0.1:1/", engine: engine, clock: clock)
        let answer = HTTPResponse(status: 503, headers: [("Retry-After", "60")], body: [])
        #expect(target.outcome(answer) == .failed(errorClass: "http-503", retryAfterMilliseconds: 60_000))
        let message = WorkMessage(id: "a", handle: "h", group: "g")
        #expect(await target.deliver(message, attempt: 1) == .unavailable(errorClass: "http-503-retry-after"))
        clock.advance(milliseconds: 60_000)
        #expect(await target.deliver(message, attempt: 1) == .unavailable(errorClass: "unreachable"))
    }
}
