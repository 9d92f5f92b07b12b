// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolEmail
import QueuePoolRuntime

/// `POST /v1/pools/{pool}/emails`.
struct EmailSender: Sendable {
    let messages: MessageSender

    /// Sends an email, if it has a key only unless that came before.
    func handle(_ pool: Pool, _ body: [UInt8], key: IdempotencyKey?, reply: @escaping Reply) {
        guard let key else { return send(body, to: pool, key: nil) { reply($0.answer) } }
        messages.requests.run(key, pool: pool, kind: "emails", body: body, reply: reply) { done in
            send(body, to: pool, key: key, done: done)
        }
    }

    private func send(
        _ body: [UInt8], to pool: Pool, key: IdempotencyKey?, done: @escaping @Sendable (SendOutcome) -> Void
    ) {
        do throws(Problem) {
            messages.send(try message(pool, body, key), to: pool, done: done)
        } catch { done(.refused(error, mayBeStored: false)) }
    }

    private func message(_ pool: Pool, _ body: [UInt8], _ key: IdempotencyKey?) throws(Problem) -> OutgoingMessage {
        let result: Result<EmailMessage.Request, EmailMessage.ReadingError> = body.withUnsafeBytes { bytes in
            do throws(EmailMessage.ReadingError) { return .success(try EmailMessage.read(bytes)) } catch {
                return .failure(error)
            }
        }
        switch result {
        case .failure(.malformed(let fault)): throw .malformed(fault)
        case .failure(.field(let error)): throw .invalidField(error.field, error.detail)
        case .success(let request): return try message(pool, request, key)
        }
    }

    private func message(
        _ pool: Pool, _ request: EmailMessage.Request, _ key: IdempotencyKey?
    ) throws(Problem) -> OutgoingMessage {
        let group = Array((request.group ?? request.email.defaultGroup).utf8)
        try MessageReader.checkID("group", group)
        let id = key?.deduplicationID ?? messages.ids.next()
        let body = request.email.encoded()
        let type = MessageAttribute(name: "Content-Type", text: EmailMessage.contentType)
        let limit = pool.attributes.maximumMessageSize
        guard body.count + type.countedBytes <= limit else {
            throw .invalidField(
                "email", "The email has \(body.count) bytes with its attachments encoded; at most \(limit) are allowed."
            )
        }
        let record = body.withUnsafeBytes {
            MessageRecord(group: group, deduplicationID: id, body: $0, attributes: [type])
        }
        return OutgoingMessage(record: record, groupHash: group.withUnsafeBytes { XXHash64.hash($0) })
    }
}
