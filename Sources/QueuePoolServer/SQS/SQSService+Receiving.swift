// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS

extension SQSService {
    func receiveMessage(
        _ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ life: ConnectionLife, _ reply: @escaping Reply
    ) throws(SQSError) {
        let request = try ReceiveMessageRequest(body)
        let target = try target(request.queue, access)
        let command = ReceiveCommand(
            limit: request.max, visibilitySeconds: request.visibilitySeconds, attemptID: request.attemptID)
        let wait = request.waitSeconds ?? target.pool.attributes.receiveWaitSeconds
        let caller = access.caller
        let stay = caller.pass.map { CallerStay($0) }
        let waiter = target.pool.receive(
            command, from: target.shard, waitSeconds: wait, isAbandoned: { life.isClosed || caller.isOut }
        ) { [self] result in
            if wait > 0 { life.forget() }
            stay?.end()
            switch result {
            case .success(let messages):
                var answer = SQSService.answer { json in
                    SQSAnswer.receiveMessage(messages, for: request, sourceArn: sourceArn, to: &json)
                }
                // Taken for somebody who has left meanwhile: given back, the last one of a group first. A receive that can
                // be repeated is answered by the repeat.
                if wait > 0 || life.isClosed, !messages.isEmpty, command.attemptID == nil {
                    answer.takeBack = {
                        let changes = messages.reversed().map { (handle: $0.handle, seconds: 0) }
                        target.pool.changeVisibility(changes, in: target.shard) { _ in }
                    }
                }
                reply(answer)
            case .failure(let error): reply(SQSService.answer(SQSError(error)))
            }
        }
        if let waiter {
            let hub = target.pool.hub
            life.onClose { [weak hub] in hub?.abandoned(waiter) }
            stay?.onOut { [weak hub] in hub?.abandoned(waiter) }
        }
    }

    /// The pool's, whichever of its shards it was; a queue that is no pool's here is told as its service told it.
    private func sourceArn(_ message: ReceivedMessage) -> String? {
        registry.source(of: message).map { naming.arn($0.name.text) } ?? message.remote?.sourceARN
    }

    // MARK: - Deleting

    func deleteMessage(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply) throws(SQSError) {
        let request = try DeleteMessageRequest(body)
        let target = try target(request.queue, access)
        target.pool.delete([request.handle], bodies: [request.pointer], in: target.shard) { outcomes in
            if let error = outcomes.first.flatMap({ SQSService.error($0, request.handleText) }) {
                reply(SQSService.answer(error))
            } else {
                reply(SQSService.answer { SQSAnswer.empty(to: &$0) })
            }
        }
    }

    func deleteMessageBatch(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply)
        throws(SQSError)
    {
        let request = try DeleteMessageBatchRequest(body)
        let target = try target(request.queue, access)
        let batch = HandleBatchAnswer(request.entries) { (entry) throws(SQSError) in try entry.handle() }
        target.pool.delete(batch.accepted, bodies: batch.acceptedEntries.map(\.pointer), in: target.shard) { outcomes in
            reply(batch.answer(outcomes.enumerated().map { SQSService.error($1, batch.text($0)) }))
        }
    }

    private static func error(_ outcome: DeleteOutcome, _ handle: String) -> SQSError? {
        switch outcome {
        case .deleted: nil
        case .expired: .expiredHandle(handle)
        case .notOurs: .invalidHandle(handle)
        case .failed(let error): SQSError(error)
        }
    }

    // MARK: - Visibility

    func changeMessageVisibility(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply)
        throws(SQSError)
    {
        let request = try ChangeMessageVisibilityRequest(body)
        let target = try target(request.queue, access)
        target.pool.changeVisibility([(request.handle, request.seconds)], in: target.shard) { results in
            let error = results.first.flatMap { SQSService.error($0, request.handleText, request.seconds) }
            if let error {
                reply(SQSService.answer(error))
            } else {
                reply(SQSService.answer { SQSAnswer.empty(to: &$0) })
            }
        }
    }

    func changeMessageVisibilityBatch(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ reply: @escaping Reply)
        throws(SQSError)
    {
        let request = try ChangeMessageVisibilityBatchRequest(body)
        let target = try target(request.queue, access)
        let batch = HandleBatchAnswer(request.entries) { (entry) throws(SQSError) in try entry.change().handle }
        let changes = zip(batch.accepted, batch.acceptedEntries).map { (handle: $0, seconds: $1.seconds ?? 0) }
        target.pool.changeVisibility(changes, in: target.shard) { results in
            reply(
                batch.answer(
                    results.enumerated().map { SQSService.error($1, batch.text($0), changes[$0].seconds) }))
        }
    }

    private static func error(
        _ result: Result<VisibilityDecision, ShardError>, _ handle: String, _ seconds: Int
    ) -> SQSError? {
        switch result {
        case .success(.changed): nil
        case .success(.notOurs): .invalidHandle(handle)
        case .success(.unavailable): .unavailableHandle(handle)
        case .success(.beyondLimit): .visibilityBeyondLimit(seconds)
        case .success(.failed(let error)), .failure(let error): SQSError(error)
        }
    }
}

/// A batch of receipt handles on its way: what was refused already, and how the rest is answered in order.
private struct HandleBatchAnswer: Sendable {
    let entries: [HandleEntry]
    private(set) var accepted: [ReceiptHandle] = []
    private(set) var acceptedEntries: [HandleEntry] = []
    private var errors: [SQSError?] = []

    init(_ entries: [HandleEntry], _ parse: (HandleEntry) throws(SQSError) -> ReceiptHandle) {
        self.entries = entries
        for entry in entries {
            do throws(SQSError) {
                accepted.append(try parse(entry))
                acceptedEntries.append(entry)
                errors.append(nil)
            } catch { errors.append(error) }
        }
    }

    func text(_ index: Int) -> String { acceptedEntries[index].handleText }

    /// - Parameter outcomes: an error or none for each accepted handle.
    func answer(_ outcomes: [SQSError?]) -> Answer {
        var rest = outcomes[...]
        var successes: [String] = []
        var failures: [BatchFailure] = []
        for (entry, refusal) in zip(entries, errors) {
            if let error = refusal ?? rest.popFirst().flatMap({ $0 }) {
                failures.append(BatchFailure(id: entry.id, error: error))
            } else {
                successes.append(entry.id)
            }
        }
        return SQSService.answer { SQSAnswer.handleBatch(successes: successes, failures: failures, to: &$0) }
    }
}
