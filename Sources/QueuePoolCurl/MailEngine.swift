// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CDispatch
import CQueuePoolCurl
import DequeModule
import Dispatch
import Glibc
import Synchronization

// libcurl waits for the reply to a mail's end without leaving the call (smtp_done), so that mails on one curl_multi go one
// after another and hold up everything else there. Mails therefore have threads of their own, one for each mail under
// way. The thread that was idle last gets the next mail, over the connection that it kept; one without a mail for some
// seconds ends.

/// SMTP on as many threads as there are mails under way.
package final class MailEngine: Sendable {
    private let threads: MailThreads

    /// - Parameters:
    ///   - threadsMax: mails under way at one time, at least 1; more wait.
    ///   - idleSeconds: how long a thread and its connection wait for the next mail.
    ///   - limits: how long a server may keep silent.
    ///   - now: by what that is measured; `nil` for the machine's own time.
    package init(
        threadsMax: Int = 64, idleSeconds: Int = 10, limits: MailLimits = MailLimits(), now: TransferTime? = nil
    ) {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        threads = MailThreads(
            max: max(1, threadsMax), idleSeconds: idleSeconds, limits: limits, now: now ?? MachineTime.now)
    }

    deinit { threads.close() }

    /// Hands a mail to a server. Cancelling the task aborts the transfer, within a second.
    package func send(_ mail: MailTransfer) async -> MailResult {
        let job = MailJob(mail)
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                threads.hand(job) { continuation.resume(returning: $0) }
            }
        } onCancel: {
            threads.cancel(job)
        }
    }

    /// Ends the threads; mails under way are given up.
    package func shutdown() { threads.close() }

    /// Threads there are, for tests.
    var threadCount: Int { threads.count }
}

/// A mail, and whether it is to be given up.
private final class MailJob: Sendable {
    let mail: MailTransfer
    private let isCancelled = Atomic(false)

    init(_ mail: MailTransfer) { self.mail = mail }

    func cancel() { isCancelled.store(true, ordering: .relaxed) }
    var wasCancelled: Bool { isCancelled.load(ordering: .relaxed) }
}

/// The threads and what waits for them.
private final class MailThreads: Sendable {
    typealias Completion = @Sendable (MailResult) -> Void

    struct Task: Sendable {
        let job: MailJob
        let completion: Completion
    }

    /// A thread that waits for a mail: it is woken with one, or with none to end.
    final class Seat: Sendable {
        let wakeUp = DispatchSemaphore(value: 0)
        let task = Mutex<Task?>(nil)
    }

    private struct State {
        var waiting: Deque<Task> = []
        /// The last one was idle last.
        var idle: [Seat] = []
        var count = 0
        var isClosed = false
    }

    private let state = Mutex(State())
    /// Read by transfers under way without a lock.
    private let isClosed = Atomic(false)
    private let max: Int
    private let idleSeconds: Int
    private let limits: MailLimits
    private let now: TransferTime
    /// OpenSSL and the resolver need a fraction of it; the default of 8 MiB would count for much with many threads.
    private static let stackBytes = 512 << 10

    init(max: Int, idleSeconds: Int, limits: MailLimits, now: @escaping TransferTime) {
        self.now = now
        self.max = max
        self.idleSeconds = idleSeconds
        self.limits = limits
    }

    var count: Int { state.withLock { $0.count } }

    /// What to do with a mail that came, decided under the lock and done outside.
    private enum Way {
        case wake(Seat)
        case start
        case wait
        case answer(CurlError)
    }

    func hand(_ job: MailJob, _ completion: @escaping Completion) {
        let task = Task(job: job, completion: completion)
        let way: Way = state.withLock { state in
            if state.isClosed { return .answer(.closed) }
            if job.wasCancelled { return .answer(.cancelled) }
            if let seat = state.idle.popLast() { return .wake(seat) }
            if state.count < max {
                state.count += 1
                return .start
            }
            state.waiting.append(task)
            return .wait
        }
        switch way {
        case .wake(let seat):
            seat.task.withLock { $0 = task }
            seat.wakeUp.signal()
        case .start: start(task)
        case .wait: break
        case .answer(let error): completion(.unavailable(error))
        }
    }

    func cancel(_ job: MailJob) {
        job.cancel()
        let task = state.withLock { state -> Task? in
            guard let place = state.waiting.firstIndex(where: { $0.job === job }) else { return nil }
            return state.waiting.remove(at: place)
        }
        task?.completion(.unavailable(.cancelled))
    }

    func close() {
        isClosed.store(true, ordering: .relaxed)
        let (waiting, idle) = state.withLock { state in
            defer {
                state.waiting = []
                state.idle = []
                state.isClosed = true
                state.count -= state.idle.count
            }
            return (state.waiting, state.idle)
        }
        for task in waiting { task.completion(.unavailable(.closed)) }
        for seat in idle { seat.wakeUp.signal() }
    }

    private func start(_ task: Task) {
        let body = Unmanaged.passRetained(ThreadBody { [self] in run(task) })
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        defer { pthread_attr_destroy(&attributes) }
        pthread_attr_setstacksize(&attributes, MailThreads.stackBytes)
        pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
        var thread = pthread_t()
        let code = pthread_create(
            &thread, &attributes,
            { argument in
                if let argument { Unmanaged<ThreadBody>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, body.toOpaque())
        guard code != 0 else { return }
        body.release()
        state.withLock { $0.count -= 1 }
        task.completion(.unavailable(.other(code: Int(CURLE_OUT_OF_MEMORY.rawValue))))
    }

    // MARK: - A thread

    private func run(_ first: Task) {
        let seat = Seat()
        let link = MailLink(limits: limits, now: now)
        var next: Task? = first
        while let task = next {
            let result = perform(task.job, link)
            // Before the answer: the mail that follows upon it finds this thread and its connection.
            let (waiting, isOver) = state.withLock { state -> (Task?, Bool) in
                if let waiting = state.waiting.popFirst() { return (waiting, false) }
                if state.isClosed {
                    state.count -= 1
                    return (nil, true)
                }
                state.idle.append(seat)
                return (nil, false)
            }
            task.completion(result)
            next = waiting ?? (isOver ? nil : wait(seat))
        }
    }

    private func perform(_ job: MailJob, _ link: MailLink?) -> MailResult {
        guard let link else { return .unavailable(.other(code: Int(CURLE_OUT_OF_MEMORY.rawValue))) }
        return link.send(job.mail) { [self] in
            if job.wasCancelled { return .cancelled }
            return isClosed.load(ordering: .relaxed) ? .closed : nil
        }
    }

    /// - Returns: the next mail; `nil` if the thread is to end, and is not counted any more.
    private func wait(_ seat: Seat) -> Task? {
        // Real time, whatever the clock: nothing but a thread and a connection hangs on it.
        if seat.wakeUp.wait(timeout: .now() + .seconds(idleSeconds)) == .timedOut {
            let hasLeft = state.withLock { state in
                guard let place = state.idle.firstIndex(where: { $0 === seat }) else { return false }
                state.idle.remove(at: place)
                state.count -= 1
                return true
            }
            if hasLeft { return nil }
            // Somebody took it off the list and is about to wake it.
            seat.wakeUp.wait()
        }
        return seat.task.withLock { task in
            defer { task = nil }
            return task
        }
    }

    private final class ThreadBody {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
}
