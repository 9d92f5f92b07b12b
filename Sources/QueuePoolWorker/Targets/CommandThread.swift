// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCommand
import Glibc
import QueuePoolCore
import Synchronization

// One thread starts all commands and waits for all of them at once, by descriptors of processes that it polls together with
// their time limits. A blocked thread for each command would make as many commands wait as there are no threads yet:
// pools of threads grow by a few a second. The thread lives as long as the process, because what it starts dies with it.

/// What a command is started with.
struct CommandOrder: Sendable {
    /// For `/bin/sh -c`.
    var command: String
    var environment: [String]
    /// Its standard input.
    var input: [UInt8]
    /// After so long it is killed with what it started.
    var limit: Duration
    /// By which that is measured, from its start.
    var clock: any Clock
}

/// How a command ended.
enum CommandEnd: Sendable {
    /// By itself, or by somebody's signal; the status as of `wait`.
    case ended(status: Int32)
    /// Its time was over, or the task that waited was cancelled.
    case killed
    /// It never began; the system's error.
    case notStarted(code: Int32)
    /// It ended, and its status went to somebody else.
    case statusUnknown
}

/// The thread of the commands. Everything but the inbox belongs to the thread.
final class CommandThread: Sendable {
    static let shared = CommandThread()

    /// A command that somebody waits for.
    private struct Waiting: Sendable {
        let order: CommandOrder
        let wish: CommandWish
        let continuation: CheckedContinuation<CommandEnd, Never>
    }

    private struct Inbox {
        var waiting: [Waiting] = []
        /// Whether the thread was woken and has not looked yet.
        var isWoken = false
        /// Written to wake the thread; -1 until it was started.
        var wake: Int32 = -1
    }

    private let inbox = Mutex(Inbox())

    /// Runs a command to its end. Cancelling the task kills it.
    func run(_ order: CommandOrder) async -> CommandEnd {
        let wish = CommandWish()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let code = inbox.withLock { inbox -> Int32 in
                    let code = start(&inbox)
                    guard code == 0 else { return code }
                    inbox.waiting.append(Waiting(order: order, wish: wish, continuation: continuation))
                    wakeUp(&inbox)
                    return 0
                }
                if code != 0 { continuation.resume(returning: .notStarted(code: code)) }
            }
        } onCancel: {
            wish.isOver.store(true, ordering: .releasing)
            inbox.withLock { wakeUp(&$0) }
        }
    }

    private func wakeUp(_ inbox: inout Inbox) {
        guard !inbox.isWoken, inbox.wake >= 0 else { return }
        inbox.isWoken = true
        _ = write(inbox.wake, [1], 1)
    }

    /// Starts the thread unless it runs.
    /// - Returns: 0, or the system's error.
    private func start(_ inbox: inout Inbox) -> Int32 {
        guard inbox.wake < 0 else { return 0 }
        var ends: [Int32] = [-1, -1]
        guard qp_pipe(&ends) == 0 else { return errno }
        let argument = Unmanaged.passRetained(ThreadStart(thread: self, wake: ends[0]))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                let start = Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
                start.thread.loop(wake: start.wake)
                return nil
            }, argument.toOpaque())
        guard code == 0 else {
            argument.release()
            for end in ends { close(end) }
            return code
        }
        pthread_detach(thread)
        inbox.wake = ends[1]
        return 0
    }

    private final class ThreadStart {
        let thread: CommandThread
        let wake: Int32

        init(thread: CommandThread, wake: Int32) {
            self.thread = thread
            self.wake = wake
        }
    }

    // MARK: - On the thread

    private struct Running {
        let child: ChildProgram
        let deadline: Timestamp
        let waiting: Waiting
        var isKilled = false

        /// Milliseconds until its time is over.
        var left: Int64 { deadline - waiting.order.clock.now() }
    }

    private func loop(wake: Int32) {
        qp_prepare_thread()
        var guardian = CommandGuardian()
        var running: [Running] = []
        while true {
            let polled = CommandThread.poll([wake, guardian.handle] + running.map(\.child.handle), until: running)
            if polled[0] {
                var bytes = [UInt8](repeating: 0, count: 16)
                _ = read(wake, &bytes, bytes.count)
            }
            if polled[1] { guardian.discard() }
            let new = inbox.withLock { inbox in
                if polled[0] { inbox.isWoken = false }
                defer { inbox.waiting = [] }
                return inbox.waiting
            }
            var left: [Running] = []
            for (index, run) in running.enumerated() {
                var run = run
                if !run.isKilled, run.left <= 0 || run.waiting.wish.isOver.load(ordering: .acquiring) {
                    run.isKilled = true
                    kill(-run.child.process, SIGKILL)
                }
                guard polled[index + 2], let end = CommandThread.end(of: run, &guardian) else {
                    left.append(run)
                    continue
                }
                run.waiting.continuation.resume(returning: end)
            }
            running = left
            if guardian.registry < 0, !running.isEmpty { _ = guardian.start(groups: running.map(\.child.process)) }
            for waiting in new {
                switch CommandThread.begin(waiting, &guardian, running) {
                case .success(let run): running.append(run)
                case .failure(let failure):
                    waiting.continuation.resume(returning: failure.end)
                }
            }
        }
    }

    private struct NotBegun: Error { let end: CommandEnd }

    private static func begin(
        _ waiting: Waiting, _ guardian: inout CommandGuardian, _ running: [Running]
    ) -> Result<Running, NotBegun> {
        if waiting.wish.isOver.load(ordering: .acquiring) { return .failure(NotBegun(end: .killed)) }
        let order = waiting.order
        let input = order.input.withUnsafeBytes { qp_sealed_file($0.baseAddress, $0.count) }
        guard input >= 0 else { return .failure(NotBegun(end: .notStarted(code: errno))) }
        defer { close(input) }
        // Once more if the guardian turns out to be gone.
        var code: Int32 = 0
        for _ in 0..<2 {
            code = guardian.start(groups: running.map(\.child.process))
            guard code == 0 else { continue }
            let started = ChildProgram.start(
                arguments: ["sh", "-c", order.command], environment: order.environment,
                streams: (input, STDOUT_FILENO, STDERR_FILENO), registry: guardian.registry, diesWithThread: true)
            switch started {
            case .success(let child):
                let limit = order.limit.components
                let milliseconds = limit.seconds * 1_000 + limit.attoseconds / 1_000_000_000_000_000
                return .success(Running(child: child, deadline: order.clock.now() + milliseconds, waiting: waiting))
            case .failure(let failure):
                code = failure.code
                guard code == EPIPE else { return .failure(NotBegun(end: .notStarted(code: code))) }
                guardian.discard()
            }
        }
        return .failure(NotBegun(end: .notStarted(code: code)))
    }

    /// Takes a command's status; `nil` if it runs.
    private static func end(of run: Running, _ guardian: inout CommandGuardian) -> CommandEnd? {
        let process = run.child.process
        var status: Int32 = 0
        let known = qp_peek(process, &status)
        guard known != 0 else { return nil }
        // What a failed command left behind would run beside the next attempt. The group is ours to kill only until the
        // leader's status is taken, after which its number may be another's.
        if known > 0, status != 0 || run.isKilled { kill(-process, SIGKILL) }
        guardian.forget(process)
        while waitpid(process, nil, 0) < 0 && errno == EINTR {}
        close(run.child.handle)
        if run.isKilled { return .killed }
        return known > 0 ? .ended(status: status) : .statusUnknown
    }

    /// A wait is no longer than this while commands run: their clock may go on faster than the machine's own, as after
    /// a suspension, and a timer for each of them would outlive most.
    private static let lookMilliseconds: Int64 = 1_000

    /// Waits for one of the descriptors or the first deadline, and says which descriptors are ready. It may end early.
    private static func poll(_ descriptors: [Int32], until running: [Running]) -> [Bool] {
        var polled = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        var milliseconds: Int32 = -1
        if let left = running.lazy.filter({ !$0.isKilled }).map(\.left).min() {
            // A moment more, so that the deadline is over when the wait is.
            milliseconds = Int32(clamping: min(max(0, left) + 1, lookMilliseconds))
        }
        let count = Glibc.poll(&polled, nfds_t(polled.count), milliseconds)
        return polled.map { count > 0 && $0.revents != 0 }
    }
}

/// Whether nobody waits for a command any more.
private final class CommandWish: Sendable {
    let isOver = Atomic(false)
}
