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
