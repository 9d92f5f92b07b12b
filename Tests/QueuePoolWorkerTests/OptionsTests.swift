// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import Testing

@testable import QueuePoolWorker

struct OptionsTests {
    @Test(arguments: [
        ("0", [0]), ("0-3", [0, 1, 2, 3]), ("0,2,4-6", [0, 2, 4, 5, 6]), ("3-3", [3]), ("1,1", [1]),
    ])
    func `selections of shards`(text: String, expected: [Int]) {
        #expect(WorkerOptions.shardNumbers(text) == Set(expected))
    }

    @Test(arguments: ["", ",", "a", "3-1", "-1", "1-", "1-2-3", "0,,1", "99999", "0 1", "0-10000"])
    func `what is no selection is refused`(text: String) {
        #expect(WorkerOptions.shardNumbers(text) == nil)
    }

    @Test(arguments: [
        "", "stdout", "stdout:x", "exec:", "http:", "http://", "ftp://h", "smtp:h", "smtp://", "smtp://:25",
        "smtp://h?tls=no",
        "http://h#concurrency=0", "http://h#concurrency=10001", "http://h#concurrency=1.5", "http://h#concurrency=+1",
        "http://h#rate=0", "http://h#rate=-1", "http://h#rate=1e3", "http://h#rate=.5", "http://h#rate=nan",
        "http://h#rate=1000001", "http://h#timeout=0", "http://h#timeout=3601", "http://h#timeout=", "http://h#rate",
        "http://h#", "http://h#rate=1&", "http://h#rate=1&rate=2", "http://h#rate=1#concurrency=1&rate=2",
        "smtp://h#webhook-secret-file=/dev/null", "lambda+http://h#secret", "smtp://h#tls=off",
        "smtps://h?tls=off", "mailto:a@b",
    ])
    func `what is no target is refused`(text: String) {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        #expect(throws: DeliveryURLError.self) { try DeliveryURL.target(text, engine: engine) }
    }

    @Test func `an error does not show the target, which may hold a password`() {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        let error = #expect(throws: DeliveryURLError.self) {
            try DeliveryURL.target("smtp://user:secret@host?x=1", engine: engine)
        }
        #expect(error?.description.contains("secret") == false)
    }

    @Test func `options of a target stand behind it, and are not sent`() throws {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        let fragment = "#rate=0.5&timeout=2#concurrency=3"
        let hook = try #require(try DeliveryURL.target("http://h/p?a=1" + fragment, engine: engine) as? WebhookTarget)
        #expect(hook.url == "http://h/p?a=1" && hook.timeoutMilliseconds == 2_000)
        let limits = TargetLimits(concurrency: 3, ratePerSecond: 0.5)
        for text in ["https://h", "smtp://h:25?tls=off", "smtps://h", "lambda+http://h", "ses:eu-central-1", "resend:"]
        {
            #expect(try DeliveryURL.limits(text + fragment) == limits, "\(text)")
            #expect(try TargetOptions(text + fragment).url == text)
        }
        #expect(try DeliveryURL.limits("exec:true #rate=1&x") == TargetLimits())
        #expect(try DeliveryURL.limits("http://h/#rate=1000000").ratePerSecond == 1_000_000)
        let mail = try #require(
            try DeliveryURL.target("smtp://u:p#rate=1@localhost?tls=off#timeout=2", engine: engine) as? MailTarget)
        #expect(mail.password == "p#rate=1" && mail.url == "smtp://localhost")
        #expect(try DeliveryURL.limits("smtp://u:p#rate=1@localhost?tls=off#timeout=2") == TargetLimits())
    }

    @Test func `a mail server keeps silent no longer than its timeout`() throws {
        let limits = try TargetOptions("smtp://h#timeout=200").mailLimits
        #expect(limits.command == 200_000 && limits.dataStart == 120_000 && limits.dataEnd == 200_000)
        #expect(limits.total == 200_000)
        #expect(try TargetOptions("smtp://h").mailLimits.total == MailLimits().total)
    }

    @Test func `a label has neither options nor credentials`() {
        #expect(DeliveryURL.label("http://u:p@h:80/p?q#rate=1") == "http://h:80")
        #expect(DeliveryURL.label("smtp://h:25#rate=1") == "smtp://h:25")
        #expect(DeliveryURL.label("smtp://u:p#/w@h:25?tls=off#rate=1") == "smtp://h:25")
        #expect(DeliveryURL.label("ses:eu-central-1#rate=1") == "ses:")
    }

    @Test func `an error about an option names it and what is allowed, and shows nothing of the target`() {
        for option in ["rate=secret", "secret=1", "concurrency=secret", "timeout=secret"] {
            let error = #expect(throws: DeliveryURLError.self) { try DeliveryURL.limits("http://secret@h#" + option) }
            #expect(error?.concernsSetting == true)
            let text = error?.description ?? ""
            #expect(text.contains("concurrency=1...10000&rate=0.001...1000000&timeout=1...3600"))
            #expect(!text.split(separator: "webhook-secret-file").joined().contains("secret"))
        }
    }

    @Test func `targets are what their URLs say`() throws {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        let kinds = try ["stdout:", "exec:cat", "http://h/", "HTTPS://h", "smtp://h:25?tls=off", "smtps://h"].map {
            try DeliveryURL.target($0, engine: engine).kind
        }
        #expect(kinds == ["stdout", "exec", "http", "http", "smtp", "smtp"])
        let mail = try #require(
            try DeliveryURL.target("smtp://us%40er:p%3Aw@localhost:25?tls=off", engine: engine) as? MailTarget)
        #expect(
            mail.url == "smtp://localhost:25" && mail.user == "us@er" && mail.password == "p:w" && !mail.requiresTLS)
        let strict = try #require(try DeliveryURL.target("smtp://h:587/", engine: engine) as? MailTarget)
        #expect(strict.requiresTLS && strict.user == nil && strict.url == "smtp://h:587")
    }
}
