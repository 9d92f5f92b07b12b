// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Foundation
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolEmbedded

@Suite(.timeLimit(.minutes(1))) final class `The audit log` {
    private typealias Outcome = Result<Void, AuditError>

    private let directory = NSTemporaryDirectory() + "audit-\(UUID().uuidString)"
    private var path: String { directory + "/audit.jsonl" }
    private let clock = ManualClock(Timestamp(milliseconds: 1_767_323_045_006))

    init() throws {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory) }

    private func entry(_ operation: String, _ outcome: AuditOutcome = .begun) throws -> AuditEntry {
        AuditEntry(
            time: clock.now(), caller: "QPAAAAAAAAAAAAAAAAAA", action: .admin,
            operation: try #require(AuditWord(operation)), pool: PoolName("emails.fifo"), outcome: outcome,
            request: AuditWord("r-1"))
    }

    private func refusal(_ operation: String) throws -> AuditEntry {
        try entry(operation, .refused(#require(AuditWord("AccessDenied"))))
    }

    private func operations(_ path: String) throws -> [String] {
        try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
            return try #require(object?["operation"] as? String ?? object?["outcome"] as? String)
        }
    }

    private func mode() throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
    }

    // MARK: - What is written

    @Test func `an admin action is in the file, flushed, before its caller hears of it`() async throws {
        let path = path
        let flushed = Mutex(Int64(0))
        let log = try AuditLog(path: path, clock: clock) { descriptor in
            flushed.withLock { $0 = SystemFile.byteCount(of: path) ?? -1 }
            return fdatasync(descriptor)
        }
        try await log.record(entry("PurgeQueue"))
        let text = try String(contentsOfFile: path, encoding: .utf8)
        #expect(flushed.withLock { $0 } == text.utf8.count)
        #expect(
            text == """
                {"time":"2026-01-02T03:04:05.006Z","caller":"QPAAAAAAAAAAAAAAAAAA","action":"admin",\
                "operation":"PurgeQueue","pool":"emails.fifo","outcome":"begun","request":"r-1"}\n
                """)
        #expect(try mode() == 0o600)
        log.close()
    }

    @Test func `refusals go out after a second, with the next admin action, or at the end`() async throws {
        let log = try AuditLog(path: path, clock: clock)
        try await log.record(refusal("first"))
        try await log.record(refusal("second"))
        #expect(try operations(path) == [])
        try await log.record(entry("action"))
        #expect(try operations(path) == ["first", "second", "action"])
        try await log.record(refusal("third"))
        log.close()
        #expect(try operations(path) == ["first", "second", "action", "third"])
    }

    @Test func `a refusal whose second is over is written, and no admin action is needed for it`() async throws {
        let written = DispatchSemaphore(value: 0)
        let log = try AuditLog(path: path, clock: clock) { descriptor in
            defer { written.signal() }
            return fdatasync(descriptor)
        }
        try await log.record(refusal("late"))
        clock.advance(milliseconds: 1_000)
        // Wakes the thread, which waits by the machine's clock.
        log.reopen()
        await wait(for: written)
        #expect(try operations(path) == ["late"])
        log.close()
    }

    @Test func `what is no admin action and no refusal is not written`() async throws {
        let log = try AuditLog(path: path, clock: clock)
        let send = AuditEntry(
            time: clock.now(), caller: nil, action: .send, operation: try #require(AuditWord("SendMessage")), pool: nil,
            outcome: .done, request: nil)
        try await log.record(send)
        log.close()
        #expect(try operations(path) == [])
    }

    @Test func `callers who come while a write runs share the next one`() async throws {
        let flushes = Mutex(0)
        let (isFlushing, go) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
        let log = try AuditLog(path: path, clock: clock) { descriptor in
            let isFirst = flushes.withLock { count in
                count += 1
                return count == 1
            }
            if isFirst {
                isFlushing.signal()
                go.wait()
            }
            return fdatasync(descriptor)
        }
        let done = DispatchGroup()
        let results = Mutex<[Bool]>([])
        func record(_ operation: String) throws {
            done.enter()
            log.record(try entry(operation)) { result in
                results.withLock { $0.append((try? result.get()) != nil) }
                done.leave()
            }
        }
        try record("first")
        await wait(for: isFlushing)
        for number in 0..<20 { try record("o\(number)") }
        #expect(results.withLock { $0 }.isEmpty)
        go.signal()
        await withCheckedContinuation { (next: CheckedContinuation<Void, Never>) in
            done.notify(queue: .global()) { next.resume() }
        }
        #expect(results.withLock { $0 } == Array(repeating: true, count: 21))
        #expect(flushes.withLock { $0 } == 2)
        #expect(try operations(path) == ["first"] + (0..<20).map { "o\($0)" })
        log.close()
    }

    private func wait(for semaphore: DispatchSemaphore) async {
        await withCheckedContinuation { (next: CheckedContinuation<Void, Never>) in
            DispatchQueue.global().async {
                semaphore.wait()
                next.resume()
            }
        }
    }

    // MARK: - Failures

    @Test func `whose line cannot be flushed is told, and refusals are tried again`() async throws {
        let fails = Mutex(true)
        let log = try AuditLog(path: path, clock: clock) { descriptor in
            if fails.withLock({ $0 }) {
                errno = EIO
                return -1
            }
            return fdatasync(descriptor)
        }
        try await log.record(refusal("refusal"))
        let entry = try entry("action")
        await #expect(throws: AuditError.failed(code: EIO)) { try await log.record(entry) }
        #expect(log.failures == 1)
        fails.withLock { $0 = false }
        try await log.record(self.entry("next"))
        // Whether the failed ones are there nobody knows; the refusal is there for certain now.
        #expect(try operations(path).suffix(2) == ["refusal", "next"])
        log.close()
    }

    @Test func `what nobody can find in the file any more is counted once`() async throws {
        let log = try AuditLog(path: path, clock: clock) { _ in
            errno = EIO
            return -1
        }
        try await log.record(refusal("refusal"))
        let entry = try entry("action")
        await #expect(throws: AuditError.self) { try await log.record(entry) }
        // The refusal waits for its next turn; whoever waited was told.
        #expect(log.lost == 1)
        log.close()
        #expect(log.lost == 2)
        await #expect(throws: AuditError.closed) { try await log.record(entry) }
        #expect(log.lost == 3)
    }

    @Test func `who comes after the end is told`() async throws {
        let log = try AuditLog(path: path, clock: clock)
        log.close()
        let entry = try entry("action")
        await #expect(throws: AuditError.closed) { try await log.record(entry) }
        log.close()
    }

    @Test(arguments: ["", "/missing/audit.jsonl"])
    func `a place where nothing can be kept is told at the start`(place: String) throws {
        let path = directory + place
        #expect(throws: AuditError.self) { try AuditLog(path: path, clock: clock) }
        #expect(throws: AuditError.failed(code: EINVAL)) { try AuditLog(path: "/dev/null", clock: clock) }
    }

    // MARK: - Files

    @Test func `after it was moved away it is opened again, and no line is lost`() async throws {
        let log = try AuditLog(path: path, clock: clock)
        try await log.record(entry("before"))
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        try await log.record(entry("between"))
        log.reopen()
        try await log.record(entry("after"))
        #expect(try operations(path + ".1") == ["before", "between"])
        #expect(try operations(path) == ["after"])
        #expect(try mode() == 0o600)
        log.close()
    }

    @Test func `when it cannot be opened again the one that is open is written on`() async throws {
        let events = Mutex<[AuditEvent]>([])
        let log = try AuditLog(path: path, clock: clock) { event in events.withLock { $0.append(event) } }
        try await log.record(entry("before"))
        #expect(events.withLock { $0 } == [])
        try FileManager.default.moveItem(atPath: path, toPath: path + ".1")
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        log.reopen()
        try await log.record(entry("still"))
        #expect(try operations(path + ".1") == ["before", "still"])
        let failures = events.withLock { $0 }
        #expect(!failures.isEmpty && failures.allSatisfy { $0 == .reopenFailed(.failed(code: EISDIR)) })
        #expect(log.failures == failures.count && log.lost == 0)
        try FileManager.default.removeItem(atPath: path)
        // Tried again with each write.
        try await log.record(entry("after"))
        #expect(try operations(path) == ["after"])
        log.close()
        #expect(events.withLock { $0.dropFirst(failures.count) } == [.reopened])
    }

    @Test func `a line that a crash tore does not spoil the next, and what is there is kept`() async throws {
        let (whole, torn) = ("{\"operation\":\"old\"}\n", "{\"time\":\"20")
        try Data((whole + torn).utf8).write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: path)
        let log = try AuditLog(path: path, clock: clock)
        try await log.record(entry("new"))
        try await log.record(entry("newer"))
        log.close()
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map(String.init)
        #expect(lines.count == 4)
        #expect(lines.prefix(2) == ["{\"operation\":\"old\"}", torn])
        #expect(lines[2].contains("\"new\"") && lines[3].contains("\"newer\""))
        // Whoever rotates logs chose it.
        #expect(try mode() == 0o640)
    }

    @Test func `how many of a flood were left out is written`() async throws {
        let log = try AuditLog(path: path, clock: clock)
        for number in 0..<1_000 { try await log.record(refusal("o\(number)")) }
        #expect(log.lost == 0)
        for number in 1_000..<1_200 { try await log.record(refusal("o\(number)")) }
        #expect(log.lost == 200)
        log.close()
        // Written down is their number, not they.
        #expect(log.lost == 200 && log.failures == 0)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 1_001)
        #expect(
            lines.last == """
                {"time":"2026-01-02T03:04:05.006Z","action":"audit","outcome":"left-out","count":200}
                """)
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00.000Z"), (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"), (4_102_444_800_001, "2100-01-01T00:00:00.001Z"),
        ] as [(Int64, String)])
    func `a time is written as RFC 3339 has it`(milliseconds: Int64, text: String) {
        #expect(AuditFile.text(of: Timestamp(milliseconds: milliseconds)) == text)
    }
}
