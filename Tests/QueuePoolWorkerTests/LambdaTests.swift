// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import Synchronization
import Testing

@testable import QueuePoolWorker

@Suite struct `An event of Lambda` {
    @Test func `has each message as a record`() {
        var message = WorkMessage(
            id: "id-1", handle: "h-1", group: "g\"1", body: Array("hello".utf8),
            attributes: [
                MessageAttribute(name: "kind", text: "x"),
                MessageAttribute(name: "raw", dataType: "Binary", value: [0, 255]),
            ], receiveCount: 3)
        message.shardName = "emails-0003.fifo"
        message.firstReceivedAt = Timestamp(milliseconds: 400)
        let body = LambdaEvent.body(
            [message], now: Timestamp(milliseconds: 1_000), wall: Timestamp(milliseconds: 50_000))
        let lists = #""stringListValues":[],"binaryListValues":[]"#
        #expect(
            String(decoding: body, as: UTF8.self) == #"{"Records":[{"messageId":"id-1","receiptHandle":"h-1","#
                + #""body":"hello","attributes":{"ApproximateReceiveCount":"3","#
                + #""ApproximateFirstReceiveTimestamp":"49400","MessageGroupId":"g\"1","SenderId":"000000000000"},"#
                + #""messageAttributes":{"kind":{"stringValue":"x",\#(lists),"dataType":"String"},"#
                + #""raw":{"binaryValue":"AP8=",\#(lists),"dataType":"Binary"}},"#
                + #""md5OfBody":"5d41402abc4b2a76b9719d911017c592","eventSource":"aws:sqs","#
                + #""eventSourceARN":"arn:aws:sqs:us-east-1:000000000000:emails-0003.fifo","#
                + #""awsRegion":"us-east-1"}]}"#)
    }
}

@Suite struct `A function's answer` {
    private static func outcomes(_ body: String) -> [DeliveryOutcome] {
        LambdaAnswer.outcomes(Array(body.utf8), of: ["a", "b", "c"])
    }

    @Test(arguments: [
        #"{"batchItemFailures":[]}"#, #"{"batchItemFailures":null}"#, "{}", "null", #"{"statusCode":200}"#,
    ])
    func `without failures says that all are delivered`(body: String) {
        #expect(Self.outcomes(body) == [.delivered, .delivered, .delivered])
    }

    @Test func `lists those that failed`() {
        let body = #"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"b","more":[1]}]}"#
        #expect(Self.outcomes(body) == [.delivered, .failed(errorClass: "lambda-item-failed"), .delivered])
    }

    @Test(arguments: [
        "", "OK", #""OK""#, "[]", "{", #"{"batchItemFailures":"b"}"#, #"{"batchItemFailures":["b"]}"#,
        #"{"batchItemFailures":[{}]}"#, #"{"batchItemFailures":[{"itemIdentifier":""}]}"#,
        #"{"batchItemFailures":[{"itemIdentifier":null}]}"#, #"{"batchItemFailures":[{"itemIdentifer":"b"}]}"#,
        #"{"batchItemFailures":[]} and more"#,
    ])
    func `that is not understood says that all failed`(body: String) {
        #expect(Self.outcomes(body) == Array(repeating: .failed(errorClass: "lambda-answer"), count: 3))
    }

    @Test func `that names a message of somebody else says that all failed`() {
        let body = #"{"batchItemFailures":[{"itemIdentifier":"b"},{"itemIdentifier":"z"}]}"#
        #expect(Self.outcomes(body) == Array(repeating: .failed(errorClass: "lambda-unknown-item"), count: 3))
    }
}

@Suite struct `A function's URL` {
    private static func target(_ text: String) throws -> any DeliveryTarget {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        return try DeliveryURL.target(text, engine: engine)
    }

    @Test(arguments: ["lambda+http://127.0.0.1:1/f", "lambda+https://h/", "LAMBDA+HTTP://h"])
    func `names a target`(text: String) throws {
        #expect(try Self.target(text).kind == "lambda")
    }

    @Test(arguments: ["lambda+http:", "lambda+http://", "lambda+smtp://h", "lambda:x", "lambda+https"])
    func `that names none is refused with what is allowed`(text: String) {
        #expect { try Self.target(text) } throws: { "\($0)".contains("lambda+http(s)://...") }
    }

    @Test(arguments: [1, 2])
    func `is not asked for a message that may not begin any more`(attempt: Int) async throws {
        let engine = CurlEngine()
        defer { engine.shutdown() }
        // Nobody listens there: whoever is asked is unreachable, and that says nothing of the message.
        let target = try DeliveryURL.target("lambda+http://127.0.0.1:1/", engine: engine)
        let message = WorkMessage(id: "a", handle: "h", group: "g")
        #expect(await target.deliver(message, attempt: attempt, mayBegin: { false }) == .cancelled)
        #expect(await target.deliver(message, attempt: attempt) == .unavailable(errorClass: "unreachable"))
    }
}

@Suite struct `Deliveries that are gathered` {
    @Test func `go alone while there is room, and together when they had to wait`() async {
        let stage = GatheringStage(requestsMax: 1)
        let first = stage.deliver("m0")
        await stage.began(1)
        var others: [Task<DeliveryOutcome, Never>] = []
        for number in 1...12 {
            others.append(stage.deliver("m\(number)"))
            // In the order in which they came.
            await stage.waits(number)
        }
        #expect(stage.requests == [["m0"]])
        stage.end(["m0": .delivered])
        await stage.began(2)
        #expect(stage.requests.last == (1...10).map { "m\($0)" })
        stage.end(["m3": .failed(errorClass: "x")])
        await stage.began(3)
        #expect(stage.requests.last == ["m11", "m12"])
        stage.end([:])
        #expect(await first.value == .delivered)
        for (place, task) in others.enumerated() {
            #expect(await task.value == (place == 2 ? .failed(errorClass: "x") : .delivered), "m\(place + 1)")
        }
        let last = stage.deliver("m13")
        await stage.began(4)
        stage.end([:])
        #expect(await last.value == .delivered, "there is room again")
    }

    @Test func `of large messages are fewer`() async {
        let stage = GatheringStage(requestsMax: 1)
        let large = DeliveryGathering.bytesMax / 2
        var tasks = [stage.deliver("m0")]
        await stage.began(1)
        for number in 1...3 {
            tasks.append(stage.deliver("m\(number)", bytes: large))
            await stage.waits(number)
        }
        for (place, request) in [["m1", "m2"], ["m3"]].enumerated() {
            stage.end([:])
            await stage.began(place + 2)
            #expect(stage.requests.last == request)
        }
        stage.end([:])
        for task in tasks { #expect(await task.value == .delivered) }
    }

    @Test func `end with the tasks that wait for them`() async {
        let stage = GatheringStage(requestsMax: 1)
        let first = stage.deliver("m0")
        await stage.began(1)
        let cancelled = stage.deliver("m1")
        await stage.waits(1)
        let kept = stage.deliver("m2")
        await stage.waits(2)
        cancelled.cancel()
        #expect(await cancelled.value == .cancelled)
        stage.end([:])
        await stage.began(2)
        #expect(stage.requests.last == ["m2"])
        stage.end([:])
        #expect(await first.value == .delivered)
        #expect(await kept.value == .delivered)
    }
}

/// Requests that a test ends.
private final class GatheringStage: Sendable {
    private struct State {
        var requests: [[String]] = []
        var open: [CheckedContinuation<[String: DeliveryOutcome], Never>] = []
    }

    private let state = Mutex(State())
    private let requestsMax: Int
    private let gathering = Mutex<DeliveryGathering?>(nil)

    init(requestsMax: Int) { self.requestsMax = requestsMax }

    private var made: DeliveryGathering {
        gathering.withLock { gathering in
            if let gathering { return gathering }
            let made = DeliveryGathering(requestsMax: requestsMax) { [unowned self] entries in
                let ids = entries.map(\.message.id)
                let outcomes = await withCheckedContinuation { continuation in
                    state.withLock { state in
                        state.requests.append(ids)
                        state.open.append(continuation)
                    }
                }
                return ids.map { outcomes[$0] ?? .delivered }
            }
            gathering = made
            return made
        }
    }

    var requests: [[String]] { state.withLock { $0.requests } }

    func deliver(_ id: String, bytes: Int = 1) -> Task<DeliveryOutcome, Never> {
        let message = WorkMessage(id: id, handle: "h", group: id, body: [UInt8](repeating: 1, count: bytes))
        let gathering = made
        return Task { await gathering.deliver(DeliveryGathering.Entry(message: message, mayBegin: { true })) }
    }

    /// Waits until so many requests have begun.
    func began(_ count: Int) async {
        while requests.count < count || state.withLock({ $0.open.isEmpty }) { await Task.yield() }
    }

    /// Waits until so many deliveries wait.
    func waits(_ count: Int) async {
        while made.waitingCount < count { await Task.yield() }
    }

    /// Ends the request that is under way; what is not named is delivered.
    func end(_ outcomes: [String: DeliveryOutcome]) {
        state.withLock { $0.open.removeFirst() }.resume(returning: outcomes)
    }
}
