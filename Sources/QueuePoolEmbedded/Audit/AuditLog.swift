// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import Glibc
package import QueuePoolCore
import Synchronization

// One file, a line of JSON for each entry, written by a thread of its own. What waits when a write begins goes out with
// it, so that many callers share one flush.

/// What an operator should know of an audit log.
package enum AuditEvent: Hashable, Sendable {
    /// Admin actions are refused from here on.
    case writeFailed(AuditError)
    case writesAgain
    /// The file at the path is another one than the one that is written, which goes on being written.
    case reopenFailed(AuditError)
    case reopened
}

/// An audit log in a file.
package final class AuditLog: AuditTrail {
    private typealias Completion = @Sendable (Result<Void, AuditError>) -> Void

    private struct State {
        var queue = AuditQueue<Completion>()
        var isClosing = false
        var mustReopen = false
        var failures = 0
        /// Entries somebody waited for.
        var lost = 0
    }

    private let path: String
    private let clock: any Clock
    private let flush: @Sendable (Int32) -> Int32
    private let report: @Sendable (AuditEvent) -> Void
    private let state = Mutex(State())
    /// Signalled for each arrival.
    private let wakeUp = DispatchSemaphore(value: 0)
    private let ended = DispatchGroup()

    /// Opens the file, or makes it for its owner alone.
    /// - Parameter report: called on the log's thread.
    /// - Throws: `AuditError.failed` if that cannot be done.
    package convenience init(
        path: String, clock: any Clock, report: @escaping @Sendable (AuditEvent) -> Void = { _ in }
    ) throws(AuditError) {
        try self.init(path: path, clock: clock, report: report, flush: fdatasync)
    }

    init(
        path: String, clock: any Clock, report: @escaping @Sendable (AuditEvent) -> Void = { _ in },
        flush: @escaping @Sendable (Int32) -> Int32
    ) throws(AuditError) {
        self.path = path
        self.clock = clock
        self.report = report
        self.flush = flush
        // Opened here so that whoever starts the server hears of a wrong path.
        _ = try AuditFile(path: path, flush: flush)
        ended.enter()
        guard SystemThread.start({ [self] in run() }) else {
            ended.leave()
            throw .failed(code: EAGAIN)
        }
    }

    /// Appends an entry to the file of an audit log, which a server may be writing; blocks until it is on stable storage.
    /// - Throws: `AuditError.failed`; a part of the entry may be there then.
    package static func append(_ entry: AuditEntry, toFile path: String) throws(AuditError) {
        var file = try AuditFile(path: path)
        try file.append(AuditFile.line(entry.time, entry.members))
    }

    package func record(_ entry: AuditEntry, completion: @escaping @Sendable (Result<Void, AuditError>) -> Void) {
        let urgency = entry.urgency
        guard urgency != .never else { return completion(.success(())) }
        let now = clock.now()
        let answer: Result<Void, AuditError>? = state.withLock { state in
            guard !state.isClosing else {
                state.lost += 1
                return .failure(.closed)
            }
            if urgency == .before {
                if state.queue.add(entry, waiter: completion) { return nil }
                state.lost += 1
                return .failure(.full)
            }
            state.queue.add(entry, now: now)
            return .success(())
        }
        wakeUp.signal()
        if let answer { completion(answer) }
    }

    /// Opens the file at the path again before the next write, because the one that is open was moved away. If that cannot
    /// be done, the open one is written on: nothing is lost, and it is tried again with each write.
    package func reopen() {
        state.withLock { $0.mustReopen = true }
        wakeUp.signal()
    }

    package var failures: Int { state.withLock { $0.failures } }

    package var lost: Int { state.withLock { $0.lost + $0.queue.leftOutTotal } }

    /// Writes what waits and ends. Blocks until that is done; what is recorded later fails.
    package func close() {
        state.withLock { $0.isClosing = true }
        wakeUp.signal()
        ended.wait()
    }

    // MARK: - The thread

    private func run() {
        defer { ended.leave() }
        var file: AuditFile?
        var isFailing = false
        while true {
            let now = clock.now()
            let (step, mustReopen, isClosing) = state.withLock { state in
                (state.queue.next(now: now, isEnding: state.isClosing), state.mustReopen, state.isClosing)
            }
            if mustReopen || file == nil { reopen(&file) }
            switch step {
            case .write(let batch):
                let result = write(batch, to: &file)
                // Before those who wait hear of it, so that the operator's log has the reason when they complain.
                switch result {
                case .success where isFailing: report(.writesAgain)
                case .failure(let error) where !isFailing: report(.writeFailed(error))
                default: break
                }
                if case .failure = result { isFailing = true } else { isFailing = false }
                for completion in batch.waiters { completion(result) }
            case .wait(let milliseconds):
                if isClosing { return }
                // The refusals' second is the machine's, whatever the clock of the entries is.
                let deadline = milliseconds.map { DispatchTime.now() + .milliseconds(Int($0)) }
                _ = wakeUp.wait(timeout: deadline ?? .distantFuture)
            }
        }
    }

    private func reopen(_ file: inout AuditFile?) {
        do throws(AuditError) {
            let isFirst = file == nil
            file = try AuditFile(path: path, flush: flush)
            state.withLock { $0.mustReopen = false }
            if !isFirst { report(.reopened) }
        } catch {
            state.withLock { $0.failures += 1 }
            if file != nil { report(.reopenFailed(error)) }
        }
    }

    private func write(
        _ batch: AuditQueue<Completion>.Batch, to file: inout AuditFile?
    ) -> Result<Void, AuditError> {
        var lines: [UInt8] = []
        for entry in batch.entries { lines += AuditFile.line(entry.time, entry.members) }
        if batch.leftOut > 0 {
            let members = "\"action\":\"audit\",\"outcome\":\"left-out\",\"count\":\(batch.leftOut)"
            lines += AuditFile.line(batch.time, members)
        }
        var result: Result<Void, AuditError> = .failure(.failed(code: EBADF))
        do throws(AuditError) {
            try file?.append(lines)
            if file != nil { result = .success(()) }
        } catch { result = .failure(error) }
        if case .failure = result {
            // After a flush that failed, a later one of the same descriptor may hide that lines are lost.
            file = nil
            let now = clock.now()
            state.withLock { state in
                state.failures += 1
                state.lost += batch.waiters.count
                // At the end nothing is tried again.
                if state.isClosing {
                    state.lost += batch.entries.count - batch.waiters.count
                } else {
                    state.queue.returnRefusals(of: batch, now: now)
                }
            }
        }
        return result
    }
}
