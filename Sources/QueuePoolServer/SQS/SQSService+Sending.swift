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
        let shard = try shard(of: prepared.message, target)
        let isPaid = try pay(target) { shard }
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
    private func shard(of message: OutgoingMessage, _ target: QueueTarget) throws(SQSError) -> PoolShard {
        let shard = target.pool.router.shard(ofGroupHash: message.groupHash)
        guard let named = target.shard, named !== shard else { return shard }
        throw SQSError(
            .invalidParameterValue,
            "The message group belongs to the shard \(shard.name), not to \(named.name). Send to the pool "
                + "\(target.pool.name.text), or to that shard.")
    }

    /// Takes a token where a request over the quota is refused at once.
    /// - Returns: whether one was taken.
    private func pay(_ target: QueueTarget, _ first: () -> PoolShard) throws(SQSError) -> Bool {
        guard target.pool.isThrottledAtOnce || target.shard != nil && target.pool.snapshot.quota != nil else {
            return false
        }
        let shard = first()
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
        var messages: [OutgoingMessage] = []
        var prepared: [BatchedSend] = []
        messages.reserveCapacity(request.entries.count)
        prepared.reserveCapacity(request.entries.count)
        var failures: [RefusedEntry] = []
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
                if target.shard != nil { _ = try shard(of: send.message, target) }
                messages.append(send.message)
                prepared.append(BatchedSend(position: position, id: entry.id, send))
            } catch {
                failures.append(RefusedEntry(position: position, id: entry.id, error: error))
                if let group = entry.groupID?.array, refusedGroups[group] == nil { refusedGroups[group] = error }
            }
        }
        let refused = failures
        guard let first = messages.first else { return reply(SQSService.batchAnswer([], [], refused)) }
        let isPaid = try pay(target) { target.pool.router.shard(ofGroupHash: first.groupHash) }
        // All that is left of the request once its bytes are gone.
        let sends = prepared
        target.pool.send(messages, isPaid: isPaid) { reply(SQSService.batchAnswer(sends, $0, refused)) }
    }

    /// Successes and failures, each in the order of the request.
    private static func batchAnswer(
        _ sends: [BatchedSend], _ results: [Result<SendReceipt, ShardError>], _ refused: [RefusedEntry]
    ) -> Answer {
        var successes: [(id: String, answer: SendAnswer)] = []
        successes.reserveCapacity(sends.count)
        var failures = refused
        for place in sends.indices {
            let id = sends[place].id
            switch results[place] {
            case .success(let receipt): successes.append((id, sends[place].answer(receipt)))
            case .failure(let error):
                failures.append(RefusedEntry(position: sends[place].position, id: id, error: SQSError(error)))
            }
        }
        failures.sort { $0.position < $1.position }
        return answer(capacity: 64 + 224 * successes.count + 256 * failures.count) { json in
            SQSAnswer.sendMessageBatch(
                successes: successes, failures: failures.map { BatchFailure(id: $0.id, error: $0.error) }, to: &json)
        }
    }

    private static func text(_ trace: [UInt8]?) -> String? { trace.map { String(decoding: $0, as: UTF8.self) } }
}

/// An entry of a batch that was not sent, or not stored.
private struct RefusedEntry {
    /// In the request, from 0.
    let position: Int
    let id: String
    let error: SQSError
}

/// What is kept of an entry of a batch until it is answered: its message is the shard's by then.
private struct BatchedSend {
    /// In the request, from 0.
    let position: Int
    let id: String
    private let bodyMD5: MD5Digest
    private let attributesMD5: MD5Digest?
    private let systemAttributesMD5: MD5Digest?

    init(position: Int, id: String, _ prepared: PreparedSend) {
        self.position = position
        self.id = id
        bodyMD5 = prepared.bodyMD5
        attributesMD5 = prepared.attributesMD5
        systemAttributesMD5 = prepared.systemAttributesMD5
    }

    func answer(_ receipt: SendReceipt) -> SendAnswer {
        var answer = SendAnswer(
            messageID: receipt.messageID, sequence: receipt.sequence, bodyMD5: bodyMD5, attributesMD5: attributesMD5,
            systemAttributesMD5: systemAttributesMD5)
        answer.remoteSequence = receipt.remoteSequence
        return answer
    }
}
