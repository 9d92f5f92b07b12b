// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import Testing

@testable import QueuePoolWorker

@Suite struct `A delivery URL` {
    private static func kind(_ text: String) throws -> String {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        return try DeliveryURL.target(text, engine: engine).kind
    }

    @Test(arguments: [
        ("stdout:", "stdout"), ("exec:cat", "exec"), ("http://127.0.0.1:1/x", "http"), ("https://h/", "http"),
        ("smtp://127.0.0.1:25?tls=off", "smtp"), ("smtps://u:p%40@h:465", "smtp"),
        ("smtp://u@h?password-env=PATH", "smtp"), ("smtp://u:p@[::1]:25?tls=off", "smtp"),
    ])
    func `names a target`(text: String, kind: String) throws {
        #expect(try Self.kind(text) == kind)
    }

    @Test(arguments: [
        "", "stdout", "stdout:x", "exec:", "http:", "smtp://", "smtp://:25", "smtp://h?tls=maybe", "smtps://h?tls=off",
        "ftp://h", "file:///etc/passwd", "smtp://u:p@h?tls=off", "smtp://h?password-file=/dev/null", "smtp://u@h?",
        "smtp://u@h?password-env=QP_NO_SUCH_VARIABLE", "smtp://u@h?password-file=", "smtp://u:p@h?password-env=HOME",
    ])
    func `that names none is refused with what is allowed`(text: String) {
        #expect { try Self.kind(text) } throws: { "\($0)".contains("allowed are stdout:, exec:CMD") }
    }
}

@Suite struct `A command` {
    private static func run(_ command: String, body: String = "", attempt: Int = 1) async -> DeliveryOutcome {
        var message = WorkMessage(id: "id-1", handle: "h", group: "g", body: Array(body.utf8))
        message.shardName = "emails-0003.fifo"
        return await CommandTarget(command: command).deliver(message, attempt: attempt)
    }

    @Test func `reads the body on standard input and its facts in the environment`() async {
        let facts = "$QUEUEPOOL_MESSAGE_ID $QUEUEPOOL_GROUP $QUEUEPOOL_ATTEMPT $QUEUEPOOL_SHARD"
        let check = #"test "$(cat)" = hello && test "\#(facts)" = "id-1 g 2 emails-0003.fifo""#
        #expect(await Self.run(check, body: "hello", attempt: 2) == .delivered)
    }

    @Test func `need not read its input`() async {
        #expect(await Self.run("true", body: String(repeating: "x", count: 300_000)) == .delivered)
    }

    @Test(arguments: [
        (75, DeliveryOutcome.failed(errorClass: "exit-75")), (1, .failed(errorClass: "exit-1")),
        (64, .refused(errorClass: "exit-64")), (65, .refused(errorClass: "exit-65")),
    ])
    func `says by its exit status what became of the message`(status: Int, outcome: DeliveryOutcome) async {
        #expect(await Self.run("exit \(status)") == outcome)
    }

    @Test func `can be told to stop by a signal`() async {
        #expect(await Self.run("kill -TERM $$; sleep 60") == .failed(errorClass: "signal-15"))
    }

    @Test func `ends with the task that waits for it`() async {
        let waiting = Task { await Self.run("sleep 60") }
        waiting.cancel()
        #expect(await waiting.value == .failed(errorClass: "timeout"))
    }
}

@Suite struct `Attributes of a dead letter` {
    @Test func `are the reason first, then as many of the message's own as there is room for`() {
        let own = (0..<10).map { MessageAttribute(name: "own\($0)", text: "x") }
        let message = WorkMessage(id: "id", handle: "h", group: "g", attributes: own)
        let reason = DeadLetterReason(reason: "permanent-failure", errorClass: "smtp-550", attempts: 1)
        let names = DeadLetterAttributes.attributes(message, reason, pool: "emails.fifo").map(\.name)
        #expect(names.count == 10)
        #expect(
            names.prefix(5) == [
                "queuepool.pool", "queuepool.reason", "queuepool.error-class", "queuepool.attempts",
                "queuepool.failed-at",
            ])
    }
}

@Suite struct `A selection of shards` {
    @Test func `is numbers and ranges`() {
        #expect(WorkerOptions.shardNumbers("0-3,5") == [0, 1, 2, 3, 5])
    }

    @Test(arguments: ["", "x", "3-1", "1-", "-1", "1,,2", "1-2-3"])
    func `is nothing else`(text: String) {
        #expect(WorkerOptions.shardNumbers(text) == nil)
    }
}
