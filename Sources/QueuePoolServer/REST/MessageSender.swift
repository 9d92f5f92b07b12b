// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime
import QueuePoolSQS

/// What became of a message that was to be sent.
enum SendOutcome: Sendable {
    /// The shard has it; the body of the answer that says so.
    case accepted([UInt8])
    /// - Parameter mayBeStored: nobody knows whether the shard has it.
    case refused(Problem, mayBeStored: Bool)

    var answer: Answer {
        switch self {
        case .accepted(let body): Answer(status: 202, contentType: "application/json", body: body)
        case .refused(let problem, _): problem.answer
        }
    }
}

/// `POST /v1/pools/{pool}/messages` with one message.
struct MessageSender: Sendable {
    let registry: PoolRegistry
    let requests: IdempotentRequests
    let ids = UniqueIDs()

    /// Sends a message that came without an idempotency key.
    func handle(pool name: String, _ body: UnsafeRawBufferPointer, reply: @escaping Reply) {
        guard let pool = registry.pool(name) else { return reply(registry.absence(of: name).answer) }
        send(body, to: pool, key: nil) { reply($0.answer) }
    }

    /// Sends a message unless its key came before.
    func handle(_ pool: Pool, _ body: [UInt8], key: IdempotencyKey, reply: @escaping Reply) {
        requests.run(key, pool: pool, kind: "messages", body: body, reply: reply) { done in
            body.withUnsafeBytes { send($0, to: pool, key: key, done: done) }
        }
    }

    private func send(
        _ body: UnsafeRawBufferPointer, to pool: Pool, key: IdempotencyKey?,
        done: @escaping @Sendable (SendOutcome) -> Void
    ) {
        do throws(Problem) {
            let message = try MessageReader.message(
                body, pool.attributes, ids, keyID: key?.deduplicationID, bodies: pool.bodyRules)
            send(message, to: pool, done: done)
        } catch { done(.refused(error, mayBeStored: false)) }
    }

    /// Sends a message; it is accepted once it is durable.
    func send(_ message: OutgoingMessage, to pool: Pool, done: @escaping @Sendable (SendOutcome) -> Void) {
        var request = SendRequest()
        request.add(message, at: 0) { result, shard in
            switch result {
            case .success(let receipt):
                var json = JSONWriter(capacity: 160)
                json.beginObject()
                MessageSender.write(receipt, shard.name, to: &json)
                json.endObject()
                done(.accepted(json.take()))
            case .failure(let error): done(.refused(Problem(error, of: shard.name), mayBeStored: error.mayBeStored))
            }
        }
        pool.send(request)
    }

    /// Writes the members of a receipt.
    static func write(_ receipt: SendReceipt, _ shard: String, to json: inout JSONWriter) {
        json.key("id")
        json.string(plain: receipt.messageID.write)
        json.key("shard")
        json.string(shard)
        json.key("sequenceNumber")
        if let remote = receipt.remoteSequence {
            json.string(remote.text)
        } else {
            json.string(plain: receipt.sequence.write)
        }
        json.key("duplicate")
        json.bool(receipt.isDuplicate)
    }
}
