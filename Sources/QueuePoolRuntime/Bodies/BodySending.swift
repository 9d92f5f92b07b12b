// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS

// A body is stored before its message is sent, so that no message points to nothing (I1). All bodies of a request are
// stored before any of its messages is sent, so that none of them overtakes another (I2).

/// Stores the large bodies of a request, and sends the request.
struct BodySending {
    let store: any BodyStore
    let rules: BodyRules

    /// Whether a message's body goes to the store. One that was in a queue already fits in this one too.
    func takes(_ message: OutgoingMessage) -> Bool {
        guard message.record.bytes.count > rules.thresholdBytes, !message.record.isMoved else { return false }
        return message.record.withView { view in
            let attributes = view.hasAttributes ? view.attributes : []
            return rules.needsStore(
                body: view.body.count, attributes: attributes.reduce(0) { $0 + $1.countedBytes },
                count: attributes.count)
        }
    }

    /// - Parameter completion: gets the request with pointers in place of bodies, to be sent at once.
    func prepare(_ request: SendRequest, _ router: Router, _ completion: @escaping @Sendable (SendRequest) -> Void) {
        let entries = request.entries
        let large = entries.indices.filter { takes(entries[$0].message) }
        let gathering = Gathering<Result<BodyPointer, BodyStoreError>>(
            count: large.count, unknown: .failure(.missing)
        ) { [self] results in
            completion(rewritten(request, Dictionary(zip(large, results)) { first, _ in first }, router))
        }
        for (place, entry) in large.enumerated() {
            let pointer = BodyPointer(bucket: store.bucket, key: store.newKey())
            let body = entries[entry].message.record.withView { Array($0.body) }
            store.put(body, key: pointer.key) { gathering.put($0.map { pointer }, at: place) }
        }
    }

    private func rewritten(
        _ request: SendRequest, _ stored: [Int: Result<BodyPointer, BodyStoreError>], _ router: Router
    ) -> SendRequest {
        var out = SendRequest(order: request.order, isPaid: request.isPaid)
        for (place, entry) in request.entries.enumerated() {
            switch stored[place] {
            case nil: out.add(entry)
            case .failure(let error):
                let failure = ShardError(error)
                out.refuse(entry.position, groupHash: entry.message.groupHash, because: failure)
                entry.tell(.failure(failure), router.shard(ofGroupHash: entry.message.groupHash))
            case .success(let pointer):
                out.add(entry.message.pointing(to: pointer), at: entry.position) { [store] result, shard in
                    // Nobody knows of a body whose message is not there, or was there before with a body of its own.
                    if !result.needsBody { store.remove(key: pointer.key) { _ in } }
                    entry.tell(result, shard)
                }
            }
        }
        return out
    }
}

extension OutgoingMessage {
    /// The message with a pointer in place of its body.
    fileprivate func pointing(to pointer: BodyPointer) -> OutgoingMessage {
        let text = pointer.utf8
        let small = record.withView { view in
            text.withUnsafeBytes { body in
                let size = MessageAttribute(
                    name: BodyPointer.sizeAttribute, text: String(view.body.count), dataType: "Number")
                return MessageRecord(
                    group: Array(view.group), deduplicationID: Array(view.deduplicationID), body: body,
                    attributes: view.attributes.filter { !BodyPointer.isSize($0.name) } + [size],
                    systemAttributes: view.systemAttributes, bodyMD5: MD5Digest(of: body), origin: view.origin)
            }
        }
        return OutgoingMessage(record: small, groupHash: groupHash)
    }
}

extension Result where Success == SendReceipt, Failure == ShardError {
    /// Whether there may be a message that points to the body that was stored for it.
    fileprivate var needsBody: Bool {
        switch self {
        case .success(let receipt): !receipt.isDuplicate
        case .failure(let error): error.mayBeStored
        }
    }
}

extension ShardError {
    /// Whether the message that was refused with it may be stored all the same.
    package var mayBeStored: Bool {
        switch self {
        case .unknownOutcome, .storageFailed: true
        case .quotaExceeded, .overloaded, .storageFull, .closed, .unavailable, .refused, .injected, .invalid,
            .earlierEntryFailed:
            false
        }
    }

    /// Why a message was not sent whose body was not stored.
    init(_ error: BodyStoreError) {
        switch error {
        case .full: self = .storageFull
        case .unavailable: self = .unavailable(retryAfterMilliseconds: 1_000)
        case .refused(let code): self = .refused(code: code)
        case .tooLarge: self = .refused(code: "BodyTooLarge")
        case .missing: self = .refused(code: "BodyMissing")
        }
    }
}
