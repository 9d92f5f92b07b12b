// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

/// What people do with dead letters. Looking at them receives nothing: no count changes, and no message is hidden.
struct DeadLetterService: Sendable {
    private static let limitDefault = 50
    private static let limitMax = 500

    let registry: PoolRegistry
    let moves: MoveTasks

    /// The dead-letter queue of a pool: itself if it is one, or its redrive policy's, or by its name the place where
    /// workers put what they give up.
    func queue(of pool: Pool) throws(Problem) -> Pool {
        let isOne = registry.pools.contains {
            $0.attributes.redrive?.deadLetterQueue == pool.name.text || $0.name.deadLetterQueueName == pool.name.text
        }
        if isOne { return pool }
        // A pool of queues that had a dead-letter queue already has it under the name that goes by the rule.
        let named = pool.attributes.redrive.flatMap { registry.pool($0.deadLetterQueue) }
        guard let queue = named ?? registry.pool(pool.name.deadLetterQueueName) else {
            throw Problem(
                "no-dead-letter-queue", status: 404, title: "The pool has no dead-letter queue",
                detail: "It has no redrive policy, and there is no \(pool.name.deadLetterQueueName).")
        }
        return queue
    }

    // MARK: - Looking

    func list(_ queue: Pool, limit: String?, after: String?) async throws(Problem) -> Answer {
        guard let limit = limit.map({ Int($0) }) ?? DeadLetterService.limitDefault,
            (1...DeadLetterService.limitMax).contains(limit)
        else { throw .invalidField("limit", "It must be a whole number from 1 to \(DeadLetterService.limitMax).") }
        let shards = try browsable(queue)
        var first = 0
        var start: SequenceNumber?
        if let after {
            guard let id = MessageID(after), let place = shards.firstIndex(where: { $0.tag == id.shard }) else {
                throw .invalidField("after", "It must be the 'next' of an answer of this list.")
            }
            (first, start) = (place, id.sequence)
        }
        var found = DeadLetterPage()
        for shard in shards[first...] {
            let left = limit - found.letters.count - found.unreadable
            // With no room left, one look tells whether there is more.
            let page = try await shard.browse(after: start, limit: max(1, left)).orProblem()
            start = nil
            found.hasMore = left == 0 ? page.through != nil : !page.isLast
            if left > 0 { found.add(page, of: shard) }
            if found.hasMore { break }
        }
        return answer(document.list(found, queue: queue.name))
    }

    func show(_ queue: Pool, id: String, withBody: Bool) async throws(Problem) -> Answer {
        let (shard, id) = try place(id, in: browsable(queue))
        let before = SequenceNumber(rawValue: id.sequence.rawValue - 1)
        let page = try await shard.browse(after: before, limit: 1).orProblem()
        guard page.unreadable == 0 || page.through != id.sequence else { throw .unreadableDeadLetter }
        guard let letter = page.messages.first, letter.message.messageID == id else { throw .noSuchDeadLetter }
        return answer(document.one(letter, shard: shard.name, withBody: withBody))
    }

    // MARK: - Removing

    func remove(_ queue: Pool, id: String) async throws(Problem) -> Answer {
        let (shard, id) = try place(id, in: browsable(queue))
        let claims = try await shard.claim([id.sequence], seconds: 30).orProblem()
        guard claims.held == 0 else {
            throw Problem(
                "dead-letter-held", status: 409, title: "A receiver has the message",
                detail: "It can be deleted by its receipt handle, or here when its visibility timeout is over.")
        }
        guard claims.unreadable == 0 else { throw .unreadableDeadLetter }
        guard let message = claims.messages.first else { throw .noSuchDeadLetter }
        let outcomes = await withCheckedContinuation { continuation in
            queue.delete([message.handle], bodies: [BodyResolver.pointer(of: message)]) {
                continuation.resume(returning: $0)
            }
        }
        switch outcomes.first {
        case .deleted: return Answer(status: 204, contentType: "application/json", body: [])
        case .failed(let error): throw Problem(error)
        case .expired, .notOurs, nil: throw .noSuchDeadLetter
        }
    }

    // MARK: - Redrive

    func redrive(_ queue: Pool, _ body: [UInt8]) throws(Problem) -> Answer {
        let request = try RedriveRequest(body)
        var selection: Selection?
        if let ids = request.ids {
            let shards = try browsable(queue)
            for (number, id) in ids.enumerated() where !shards.contains(where: { $0.tag == id.shard }) {
                throw .invalidField("ids[\(number)]", "No message of this dead-letter queue has such an id.")
            }
            selection = Selection(ids)
        }
        let task = MoveTask(
            handle: MessageID(high: .random(in: .min ... .max), low: .random(in: .min ... .max)).description,
            source: queue, destination: nil, perSecondMax: request.ratePerSecond, clock: registry.clock,
            homes: registry.homes(of: queue),
            selection: selection)
        guard registry.start(task, outOf: queue, in: moves) else {
            throw Problem(
                "redrive-runs", status: 409, title: "A redrive of this queue runs",
                detail: "GET tells how far it is; DELETE ends it.")
        }
        return answer(DeadLetterDocument.task(task), status: 202)
    }

    func progress(_ queue: Pool) throws(Problem) -> Answer { answer(DeadLetterDocument.task(try latest(queue))) }

    /// Ends the redrive after what is under way.
    func cancel(_ queue: Pool) throws(Problem) -> Answer {
        let task = try latest(queue)
        _ = task.cancel()
        return answer(DeadLetterDocument.task(task), status: 202)
    }

    private func latest(_ queue: Pool) throws(Problem) -> MoveTask {
        guard let task = moves.tasks(of: queue.name).first else {
            throw Problem(
                "no-redrive", status: 404, title: "No redrive of this queue is known",
                detail: "None was started since the server was.")
        }
        return task
    }

    // MARK: - Parts

    private var document: DeadLetterDocument { DeadLetterDocument(poolOfTag: registry.pool(ofTag:)) }

    private func answer(_ body: [UInt8], status: Int = 200) -> Answer {
        Answer(status: status, contentType: "application/json", body: body)
    }

    private func browsable(_ queue: Pool) throws(Problem) -> [any BrowsableShard] {
        let shards = queue.snapshot.shards.map(\.shard)
        let browsable = shards.compactMap { $0 as? any BrowsableShard }
        guard browsable.count == shards.count else {
            throw Problem(
                "not-browsable", status: 501, title: "This queue cannot be read without receiving",
                detail:
                    "Its messages are in SQS, where looking is receiving. Poll \(queue.name) in the AWS console, or "
                    + "run queuepool work --pool \(queue.name). A redrive of all, without ids, is possible.")
        }
        return browsable
    }

    private func place(
        _ text: String, in shards: [any BrowsableShard]
    ) throws(Problem) -> (shard: any BrowsableShard, id: MessageID) {
        guard let id = MessageID(text) else { throw .invalidField("id", "It must be the id of a dead letter, a UUID.") }
        guard let shard = shards.first(where: { $0.tag == id.shard }) else { throw .noSuchDeadLetter }
        return (shard, id)
    }
}

/// `{ids?, ratePerSecond?}`
struct RedriveRequest {
    static let idsMax = 1_000

    private(set) var ids: [MessageID]?
    private(set) var ratePerSecond: Int?

    init(_ body: [UInt8]) throws(Problem) {
        var texts: [String]?
        var rate: Int?
        var hasUnknown = false
        let fault: JSONFault? = body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) {
                try json.beginObject()
                while let key = try json.nextKey() {
                    if key.equals("ids") {
                        var found: [String] = []
                        try json.beginArray()
                        while try json.nextElement() { found.append(try json.readString().text) }
                        texts = found
                    } else if key.equals("ratePerSecond") {
                        rate = try json.readInt()
                    } else {
                        hasUnknown = true
                        try json.skipValue()
                    }
                }
                try json.finish()
                return nil
            } catch { return error }
        }
        if let fault { throw .malformed(fault) }
        if hasUnknown { throw .invalidField("redrive", "A member is not known; allowed are ids, ratePerSecond.") }
        if let rate, !(1...500).contains(rate) {
            throw .invalidField("ratePerSecond", "It must be a whole number from 1 to 500.")
        }
        ratePerSecond = rate
        guard let texts else { return }
        guard (1...RedriveRequest.idsMax).contains(texts.count) else {
            throw .invalidField("ids", "There may be 1 to \(RedriveRequest.idsMax); without ids all are moved.")
        }
        var known: [MessageID] = []
        for (number, text) in texts.enumerated() {
            guard let id = MessageID(text) else {
                throw .invalidField("ids[\(number)]", "It must be the id of a dead letter, a UUID.")
            }
            known.append(id)
        }
        ids = known
    }
}

extension Problem {
    fileprivate static let unreadableDeadLetter = Problem(
        "unreadable-dead-letter", status: 500, title: "The dead letter cannot be read",
        detail: "Its bytes on the disk are damaged. It stays, and is neither sent back nor deleted; a purge of the "
            + "queue removes it with all others.")
    fileprivate static let noSuchDeadLetter = Problem(
        "no-such-dead-letter", status: 404, title: "There is no such dead letter",
        detail: "It was moved or deleted, or it was in another queue.")
}

extension Result where Failure == ShardError {
    fileprivate func orProblem() throws(Problem) -> Success {
        switch self {
        case .success(let value): return value
        case .failure(let error): throw Problem(error)
        }
    }
}
