// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

// Dead letters as `GET /v1/pools/{pool}/dead-letters` shows them: why and since when, and the body only for who asks.

/// Why a message is in a dead-letter queue, by what a worker wrote on it, or by its record if a server moved it.
struct DeadLetterFacts {
    /// What a server's redrive policy has for a reason.
    static let receivedTooOften = "received-too-often"

    var reason: String?
    var errorClass: String?
    var attempts: Int?
    /// The id that the message had in its pool.
    var originalID: String?
    /// RFC 3339.
    var deadAt: String

    init(_ message: ReceivedMessage) {
        deadAt = DeadLetterFacts.timestamp(message.messageID.sequence.sentAt)
        message.withView { view in
            let noted = DeadLetterFacts.noted(view.attributes)
            reason = noted["reason"]
            errorClass = noted["error-class"]
            attempts = noted["attempts"].flatMap { Int($0) }
            if let failedAt = noted["failed-at"] { deadAt = failedAt }
            if let origin = view.origin {
                originalID = origin.messageID.description
                reason = reason ?? DeadLetterFacts.receivedTooOften
                attempts = attempts ?? Int(origin.receiveCount)
            } else {
                originalID = DeadLetterMark.messageID(ofDeduplicationID: view.deduplicationID)
            }
        }
    }

    /// By the names without their prefix.
    private static func noted(_ attributes: [MessageAttribute]) -> [String: String] {
        var noted: [String: String] = [:]
        for attribute in attributes where attribute.name.hasPrefix(WorkerAttributes.prefix) {
            let text = String(decoding: attribute.value, as: UTF8.self)
            guard attribute.name == WorkerAttributes.summary else {
                noted[String(attribute.name.dropFirst(WorkerAttributes.prefix.count))] = text
                continue
            }
            for pair in text.split(separator: " ") {
                let parts = pair.split(separator: "=", maxSplits: 1)
                if parts.count == 2 { noted[String(parts[0])] = String(parts[1]) }
            }
        }
        return noted
    }

    /// RFC 3339, in UTC.
    static func timestamp(_ time: Timestamp) -> String {
        var moment = time_t(time.milliseconds / 1_000)
        var parts = tm()
        gmtime_r(&moment, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// What a look at dead letters found.
struct DeadLetterPage: Sendable {
    private(set) var letters: [(shard: String, letter: BrowsedMessage)] = []
    /// Those between them that are damaged.
    private(set) var unreadable = 0
    /// The last one that was met, readable or not.
    private(set) var last: MessageID?
    var hasMore = false

    /// Adds what a shard has next.
    mutating func add(_ page: BrowsedPage, of shard: any BrowsableShard) {
        letters += page.messages.map { (shard.name, $0) }
        unreadable += page.unreadable
        if let through = page.through { last = MessageID(shard: shard.tag, sequence: through) }
    }
}

/// How dead letters and their redrives are written.
struct DeadLetterDocument {
    /// The pool in which a shard's ids were given.
    let poolOfTag: (ShardTag) -> Pool?

    /// One page; `next` is what `after` is to be for the next one.
    func list(_ page: DeadLetterPage, queue: PoolName) -> [UInt8] {
        var json = JSONWriter(capacity: 256 * (1 + page.letters.count))
        json.beginObject()
        json.key("queue")
        json.string(queue.text)
        json.key("deadLetters")
        json.beginArray()
        for (shard, letter) in page.letters {
            json.beginObject()
            writeFacts(letter, shard: shard, to: &json)
            json.endObject()
        }
        json.endArray()
        json.key("unreadable")
        json.int(page.unreadable)
        if page.hasMore, let last = page.last {
            json.key("next")
            json.string(last.description)
        }
        json.endObject()
        return json.take()
    }

    /// One dead letter with its attributes; their values and the body are content, and are there if it is asked for.
    func one(_ letter: BrowsedMessage, shard: String, withBody: Bool) -> [UInt8] {
        var json = JSONWriter(capacity: withBody ? 1_024 + letter.message.length : 1_024)
        json.beginObject()
        writeFacts(letter, shard: shard, to: &json)
        letter.message.withView { view in
            json.key("attributes")
            json.beginArray()
            for attribute in view.attributes {
                json.beginObject()
                json.key("name")
                json.string(attribute.name)
                json.key("type")
                json.string(attribute.dataType)
                json.key("sizeBytes")
                json.int(attribute.value.count)
                if withBody, !attribute.dataType.hasPrefix("Binary") {
                    json.key("value")
                    json.string(attribute.value)
                }
                json.endObject()
            }
            json.endArray()
            if withBody {
                json.key("body")
                json.string(view.body)
            }
        }
        json.endObject()
        return json.take()
    }

    private func writeFacts(_ letter: BrowsedMessage, shard: String, to json: inout JSONWriter) {
        let facts = DeadLetterFacts(letter.message)
        let home = letter.message.originShard.flatMap { poolOfTag($0)?.name.text } ?? letter.message.notedPool
        json.key("id")
        json.string(letter.message.messageID.description)
        json.key("group")
        letter.message.withView { json.string($0.group) }
        json.key("shard")
        json.string(shard)
        json.key("deadAt")
        json.string(facts.deadAt)
        for (key, text) in [
            ("reason", facts.reason), ("errorClass", facts.errorClass), ("pool", home),
            ("originalId", facts.originalID),
        ] as [(StaticString, String?)] {
            json.key(key)
            if let text { json.string(text) } else { json.null() }
        }
        json.key("attempts")
        if let attempts = facts.attempts { json.int(attempts) } else { json.null() }
        json.key("sizeBytes")
        json.int(letter.message.withView { $0.body.count })
        json.key("inFlight")
        json.bool(letter.isInFlight)
    }

    /// Where a redrive stands.
    static func task(_ task: MoveTask) -> [UInt8] {
        let report = task.report
        var json = JSONWriter(capacity: 256)
        json.beginObject()
        json.key("handle")
        json.string(task.handle)
        json.key("queue")
        json.string(task.source.text)
        json.key("status")
        json.string(report.status.rawValue)
        json.key("moved")
        json.int(report.moved)
        json.key("toMove")
        json.int(report.toMove)
        json.key("skipped")
        json.int(task.selection?.skipped ?? 0)
        json.key("unreadable")
        json.int(task.unreadable)
        json.key("ratePerSecond")
        if let rate = task.perSecondMax { json.int(rate) } else { json.null() }
        json.key("startedAt")
        json.string(DeadLetterFacts.timestamp(task.startedAt))
        json.key("failureReason")
        if let reason = report.failureReason { json.string(reason) } else { json.null() }
        json.endObject()
        return json.take()
    }
}
