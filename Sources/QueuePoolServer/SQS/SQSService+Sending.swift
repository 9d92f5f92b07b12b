// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime
import QueuePoolSQS

extension SQSService {
    func sendMessage(_ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ trace: [UInt8]?, _ reply: @escaping Reply)
        throws(SQSError)
    {
        let request = try SendMessageRequest(body)
        let target = try target(request.queue, access)
        let prepared = try prepare(
            request.entry, attributes: target.pool.attributes, isBatch: false, traceHeader: SQSService.text(trace),
            bodies: target.pool.bodyRules)
        let shard = try shard(of: prepared, target)
        let isPaid = try pay(target, shard)
        var sending = SendRequest(isPaid: isPaid)
        sending.add(prepared.message, at: 0) { result, _ in
            switch result {
            case .success(let receipt):
                reply(SQSService.answer { SQSAnswer.sendMessage(SendAnswer(receipt, prepared), to: &$0) })
            case .failure(let error): reply(SQSService.answer(SQSError(error)))
            }
        }
        target.pool.send(sending)
    }

    /// The shard of a message's group, which must be the one that the request names, if it names one: a group that was on
    /// two shards would have no order (I4).
    private func shard(of send: PreparedSend, _ target: QueueTarget) throws(SQSError) -> PoolShard {
        let shard = target.pool.router.shard(ofGroupHash: send.message.groupHash)
        guard let named = target.shard, named !== shard else { return shard }
        throw SQSError(
            .invalidParameterValue,
            "The message group belongs to the shard \(shard.name), not to \(named.name). Send to the pool "
                + "\(target.pool.name.text), or to that shard.")
    }

    /// Takes a token where a request over the quota is refused at once.
    /// - Returns: whether one was taken.
    private func pay(_ target: QueueTarget, _ shard: PoolShard) throws(SQSError) -> Bool {
        guard target.pool.isThrottledAtOnce || target.shard != nil && target.pool.snapshot.quota != nil else {
            return false
        }
        if let wait = shard.sender.takeToken() {
            throw SQSError(ShardError.quotaExceeded(retryAfterMilliseconds: wait, of: shard.quota))
        }
        return true
    }

    func sendMessageBatch(
        _ body: UnsafeRawBufferPointer, _ access: SQSAccess, _ trace: [UInt8]?, _ reply: @escaping Reply
    ) throws(SQSError) {
        let request = try SendMessageBatchRequest(body)
        let target = try target(request.queue, access)
        let attributes = target.pool.attributes
        let bodies = target.pool.bodyRules
        try request.check(attributes, bodies: bodies)
        var prepared: [(position: Int, send: PreparedSend)] = []
        var failures: [(position: Int, error: SQSError)] = []
        // Once an entry of a group is refused, the later ones of that group are refused with it (I2).
        var refusedGroups: [[UInt8]: SQSError] = [:]
        let traceHeader = SQSService.text(trace)
        let digests = request.bodyMD5s
        for (position, entry) in request.entries.enumerated() {
            do throws(SQSError) {
                if !refusedGroups.isEmpty, let group = entry.groupID, let earlier = refusedGroups[group.array] {
                    throw earlier.ofEarlierEntry
                }
                let send = try prepare(
                    entry, attributes: attributes, isBatch: true, traceHeader: traceHeader, bodies: bodies,
                    bodyMD5: digests[position])
                _ = try shard(of: send, target)
                prepared.append((position, send))
            } catch {
                failures.append((position, error))
                if let group = entry.groupID?.array, refusedGroups[group] == nil { refusedGroups[group] = error }
            }
        }
        // All that is left of the request once its bytes are gone.
        let ids = request.ids
        guard let first = prepared.first else {
            return reply(SQSService.batchAnswer(ids, [], [], failures))
        }
        let isPaid = try pay(target, target.pool.router.shard(ofGroupHash: first.send.message.groupHash))
        let sends = prepared
        let refused = failures
        target.pool.send(sends.map(\.send.message), isPaid: isPaid) { results in
            reply(SQSService.batchAnswer(ids, sends, results, refused))
        }
    }

    /// Successes and failures, each in the order of the request.
    private static func batchAnswer(
        _ ids: [String], _ sends: [(position: Int, send: PreparedSend)],
        _ results: [Result<SendReceipt, ShardError>], _ refused: [(position: Int, error: SQSError)]
    ) -> Answer {
        var successes: [(id: String, answer: SendAnswer)] = []
        var failures = refused
        for (sent, result) in zip(sends, results) {
            switch result {
            case .success(let receipt):
                successes.append((ids[sent.position], SendAnswer(receipt, sent.send)))
            case .failure(let error): failures.append((sent.position, SQSError(error)))
            }
        }
        failures.sort { $0.position < $1.position }
        return answer(capacity: 256 * ids.count) { json in
            SQSAnswer.sendMessageBatch(
                successes: successes,
                failures: failures.map { BatchFailure(id: ids[$0.position], error: $0.error) }, to: &json
            )
        }
    }

    private static func text(_ trace: [UInt8]?) -> String? { trace.map { String(decoding: $0, as: UTF8.self) } }
}
