// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS

// The one service behind both ways in: the front door for plain requests, Hummingbird's router for all others.

final class QueueService: PlainService {
    let registry: PoolRegistry
    let sqs: SQSService
    let messages: MessageSender

    init(registry: PoolRegistry, sqs: SQSService, idempotency: IdempotencyOptions = IdempotencyOptions()) {
        self.registry = registry
        self.sqs = sqs
        messages = MessageSender(
            registry: registry, requests: IdempotentRequests(idempotency, clock: registry.clock))
    }

    func handle(_ request: PlainRequest, reply: @escaping Reply) {
        switch request.route {
        case .sqs(let target):
            sqs.handle(target: target, body: request.body, trace: request.trace, life: request.life, reply: reply)
        case .message(let pool): messages.handle(pool: pool, request.body, reply: reply)
        }
    }

    func tooLarge(_ route: PlainRoute, limit: Int) -> Answer {
        switch route {
        case .sqs: SQSService.answer(.requestTooLarge(limit: limit))
        case .message: Problem.tooLarge(limit: limit).answer
        }
    }

    func noRoom(_ route: PlainRoute) -> Answer {
        switch route {
        case .sqs: SQSService.answer(.refusedBody(.noRoom, limit: 0))
        case .message: Problem.noRoom.answer
        }
    }
}
