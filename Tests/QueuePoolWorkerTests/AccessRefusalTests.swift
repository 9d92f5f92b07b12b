// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCurl
import Testing

@testable import QueuePoolWorker

@Suite struct `A server that does not let a worker in` {
    private static let why = "The key QP1 has no right 'receive' on the pool of emails.fifo."

    private func refusal(_ status: Int, _ body: String) -> AccessRefusal? {
        HTTPResponse(status: status, headers: [], body: Array(body.utf8)).accessRefusal
    }

    @Test func `is understood over REST and over SQS`() {
        let why = Self.why
        #expect(refusal(403, #"{"type":"urn:queuepool:access-denied","detail":"\#(why)"}"#) == .noRight(why))
        #expect(
            refusal(403, ##"{"__type":"com.amazonaws.sqs#AccessDeniedException","message":"\##(why)"}"##)
                == .noRight(why))
        #expect(refusal(403, #"{"__type":"com.amazonaws.sqs#RequestThrottled","message":"later"}"#) == nil)
        #expect(refusal(403, "no JSON") == nil)
        #expect(refusal(401, "") == .unknownCaller)
        #expect(refusal(500, #"{"type":"urn:queuepool:access-denied","detail":"\#(why)"}"#) == nil)
    }

    @Test func `is told of once for each reason, and again once it had let the worker in`() {
        let health = ShardHealth(count: 2)
        let poor = WorkerQueueError.notAdmitted(.noRight(Self.why))
        #expect(health.failed(0, .notAdmitted(.unknownCaller)))
        #expect(health.failed(0, poor) && !health.failed(0, poor) && !health.isUp(0))
        // A server that is away between two refusals is no news to who looks after keys.
        #expect(!health.failed(0, .unreachable("away")) && !health.failed(0, poor))
        #expect(health.isUp(1) && health.failed(1, .unreachable("away")) && !health.failed(1, .unreachable("late")))
        #expect(health.succeeded(0) && !health.succeeded(0) && health.failed(0, poor))
    }
}
