// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolSQS

@Suite struct `The queue of an audited request` {
    private func name(_ action: SQSAction, _ body: String) -> AuditedQueue.Name? {
        Array(body.utf8).withUnsafeBytes { AuditedQueue.name(of: action, $0) }
    }

    @Test func `it is the one that the request itself means`() {
        let url = #"{"QueueUrl": "http://host/000000000000/a.fifo", "QueueName": "b.fifo"}"#
        #expect(name(.purgeQueue, url) == .queue("a.fifo"))
        #expect(name(.createQueue, url) == .queue("b.fifo"))
        let arn = #"{"SourceArn": "arn:aws:sqs:us-east-1:000000000000:c.fifo", "DestinationArn": "x"}"#
        #expect(name(.startMessageMoveTask, arn) == .queue("c.fifo"))
        #expect(name(.cancelMessageMoveTask, #"{"TaskHandle": "t"}"#) == .task("t"))
    }

    @Test func `a request that names two queues is refused, and has none here either`() {
        let body = Array(#"{"QueueUrl": "a.fifo", "QueueUrl": "b.fifo"}"#.utf8)
        body.withUnsafeBytes { bytes in
            #expect(throws: SQSError.self) { try QueueRequest(bytes) }
            #expect(AuditedQueue.name(of: .deleteQueue, bytes) == nil)
        }
    }

    @Test(arguments: ["", "{", "[]", "{}", #"{"QueueUrl": 1}"#])
    func `what cannot be read has none`(body: String) { #expect(name(.deleteQueue, body) == nil) }
}
