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
    /// `nil`: nobody is asked who he is.
    let access: AccessGate?
    /// `nil`: nobody asks who did what.
    let audit: AuditDesk?
    var refusals: CallerRefusalCounts? { access?.refusals }
    /// Whether nobody in between can change a body that is not signed.
    let isEncrypted: Bool

    init(
        registry: PoolRegistry, sqs: SQSService, idempotency: IdempotencyOptions = IdempotencyOptions(),
        access: AccessGate? = nil, isEncrypted: Bool = false, audit: AuditDesk? = nil
    ) {
        self.audit = audit
        self.access = access
        self.isEncrypted = isEncrypted
        self.registry = registry
        self.sqs = sqs
        messages = MessageSender(
            registry: registry, requests: IdempotentRequests(idempotency, clock: registry.clock))
    }

    func handle(_ request: PlainRequest, reply: @escaping Reply) {
        let caller: Caller
        do throws(AccessFault) { caller = try self.caller(request) } catch {
            return reply(refused(request, error, QueueService.answer(error, request.route)))
        }
        let reply = counting(reply, of: caller)
        switch request.route {
        case .sqs(let target):
            sqs.handle(
                target: target, body: request.body, trace: request.trace, life: request.life, caller: caller,
                reply: reply)
        case .message(let pool):
            if let denial = caller.denial(.send, named: pool, in: registry) {
                return reply(refused(request, denial, denial.answer))
            }
            messages.handle(pool: pool, request.body, reply: reply)
        }
    }

    private func caller(_ request: PlainRequest) throws(AccessFault) -> Caller {
        guard let access else { return .anybody }
        let caller = try access.caller(
            head: request.head, authorization: request.authorization, body: request.body, isEncrypted: isEncrypted,
            life: request.life)
        try access.admit(caller, bytes: request.body.count, life: request.life)
        return caller
    }

    /// Counts the bytes of an answer where they are limited.
    private func counting(_ reply: @escaping Reply, of caller: Caller) -> Reply {
        guard let account = caller.pass?.account, account.countsBytes else { return reply }
        return { [clock = registry.clock] answer in
            account.charge(bytes: answer.body.count, now: clock.now())
            reply(answer)
        }
    }

    private static func answer(_ fault: AccessFault, _ route: PlainRoute) -> Answer {
        switch route {
        case .sqs: fault.sqsAnswer
        case .message: fault.answer
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
