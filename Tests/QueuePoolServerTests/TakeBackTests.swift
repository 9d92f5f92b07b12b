// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolServer

@Suite struct `What was taken for a client` {
    private func receive(
        _ stage: ServiceStage, wait: Int, _ life: ConnectionLife = ConnectionLife()
    ) async -> (bodies: [String], takeBack: (@Sendable () -> Void)?) {
        let body = "{\"QueueUrl\":\"mail.fifo\",\"MaxNumberOfMessages\":10,\"WaitTimeSeconds\":\(wait)}"
        let answer = await withCheckedContinuation { (done: CheckedContinuation<Answer, Never>) in
            Array(body.utf8).withUnsafeBytes {
                stage.service.sqs.handle(
                    target: "AmazonSQS.ReceiveMessage", body: $0, trace: nil, life: life, caller: .anybody
                ) {
                    done.resume(returning: $0)
                }
            }
        }
        let text = String(decoding: answer.body, as: UTF8.self)
        return (text.split(separator: "\"Body\":\"").dropFirst().map { String($0.prefix(1)) }, answer.takeBack)
    }

    private func stage(with bodies: [String]) async throws -> ServiceStage {
        let stage = try ServiceStage(shards: 1)
        for body in bodies {
            let text = "{\"QueueUrl\":\"mail.fifo\",\"MessageGroupId\":\"g\","
            let message = "\"MessageDeduplicationId\":\"\(body)\",\"MessageBody\":\"\(body)\"}"
            #expect(try await stage.sqs("SendMessage", text + message).status == 200)
        }
        return stage
    }

    @Test func `by a long poll is there for the next one, in order`() async throws {
        let stage = try await stage(with: ["1", "2", "3"])
        let first = await receive(stage, wait: 20)
        #expect(first.bodies == ["1", "2", "3"])
        #expect(await receive(stage, wait: 0).bodies.isEmpty)
        let takeBack = try #require(first.takeBack)
        takeBack()
        #expect(await receive(stage, wait: 0).bodies == ["1", "2", "3"])
    }

    @Test func `is nothing if it left before the messages were looked for`() async throws {
        let stage = try await stage(with: ["1"])
        let life = ConnectionLife()
        life.close()
        #expect(await receive(stage, wait: 0, life).bodies.isEmpty)
        #expect(await receive(stage, wait: 0).bodies == ["1"])
    }
}
