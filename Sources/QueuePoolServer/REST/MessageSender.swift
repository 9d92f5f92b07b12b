// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime
import QueuePoolSQS

/// `POST /v1/pools/{pool}/messages` with one message.
struct MessageSender: Sendable {
    let registry: PoolRegistry
    let ids = UniqueIDs()

    func handle(pool name: String, _ body: UnsafeRawBufferPointer, reply: @escaping Reply) {
        do throws(Problem) {
            guard let pool = registry.pool(name) else { throw .noSuchPool() }
            let message = try MessageReader.message(body, pool.attributes, ids)
            send(message, to: pool, reply: reply)
        } catch { reply(error.answer) }
    }

    /// Sends a message and answers 202 once it is durable.
    func send(_ message: OutgoingMessage, to pool: Pool, reply: @escaping Reply) {
        let shard = pool.shard(ofGroupHash: message.groupHash)
        let entry = BatcherEntry<SendTicket>(
            message: message,
            ticket: SendTicket { result in
                switch result {
                case .success(let receipt):
                    var json = JSONWriter(capacity: 160)
                    json.beginObject()
                    MessageSender.write(receipt, shard.name, to: &json)
                    json.endObject()
                    reply(Answer(status: 202, contentType: "application/json", body: json.take()))
                case .failure(let error): reply(Problem(error).answer)
                }
            })
        shard.sender.send([entry])
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
