// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS

// What the audit log is told of requests over the SQS protocol.

extension SQSService {
    /// Carries an admin action out between its two entries of the audit log.
    /// - Returns: whether it does; if not, it is no admin action, or one that who asks may not take.
    func audited(
        _ access: SQSAccess, _ body: UnsafeRawBufferPointer, _ life: ConnectionLife, _ via: AuditProtocol,
        reply: @escaping Reply
    ) -> Bool {
        guard let audit, RequiredRights.of(access.action) == .admin, !RequiredRights.onlyReads(access.action) else {
            return false
        }
        let name = AuditedQueue.name(of: access.action, body)
        let queue = self.queue(name)
        if let pass = access.caller.pass {
            // Refusals are not worth a flush, and whoever is refused must not be able to ask for many.
            guard pass.rights.allowsAnywhere(.admin) else { return false }
            if case .queue(let queue) = name,
                access.caller.denial(.admin, named: queue, in: registry, isNew: access.action == .createQueue) != nil
            {
                return false
            }
        }
        let request = request(access, life, via, queue)
        let copy = Array(body)
        audit.perform(request, reply: reply) { [self] reply in
            copy.withUnsafeBytes { body in
                do throws(SQSError) { try carryOut(access, body, nil, life, reply) } catch {
                    reply(SQSService.answer(error))
                }
            }
        }
        return true
    }

    /// Writes a refusal down.
    func refused(
        _ access: SQSAccess, _ body: UnsafeRawBufferPointer, _ life: ConnectionLife, _ via: AuditProtocol,
        _ answer: Answer
    ) -> Answer {
        guard let audit else { return answer }
        let queue = queue(AuditedQueue.name(of: access.action, body))
        return audit.refuse(request(access, life, via, queue), .accessDenied, answer)
    }

    private func queue(_ name: AuditedQueue.Name?) -> String? {
        switch name {
        case .queue(let queue): queue
        case .task(let handle): moves.task(handle)?.source.text
        case nil: nil
        }
    }

    private func request(
        _ access: SQSAccess, _ life: ConnectionLife, _ via: AuditProtocol, _ queue: String?
    ) -> AuditedRequest {
        AuditedRequest(
            caller: access.caller.pass?.keyID, address: life.address.flatMap { AuditWord($0) }, via: via,
            action: RequiredRights.of(access.action).actions, operation: access.action.rawValue,
            pool: queue.flatMap { PoolName($0) })
    }
}

extension RequiredRight {
    /// Those of which one is enough; none if it needs none.
    var actions: AccessActions {
        switch self {
        case .oneOf(let actions), .oneOfInBody(let actions), .everywhere(let actions): actions
        case .nothing, .filtered, .ofAction: []
        }
    }
}

extension QueueService {
    /// Writes the refusal of a plain request down.
    func refused(_ request: PlainRequest, _ fault: AccessFault, _ answer: Answer) -> Answer {
        guard let audit else { return answer }
        let address = request.life.address.flatMap { AuditWord($0) }
        switch request.route {
        case .sqs(let target):
            let action = SQSAction(target: target)
            return audit.refuse(
                AuditedRequest(
                    address: address, via: .sqs, action: action.map { RequiredRights.of($0).actions } ?? [],
                    operation: action?.rawValue), fault, answer)
        case .message(let pool):
            return audit.refuse(
                AuditedRequest(
                    address: address, via: .rest, action: .send, operation: "sendMessages", pool: PoolName(pool)),
                fault, answer)
        }
    }
}
