// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolChecking
import QueuePoolCore
import QueuePoolCurl
import QueuePoolJSON
import QueuePoolSQS
import QueuePoolTestSupport

/// How a queue of the service, or the way to it, misbehaves now; parts of requests are in percent.
struct QueueWeather: Hashable, Sendable {
    /// Refused for their rate.
    var throttled = 0
    /// Answered with a 503 and not carried out.
    var unavailable = 0
    /// Carried out and answered with a 500, or not carried out and answered so.
    var internalFailure = 0
    /// Entries of a batch that fail alone.
    var failedEntries = 0
    /// Entries of a batch that are refused for good.
    var refusedEntries = 0
    /// Sends that arrive late.
    var delayedSends = 0
    /// Messages that are stored otherwise than they were sent.
    var damagedMessages = 0
    /// Never arrive.
    var lostRequests = 0
    /// Carried out, and the answer never arrives.
    var lostAnswers = 0
    /// Answers take so much longer, milliseconds.
    var slowness: Int64 = 0

    static let fair = QueueWeather()
}

/// A service that speaks the SQS protocol in AWS JSON, as far as a shard asks.
final class SimulatedService: @unchecked Sendable {
    private struct Waiter {
        let deadline: Timestamp
        let request: ReceiveMessageRequest
        let reply: (HTTPResponse) -> Void
    }

    let time: SimulatedTime
    private(set) var queues: [SimulatedQueue] = []
    private var places: [String: Int] = [:]
    var weather: [QueueWeather] = []
    private var waiters: [[Waiter]] = []
    private var random: SplitMix64
    var ledger = SendLedger()
    /// Requests a second of each action that a queue carries out; `nil` is no limit.
    var quota: Int?
    private var buckets: [QuotaKey: TokenBucket] = [:]

    private struct QuotaKey: Hashable {
        let place: Int
        let action: SQSAction
    }
    /// Messages that are stored otherwise than they were sent. A few: each holds its group up for minutes.
    private(set) var damaged: Set<Int> = []
    private static let damagedMax = 2
    /// Called for a promise that a router breaks here, with the message or -1.
    var onBroken: ((Promise, Int, String) -> Void)?

    init(_ time: SimulatedTime, seed: UInt64) {
        self.time = time
        random = SplitMix64(seed: seed)
    }

    func add(_ name: String, _ attributes: QueueAttributes) -> SimulatedQueue {
        let queue = SimulatedQueue(name, number: queues.count, attributes, time)
        places[name] = queues.count
        queues.append(queue)
        weather.append(.fair)
        waiters.append([])
        return queue
    }

    // MARK: - Requests

    /// Takes a request at the door of the service; `reply` may be called later, or never.
    /// - Parameter life: of the host that sent it, at that time.
    func take(
        _ request: AWSRequest, place: Int, from host: Host, life: Int, reply: @escaping (HTTPResponse) -> Void
    ) {
        let weather = weather[place]
        if random.chance(weather.lostRequests) { return }
        let reply: (HTTPResponse) -> Void = { [self] response in
            if !random.chance(self.weather[place].lostAnswers) { reply(response) }
        }
        if random.chance(weather.throttled) { return reply(SimulatedService.refusal(400, "RequestThrottled")) }
        if isOverQuota(request, place) { return reply(SimulatedService.refusal(400, "RequestThrottled")) }
        if random.chance(weather.unavailable) { return reply(SimulatedService.refusal(503, "ServiceUnavailable")) }
        guard random.chance(weather.internalFailure) else { return perform(request, place, host, life, reply) }
        if random.chance(50) { perform(request, place, host, life) { _ in } }
        reply(SimulatedService.refusal(500, "InternalFailure"))
    }

    private func isOverQuota(_ request: AWSRequest, _ place: Int) -> Bool {
        guard let quota, let action = SimulatedService.action(of: request) else { return false }
        let now = time.now
        let key = QuotaKey(place: place, action: action)
        return buckets[key, default: TokenBucket(rate: quota, now: now)].take(now: now) != nil
    }

    static func action(of request: AWSRequest) -> SQSAction? {
        let target = request.headers.first { $0.name == "X-Amz-Target" }?.value ?? ""
        return target.split(separator: ".").last.flatMap { SQSAction(rawValue: String($0)) }
    }

    private func perform(
        _ request: AWSRequest, _ place: Int, _ host: Host, _ life: Int, _ reply: @escaping (HTTPResponse) -> Void
    ) {
        do {
            switch SimulatedService.action(of: request) {
            case .sendMessageBatch: reply(try sendBatch(request.body, place, host, life))
            case .receiveMessage: try receive(request.body, place, reply)
            case .deleteMessageBatch: reply(try deleteBatch(request.body, place))
            case .changeMessageVisibilityBatch: reply(try changeBatch(request.body, place))
            default: reply(SimulatedService.refusal(400, "UnsupportedOperation"))
            }
        } catch { reply(SimulatedService.refusal(400, (error as? SQSError)?.code ?? "InternalFailure")) }
        serveWaiters(place)
    }

    private func sendBatch(_ body: [UInt8], _ place: Int, _ host: Host, _ life: Int) throws -> HTTPResponse {
        try body.withUnsafeBytes { try sendBatch($0, place, host, life) }
    }

    private func sendBatch(
        _ body: UnsafeRawBufferPointer, _ place: Int, _ host: Host, _ life: Int
    ) throws -> HTTPResponse {
        let request = try SendMessageBatchRequest(body)
        try request.check(QueueAttributes())
        var failures: [BatchFailure] = []
        var taken: [(id: String, prepared: PreparedSend)] = []
        for entry in request.entries {
            if random.chance(weather[place].failedEntries) {
                failures.append(BatchFailure(id: entry.id, error: SQSError(.internalFailure, "")))
            } else if weather[place].refusedEntries > 0, random.chance(weather[place].refusedEntries) {
                failures.append(BatchFailure(id: entry.id, error: SQSError(.invalidMessageContents, "")))
            } else {
                taken.append((entry.id, try prepare(entry, attributes: QueueAttributes(), isBatch: true)))
            }
        }
        let receipts = queues[place].send(taken.map(\.prepared.message))
        let successes = zip(taken, receipts).map { entry, receipt in
            (entry.id, answer(entry.prepared, receipt, place, host, life))
        }
        return SimulatedService.answer { json in
            SQSAnswer.sendMessageBatch(successes: successes, failures: failures, to: &json)
        }
    }

    private func answer(
        _ prepared: PreparedSend, _ receipt: SendReceipt, _ place: Int, _ host: Host, _ life: Int
    ) -> SendAnswer {
        var answer = SendAnswer(receipt, prepared)
        let message = prepared.message.record.withView { Int(String(decoding: $0.body, as: UTF8.self)) ?? -1 }
        if !receipt.isDuplicate {
            let group = prepared.message.groupHash
            if let other = ledger.stored(message, group: group, router: host, life: life) {
                onBroken?(.order, message, "was stored behind message \(other), which its router took in after it")
            }
            let part = weather[place].damagedMessages
            if part > 0, damaged.count < SimulatedService.damagedMax, random.chance(part) { damaged.insert(message) }
        }
        // What is stored differs from what was sent, and every answer tells. Receivers get what was sent all the same: who
        // sent it must not believe in it, whatever they get.
        if damaged.contains(message) { answer.bodyMD5 = Array("damaged".utf8).withUnsafeBytes { MD5Digest(of: $0) } }
        return answer
    }

    private func receive(_ body: [UInt8], _ place: Int, _ reply: @escaping (HTTPResponse) -> Void) throws {
        let request = try body.withUnsafeBytes { try ReceiveMessageRequest($0) }
        let waiter = Waiter(
            deadline: time.now + Int64(request.waitSeconds ?? 0) * 1_000, request: request, reply: reply)
        if serve(waiter, place) { return }
        waiters[place].append(waiter)
        time.schedule(at: waiter.deadline) { [self] in serveWaiters(place) }
        watch(place)
    }

    private func watch(_ place: Int) {
        guard !waiters[place].isEmpty, let at = queues[place].nextVisibleAt else { return }
        time.schedule(at: at) { [self] in serveWaiters(place) }
    }

    private func serve(_ waiter: Waiter, _ place: Int) -> Bool {
        let messages = queues[place].receive(
            limit: waiter.request.max, visibilitySeconds: waiter.request.visibilitySeconds,
            attemptID: waiter.request.attemptID)
        guard !messages.isEmpty || waiter.deadline <= time.now else { return false }
        waiter.reply(
            SimulatedService.answer { SQSAnswer.receiveMessage(messages, for: waiter.request, to: &$0) })
        return true
    }

    private func serveWaiters(_ place: Int) {
        guard !waiters[place].isEmpty else { return }
        waiters[place].removeAll { serve($0, place) }
        watch(place)
    }

    private func deleteBatch(_ body: [UInt8], _ place: Int) throws -> HTTPResponse {
        let request = try body.withUnsafeBytes { try DeleteMessageBatchRequest($0) }
        return answer(request.entries, place) { entry in
            guard let handle = try? entry.handle() else { return .invalidHandle(entry.handleText) }
            return switch queues[place].delete(handle) {
            case .deleted: nil
            case .expired: .expiredHandle(entry.handleText)
            default: .invalidHandle(entry.handleText)
            }
        }
    }

    private func changeBatch(_ body: [UInt8], _ place: Int) throws -> HTTPResponse {
        let request = try body.withUnsafeBytes { try ChangeMessageVisibilityBatchRequest($0) }
        let released = request.entries.compactMap { try? $0.change() }.filter { $0.seconds == 0 }.map(\.handle)
        if let (earlier, later) = queues[place].wrongOrder(released) {
            onBroken?(.order, earlier, "was given back before message \(later), which follows it")
        }
        return answer(request.entries, place) { entry in
            guard let change = try? entry.change() else { return .invalidHandle(entry.handleText) }
            let decision = queues[place].changeVisibility(change.handle, seconds: change.seconds)
            return decision == .changed ? nil : .unavailableHandle(entry.handleText)
        }
    }

    private func answer(
        _ entries: [HandleEntry], _ place: Int, _ perform: (HandleEntry) -> SQSError?
    ) -> HTTPResponse {
        var successes: [String] = []
        var failures: [BatchFailure] = []
        for entry in entries {
            let isFault = random.chance(weather[place].failedEntries)
            if let error = isFault ? SQSError(.internalFailure, "") : perform(entry) {
                failures.append(BatchFailure(id: entry.id, error: error))
            } else {
                successes.append(entry.id)
            }
        }
        return SimulatedService.answer { json in
            SQSAnswer.handleBatch(successes: successes, failures: failures, to: &json)
        }
    }

    private static func answer(_ write: (inout JSONWriter) -> Void) -> HTTPResponse {
        var json = JSONWriter()
        write(&json)
        return HTTPResponse(status: 200, headers: [], body: json.take())
    }

    private static func refusal(_ status: Int, _ code: String) -> HTTPResponse {
        HTTPResponse(status: status, headers: [("x-amzn-query-error", code + ";Sender")], body: [])
    }
}
