// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
import QueuePoolCore
import QueuePoolCurl
import QueuePoolRuntime
import QueuePoolTestSupport
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
    private static func run(
        _ command: String, body: String = "", attempt: Int = 1, limit: Duration = .seconds(60),
        clock: any Clock = SystemClock()
    ) async -> DeliveryOutcome {
        var message = WorkMessage(id: "id-1", handle: "h", group: "g", body: Array(body.utf8))
        message.shardName = "emails-0003.fifo"
        return await CommandTarget(command: command, limit: limit, clock: clock).deliver(message, attempt: attempt)
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
        (126, .unavailable(errorClass: "exit-126")), (127, .unavailable(errorClass: "exit-127")),
    ])
    func `says by its exit status what became of the message`(status: Int, outcome: DeliveryOutcome) async {
        #expect(await Self.run("exit \(status)") == outcome)
    }

    @Test func `can be told to stop by a signal`() async {
        #expect(await Self.run("kill -TERM $$; sleep 60") == .failed(errorClass: "signal-15"))
    }

    @Test func `that this machine does not have says nothing about the message`() async {
        #expect(await Self.run("no-such-command-here") == .unavailable(errorClass: "exit-127"))
        #expect(await Self.run("/dev/null") == .unavailable(errorClass: "exit-126"))
    }

    @Test func `that this machine cannot start says nothing about the message`() async {
        // Longer than an argument may be.
        let long = "true " + String(repeating: "x", count: 200_000)
        #expect(await Self.run(long) == .unavailable(errorClass: "not-started-7"))
        #expect(await Self.run("true") == .delivered)
    }

    @Test func `is killed when its time is over`() async {
        #expect(await Self.run("sleep 60 & sleep 60", limit: .milliseconds(200)) == .failed(errorClass: "timeout"))
    }

    @Test func `is killed when its clock says so`() async throws {
        let path = "/tmp/queuepool-began-\(getpid()).fifo"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let clock = ManualClock()
        let waiting = Task { await Self.run("echo > \(path); sleep 600", limit: .seconds(3_600), clock: clock) }
        // The command has begun when its line comes.
        #expect(await Self.run("read line < \(path)", clock: clock) == .delivered)
        clock.advance(milliseconds: 3_600_000)
        #expect(await waiting.value == .failed(errorClass: "timeout"))
    }

    @Test func `is not killed while its clock stands still`() async {
        #expect(await Self.run("sleep 0.2", limit: .milliseconds(1), clock: ManualClock()) == .delivered)
    }

    @Test func `may take all of its time`() async {
        #expect(await Self.run("true", limit: .seconds(86_400 * 365)) == .delivered)
    }

    @Test func `runs beside others, each with its own end`() async {
        let outcomes = await withTaskGroup(of: (Int, DeliveryOutcome).self) { group in
            for code in 1...40 { group.addTask { (code, await Self.run("exit \(code)")) } }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
        #expect(outcomes == Dictionary(uniqueKeysWithValues: (1...40).map { ($0, .failed(errorClass: "exit-\($0)")) }))
    }

    @Test func `leaves nobody behind when it fails`() async throws {
        // The pipe's reader ends when its last writer, the sleep, is gone.
        let path = "/tmp/queuepool-left-\(getpid()).fifo"
        try #require(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let reader = Task { await Self.run("cat \(path) > /dev/null", limit: .seconds(600)) }
        // Longer than any machine takes to begin it: nothing here ends by its time.
        let failing = await Self.run("exec 9> \(path); sleep 900 & exit 1", limit: .seconds(600))
        #expect(failing == .failed(errorClass: "exit-1"))
        #expect(await reader.value == .delivered)
    }

    @Test func `ends with the task that waits for it`() async {
        let waiting = Task { await Self.run("sleep 60") }
        waiting.cancel()
        #expect(await waiting.value == .failed(errorClass: "timeout"))
    }
}

@Suite struct `A line on standard output` {
    private static let line = Array("line\n".utf8)

    @Test func `goes where it can be read`() throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        defer { close(ends[0]) }
        #expect(LineWriter.write(Self.line, to: ends[1]) == (5, nil))
        close(ends[1])
        var bytes = [UInt8](repeating: 0, count: 16)
        let count = read(ends[0], &bytes, bytes.count)
        #expect(bytes.prefix(count) == Self.line[...])
    }

    @Test func `that nobody will read says that the target is gone`() throws {
        // Kept from this thread: whoever runs the tests may not ignore it.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        close(ends[0])
        defer { close(ends[1]) }
        #expect(LineWriter.write(Self.line, to: ends[1]) == (0, .ended(errorClass: "stdout-closed")))
        #expect(LineWriter.write(Self.line, to: -1) == (0, .ended(errorClass: "stdout-closed")))
    }

    @Test func `that finds no room is tried again`() throws {
        let full = open("/dev/full", O_WRONLY)
        try #require(full >= 0)
        defer { close(full) }
        #expect(LineWriter.write(Self.line, to: full) == (0, .failed(errorClass: "stdout-\(ENOSPC)")))
    }

    @Test func `waits for a reader that is slow, also where writes do not`() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (source, sink) = (ends[0], ends[1])
        defer { close(source) }
        #expect(fcntl(sink, F_SETFL, O_NONBLOCK) == 0)
        let long = [UInt8](repeating: 7, count: 1_000_000)
        async let written = Task.detached {
            defer { close(sink) }
            return LineWriter.write(long, to: sink)
        }.value
        var total = 0
        var bytes = [UInt8](repeating: 0, count: 4_096)
        while case let count = read(source, &bytes, bytes.count), count > 0 { total += count }
        #expect(await written == (long.count, nil))
        #expect(total == long.count)
    }
}

@Suite struct `Lines that come while one is written` {
    /// The reader takes nothing until all have come, so that all but the first wait.
    @Test func `leave together, whole, and each is told of its own`() async throws {
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let (source, sink) = (ends[0], ends[1])
        defer { close(source) }
        let writer = LineWriter(label: "test", file: sink)
        let count = 200
        let outcomes = await withTaskGroup(of: DeliveryOutcome.self) { group in
            for number in 0..<count {
                let line = Array("\(number)".utf8) + [UInt8](repeating: 46, count: 2_000) + [10]
                group.addTask { await writer.write(line) }
            }
            // On a thread that no task needs.
            let read = await withCheckedContinuation { continuation in
                DispatchQueue.global().async { continuation.resume(returning: Self.lines(count, from: source)) }
            }
            let numbers = read.split(separator: 10).compactMap { line in
                Int(String(decoding: line.prefix { $0 != 46 }, as: UTF8.self))
            }
            #expect(numbers.sorted() == Array(0..<count))
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes == Array(repeating: .delivered, count: count))
        close(sink)
    }

    private static func lines(_ count: Int, from file: Int32) -> [UInt8] {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        var ends = 0
        while ends < count, case let size = Glibc.read(file, &chunk, chunk.count), size > 0 {
            ends += chunk.prefix(size).count { $0 == 10 }
            all += chunk.prefix(size)
        }
        return all
    }

    @Test func `are all told that nobody reads`() async {
        let writer = LineWriter(label: "test", file: -1)
        let outcomes = await withTaskGroup(of: DeliveryOutcome.self) { group in
            for _ in 0..<20 { group.addTask { await writer.write([10]) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes == Array(repeating: .ended(errorClass: "stdout-closed"), count: 20))
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
