// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCurl
import Glibc
import Synchronization

// All outgoing HTTP goes through one curl_multi on one thread, which keeps connections and uses them again; mail has
// threads of its own (`MailEngine`). How many
// transfers are under way is bounded by lane (`TransferLanes`), not by libcurl: its one bound for all connections would
// let long polls starve everything else. Callers
// hand transfers over a lock and are called back by the thread; the async form suspends meanwhile. libcurl's multi handle is not thread-safe but for
// curl_multi_wakeup, and nothing else is called from outside. It is called under the lock under which the thread ends,
// so that it never meets a handle that is gone. Source: curl.se/libcurl/c/threadsafe.html, curl_multi_wakeup(3).

/// HTTP over one thread, with connections kept for the next transfer.

package final class CurlEngine: Sendable {
    package typealias Completion = @Sendable (Result<HTTPResponse, CurlFailure>) -> Void

    private struct Inbox {
        var arrived: [Job] = []
        /// Among `live`; a transfer may be cancelled before it has arrived.
        var cancelled: Set<UInt64> = []
        /// Handed in and not yet answered.
        var live: Set<UInt64> = []
        var nextID: UInt64 = 0
        var isClosed = false
        /// The multi handle is gone.
        var isOver = false
    }

    private struct Job {
        let id: UInt64
        let transfer: CurlTransfer
        let completion: Completion
    }

    /// A pointer that only the engine's thread uses, but for curl_multi_wakeup.
    private struct Multi: @unchecked Sendable {
        let handle: UnsafeMutableRawPointer
    }

    /// Connections that are kept for the next transfer.
    private static let connectionsKept = 1_024
    private let inbox = Mutex(Inbox())
    private let multi: Multi?
    private let room: @Sendable (CurlLane) -> Int
    private let now: TransferTime

    /// Starts the thread.
    /// - Parameters:
    ///   - deliveriesMax: deliveries under way at one time; what is beyond waits, and takes no room from others.
    ///   - now: by what a transfer that waits for room is overdue; `nil` for the machine's own time.
    package convenience init(deliveriesMax: Int = 256, now: TransferTime? = nil) {
        self.init(now: now ?? MachineTime.now) { lane in
            switch lane {
            case .calls: 1_024
            // A long poll costs a connection and nothing else.
            case .polls: 2_048
            case .deliveries: deliveriesMax
            }
        }
    }

    /// - Parameters:
    ///   - now: by what a transfer that waits for room is overdue.
    ///   - room: transfers that may be under way in a lane.
    init(now: @escaping TransferTime = MachineTime.now, room: @escaping @Sendable (CurlLane) -> Int) {
        self.now = now
        self.room = room
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        multi = curl_multi_init().map { Multi(handle: $0) }
        guard let multi else { return }
        queuepool_curl_multi_set_long(multi.handle, CURLMOPT_MAXCONNECTS, CurlEngine.connectionsKept)
        let start = Unmanaged.passRetained(self)
        var thread = pthread_t()
        let code = pthread_create(
            &thread, nil,
            { argument in
                guard let argument else { return nil }
                Unmanaged<CurlEngine>.fromOpaque(argument).takeRetainedValue().run()
                return nil
            }, start.toOpaque())
        if code == 0 {
            pthread_detach(thread)
        } else {
            start.release()
            inbox.withLock { $0.isClosed = true }
        }
    }

    /// Performs an HTTP request; any status is an answer.
    package func perform(_ request: HTTPRequest) async throws(CurlError) -> HTTPResponse {
        try await outcome(request).mapError(\.error).get()
    }

    /// The same, with what is known of a failure. Cancelling the task aborts the transfer.
    package func outcome(_ request: HTTPRequest) async -> Result<HTTPResponse, CurlFailure> {
        await run(CurlTransfer.http(request))
    }

    /// Ends the thread; transfers under way fail.
    package func shutdown() {
        inbox.withLock { $0.isClosed = true }
        wakeUp()
    }

    /// Begins an HTTP request without a task.
    ///
    /// - Parameter completion: called once, on the engine's thread, so it must be short; at once on the caller's if the
    ///   engine is closed or the request is not one.
    /// - Returns: what `cancel` takes.
    @discardableResult
    package func start(_ request: HTTPRequest, completion: @escaping Completion) -> TransferID {
        let id = reserve()
        hand(CurlTransfer.http(request), id, completion)
        return id
    }

    /// Aborts a transfer: its connection is closed, its completion gets `cancelled`. Nothing happens if it has ended.
    package func cancel(_ id: TransferID) {
        inbox.withLock { inbox in
            guard inbox.live.contains(id.number) else { return }
            inbox.cancelled.insert(id.number)
            wakeUp(inbox)
        }
    }

    private func wakeUp() { inbox.withLock { wakeUp($0) } }

    private func wakeUp(_ inbox: borrowing Inbox) {
        if let multi, !inbox.isOver { curl_multi_wakeup(multi.handle) }
    }

    private func reserve() -> TransferID {
        inbox.withLock { inbox in
            inbox.nextID += 1
            inbox.live.insert(inbox.nextID)
            return TransferID(number: inbox.nextID)
        }
    }

    private func hand(_ transfer: sending CurlTransfer?, _ id: TransferID, _ completion: @escaping Completion) {
        guard let transfer else {
            inbox.withLock { inbox in
                _ = inbox.live.remove(id.number)
                _ = inbox.cancelled.remove(id.number)
            }
            return completion(.failure(CurlFailure(error: .invalid, wasSent: false)))
        }
        let handed = Handed(transfer)
        let isTaken = inbox.withLock { inbox in
            guard multi != nil, !inbox.isClosed, let transfer = handed.take() else {
                inbox.live.remove(id.number)
                inbox.cancelled.remove(id.number)
                return false
            }
            inbox.arrived.append(Job(id: id.number, transfer: transfer, completion: completion))
            // A wake-up lasts until the thread takes what has arrived, so one is enough for all.
            if inbox.arrived.count == 1 { wakeUp(inbox) }
            return true
        }
        if !isTaken { completion(.failure(CurlFailure(error: .closed, wasSent: false))) }
    }

    private func run(_ transfer: sending CurlTransfer?) async -> Result<HTTPResponse, CurlFailure> {
        let id = reserve()
        let handed = transfer.map { Handed($0) }
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                hand(handed?.take(), id) { continuation.resume(returning: $0) }
            }
        } onCancel: {
            cancel(id)
        }
        return result
    }

    // MARK: - The thread

    private func run() {
        guard let multi = multi?.handle else { return }
        var lanes = TransferLanes<Job>(room: room)
        var jobs: [UnsafeMutableRawPointer: Job] = [:]
        while true {
            let (arrived, cancelled, isClosed) = inbox.withLock { inbox in
                defer { inbox.arrived = [] }
                return (inbox.arrived, inbox.cancelled, inbox.isClosed)
            }
            let now = now()
            for job in arrived {
                lanes.add(
                    job, id: job.id, lane: job.transfer.lane, party: job.transfer.party,
                    deadline: now + Int64(job.transfer.timeoutMilliseconds))
            }
            if isClosed || !cancelled.isEmpty {
                let error: CurlError = isClosed ? .closed : .cancelled
                for job in lanes.removeWaiting(where: { isClosed || cancelled.contains($0) }) {
                    answer(job, .failure(CurlFailure(error: error, wasSent: false)))
                }
                for job in jobs.values where isClosed || cancelled.contains(job.id) {
                    curl_multi_remove_handle(multi, job.transfer.easy)
                    jobs[job.transfer.easy] = nil
                    lanes.end(job.transfer.lane, party: job.transfer.party)
                    answer(job, .failure(job.transfer.failure(error)))
                }
            }
            if isClosed { break }
            let (begin, overdue) = lanes.start(now: now)
            for job in overdue { answer(job, .failure(CurlFailure(error: .timeout, wasSent: false))) }
            for (job, milliseconds) in begin {
                job.transfer.limit(milliseconds: milliseconds)
                jobs[job.transfer.easy] = job
                curl_multi_add_handle(multi, job.transfer.easy)
            }
            var running: Int32 = 0
            curl_multi_perform(multi, &running)
            // A transfer that ended made room for one that waits.
            if finish(multi, &jobs, &lanes) { continue }
            // Also ends after a second, so that `now` is looked at; timeouts of what is under way are libcurl's own.
            curl_multi_poll(multi, nil, 0, 1_000, nil)
        }
        inbox.withLock { inbox in
            inbox.isOver = true
            curl_multi_cleanup(multi)
        }
    }

    private func answer(_ job: Job, _ result: Result<HTTPResponse, CurlFailure>) {
        inbox.withLock { inbox in
            _ = inbox.live.remove(job.id)
            _ = inbox.cancelled.remove(job.id)
        }
        job.completion(result)
    }

    /// - Returns: whether a transfer ended.
    private func finish(
        _ multi: UnsafeMutableRawPointer, _ jobs: inout [UnsafeMutableRawPointer: Job],
        _ lanes: inout TransferLanes<Job>
    ) -> Bool {
        var left: Int32 = 0
        var hasEnded = false
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
            let code = queuepool_curl_result(message)
            curl_multi_remove_handle(multi, easy)
            guard let job = jobs.removeValue(forKey: easy) else { continue }
            hasEnded = true
            lanes.end(job.transfer.lane, party: job.transfer.party)
            answer(job, job.transfer.result(code))
        }
        return hasEnded
    }
}

/// A transfer on its way to the engine's thread; taken once, under the inbox's lock.
private final class Handed: @unchecked Sendable {
    private var transfer: CurlTransfer?
    init(_ transfer: CurlTransfer) { self.transfer = transfer }

    func take() -> CurlTransfer? {
        defer { transfer = nil }
        return transfer
    }
}
