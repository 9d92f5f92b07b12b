// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolEmail
import QueuePoolJSON
import QueuePoolRuntime

/// `POST /v1/pools/{pool}/emails` with one email.
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
        let result = EmailSender.result(
            body[...], pool.attributes, messages.ids, keyID: key?.deduplicationID, bodies: pool.bodyRules)
        switch result {
        case .success(let message): messages.send(message, to: pool, done: done)
        case .failure(let refusal): done(.refused(refusal.problem, mayBeStored: false))
        }
    }

    /// What `message` returns or throws.
    static func result(
        _ bytes: ArraySlice<UInt8>, _ queue: QueueAttributes, _ ids: UniqueIDs, keyID: [UInt8]? = nil,
        bodies: BodyRules? = nil
    ) -> Result<OutgoingMessage, MessageReader.Refusal> {
        bytes.withUnsafeBytes { bytes in
            do throws(MessageReader.Refusal) {
                return .success(try message(bytes, queue, ids, keyID: keyID, bodies: bodies))
            } catch { return .failure(error) }
        }
    }

    /// Reads and checks an email, and builds its message.
    /// - Parameters:
    ///   - bytes: one JSON object.
    ///   - keyID: the deduplication id that its idempotency key gives it unless it has one of its own.
    ///   - bodies: `nil`: a message is as large as the queue takes it.
    static func message(
        _ bytes: UnsafeRawBufferPointer, _ queue: QueueAttributes, _ ids: UniqueIDs, keyID: [UInt8]? = nil,
        bodies: BodyRules? = nil
    ) throws(MessageReader.Refusal) -> OutgoingMessage {
        let reading = EmailMessage.parse(bytes)
        let group = reading.group.map { Array($0.utf8) }
        let groupHash = group.map { group in group.withUnsafeBytes { XXHash64.hash($0) } }
        do throws(Problem) {
            switch reading.result {
            case .failure(.malformed(let fault)): throw .malformed(fault)
            case .failure(.field(let error)): throw .invalidField(error.field, error.detail)
            case .success(let request):
                // An email that was read has recipients, and so a group.
                let record = try record(request, group ?? [], queue, ids, keyID, bodies)
                return OutgoingMessage(record: record, groupHash: groupHash ?? 0)
            }
        } catch { throw MessageReader.Refusal(problem: error, groupHash: groupHash) }
    }

    private static func record(
        _ request: EmailMessage.Request, _ group: [UInt8], _ queue: QueueAttributes, _ ids: UniqueIDs,
        _ keyID: [UInt8]?,
        _ bodies: BodyRules?
    ) throws(Problem) -> MessageRecord {
        try MessageReader.checkID("group", group)
        let ownID = request.deduplicationID.map { Array($0.utf8) }
        if let ownID { try MessageReader.checkID("deduplicationId", ownID) }
        let id = ownID ?? keyID ?? ids.next()
        let body = request.email.encoded()
        var attributes = [MessageAttribute(name: "Content-Type", text: EmailMessage.contentType)]
        if let tags = request.tags {
            attributes.append(MessageAttribute(name: TagsText.attribute, dataType: "String", value: tags))
        }
        try MessageReader.checkSize(
            "email", body.count, attributes: attributes.reduce(0) { $0 + $1.countedBytes }, count: attributes.count,
            queue, bodies)
        return body.withUnsafeBytes {
            MessageRecord(group: group, deduplicationID: id, body: $0, attributes: attributes)
        }
    }
}
