// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCurl
import Glibc
import Synchronization

// All outgoing traffic goes through one curl_multi on one thread, which keeps connections and uses them again. Callers
// hand transfers over a lock and suspend; the thread resumes them. libcurl's multi handle is not thread-safe but for
// curl_multi_wakeup, and nothing else is called from outside. Source: curl.se/libcurl/c/threadsafe.html,
// curl_multi_wakeup(3).

package final class CurlEngine: Sendable {
    private struct Inbox {
        var arrived: [Job] = []
        var cancelled: [UInt64] = []
        var nextID: UInt64 = 0
        var isClosed = false
    }

    private struct Job {
        let id: UInt64
        let transfer: CurlTransfer
        let continuation: CheckedContinuation<Result<HTTPResponse, CurlError>, Never>
    }

    /// A pointer that only the engine's thread uses, but for curl_multi_wakeup.
    private struct Multi: @unchecked Sendable {
        let handle: UnsafeMutableRawPointer
    }

    private static let connectionsMax = 256
    private let inbox = Mutex(Inbox())
    private let multi: Multi?

    /// Starts the thread.
    package init() {
        curl_global_init(Int(CURL_GLOBAL_DEFAULT))
        multi = curl_multi_init().map { Multi(handle: $0) }
        guard let multi else { return }
        queuepool_curl_multi_set_long(multi.handle, CURLMOPT_MAX_TOTAL_CONNECTIONS, CurlEngine.connectionsMax)
        queuepool_curl_multi_set_long(multi.handle, CURLMOPT_MAXCONNECTS, CurlEngine.connectionsMax)
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
        try await run(CurlTransfer.http(request))
    }

    /// Hands a mail to an SMTP server.
    package func sendMail(_ mail: MailTransfer) async throws(CurlError) {
        _ = try await run(CurlTransfer.mail(mail))
    }

    /// Ends the thread; transfers under way fail.
    package func shutdown() {
        inbox.withLock { $0.isClosed = true }
        wakeUp()
    }

    private func wakeUp() { if let multi { curl_multi_wakeup(multi.handle) } }

    private func run(_ transfer: sending CurlTransfer?) async throws(CurlError) -> HTTPResponse {
        guard let transfer, multi != nil else { throw .closed }
        let id = inbox.withLock { inbox in
            inbox.nextID += 1
            return inbox.nextID
        }
        let handed = Handed(transfer)
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isTaken = inbox.withLock { inbox in
                    guard !inbox.isClosed, let transfer = handed.take() else { return false }
                    inbox.arrived.append(Job(id: id, transfer: transfer, continuation: continuation))
                    return true
                }
                if isTaken { wakeUp() } else { continuation.resume(returning: .failure(.closed)) }
            }
        } onCancel: {
            inbox.withLock { $0.cancelled.append(id) }
            wakeUp()
        }
        return try result.get()
    }

    // MARK: - The thread

    private func run() {
        guard let multi = multi?.handle else { return }
        var jobs: [UnsafeMutableRawPointer: Job] = [:]
        while true {
            let (arrived, cancelled, isClosed) = inbox.withLock { inbox in
                defer {
                    inbox.arrived = []
                    inbox.cancelled = []
                }
                return (inbox.arrived, inbox.cancelled, inbox.isClosed)
            }
            for job in arrived {
                jobs[job.transfer.easy] = job
                curl_multi_add_handle(multi, job.transfer.easy)
            }
            for job in jobs.values where isClosed || cancelled.contains(job.id) {
                curl_multi_remove_handle(multi, job.transfer.easy)
                jobs[job.transfer.easy] = nil
                job.continuation.resume(returning: .failure(isClosed ? .closed : .cancelled))
            }
            if isClosed { break }
            var running: Int32 = 0
            curl_multi_perform(multi, &running)
            finish(multi, &jobs)
            curl_multi_poll(multi, nil, 0, 1_000, nil)
        }
        curl_multi_cleanup(multi)
    }

    private func finish(_ multi: UnsafeMutableRawPointer, _ jobs: inout [UnsafeMutableRawPointer: Job]) {
        var left: Int32 = 0
        while let message = curl_multi_info_read(multi, &left) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
            let code = queuepool_curl_result(message)
            curl_multi_remove_handle(multi, easy)
            guard let job = jobs.removeValue(forKey: easy) else { continue }
            job.continuation.resume(returning: job.transfer.result(code))
        }
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
