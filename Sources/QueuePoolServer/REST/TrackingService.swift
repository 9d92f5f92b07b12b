// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

/// "Where is my email?", and what answers it.
struct TrackingService: Sendable {
    private static let outcomesMax = 1_000
    /// Twice as long as news usually take.
    private static let lookMilliseconds: Int64 = 200
    private static let looksMax = 5

    let tracking: MessageTracking
    let clock: any Clock

    // MARK: - Asking

    /// `GET /v1/pools/{pool}/messages/{id}`
    func show(_ pool: Pool, id: String) async throws(Problem) -> Answer {
        guard !id.isEmpty, id.utf8.count <= TrackingRecord.idBytesMax else { throw .noSuchTrackedMessage }
        // Ids are written in one way, and given out in it.
        let id = id.lowercased()
        let told: TrackingRecord?
        do throws(TrackingStoreError) { told = try await tracking.record(id, ofPool: pool.name) } catch {
            throw Problem(error)
        }
        let home = MessageID(id).flatMap { id in pool.snapshot.shards.first { $0.shard.tag == id.shard } }
        if let told, told.state.isFinal { return answer(told, pool, home) }
        // What a worker told last of a message that it holds may be older than what the shard knows.
        if let home, let held = try await inShard(home, id) {
            return answer(merge(held, told), pool, home)
        }
        // A worker deletes what it delivered, and tells it a moment later: one that was just deleted may be between. One
        // that was not is unknown, unless something was told of it while its shard was asked.
        var late = told
        var looks = mayBeBetween(id, home) ? TrackingService.looksMax : 0
        while late == nil, home != nil {
            do throws(TrackingStoreError) { late = try await tracking.record(id, ofPool: pool.name) } catch {
                throw Problem(error)
            }
            guard late == nil, looks > 0 else { break }
            looks -= 1
            await clock.sleep(milliseconds: TrackingService.lookMilliseconds)
        }
        guard let late else { throw .noSuchTrackedMessage }
        return answer(late, pool, home)
    }

    private func mayBeBetween(_ text: String, _ shard: PoolShard?) -> Bool {
        guard let shard, let id = MessageID(text) else { return false }
        return shard.mayHaveDeletedLately(id.sequence)
    }

    /// What an embedded shard knows itself.
    private func inShard(_ shard: PoolShard, _ text: String) async throws(Problem) -> TrackingRecord? {
        guard let shard = shard.shard as? any BrowsableShard, let id = MessageID(text) else { return nil }
        let before = SequenceNumber(rawValue: id.sequence.rawValue - 1)
        let found: BrowsedMessage?
        switch await shard.browse(after: before, limit: 1) {
        case .success(let page): found = page.messages.first
        case .failure(let error): throw Problem(error)
        }
        guard let found, found.message.messageID == id else { return nil }
        var record = TrackingRecord(
            id: text, state: found.isInFlight ? .inFlight : .queued,
            at: found.isInFlight ? clock.wallTime() : id.sequence.sentAt)
        record.acceptedAt = id.sequence.sentAt
        record.tags = found.message.withView { view in
            guard view.hasAttributes else { return nil }
            return view.attributes.first { $0.name == TagsText.attribute }.flatMap { TagsText.text($0.value) }
        }
        return record
    }

    private func merge(_ held: TrackingRecord, _ told: TrackingRecord?) -> TrackingRecord {
        guard var record = told else { return held }
        if held.state == .queued { (record.state, record.at) = (.queued, held.at) }
        record.acceptedAt = held.acceptedAt
        record.tags = held.tags
        return record
    }

    private func answer(_ record: TrackingRecord, _ pool: Pool, _ shard: PoolShard?) -> Answer {
        Answer(
            status: 200, contentType: "application/json",
            body: TrackingDocument.one(record, pool: pool.name, shard: shard?.name))
    }

    // MARK: - Telling

    /// `POST /v1/pools/{pool}/outcomes` with `{outcomes: [{id, state, ...}]}`
    func take(_ pool: Pool, _ body: [UInt8]) async throws(Problem) -> Answer {
        let records = try OutcomesReader.read(body, max: TrackingService.outcomesMax, now: clock.wallTime())
        do throws(TrackingStoreError) { try await tracking.save(records, ofPool: pool.name) } catch {
            throw Problem(error)
        }
        return Answer(status: 204, contentType: "application/json", body: [])
    }
}

/// Reads what is told of messages.
struct OutcomesReader {
    private static let members =
        "id, state, at, acceptedAt, attempt, nextAttemptAt, target, reason, errorClass, undelivered, tags"

    private var problem: Problem?
    private var records: [TrackingRecord] = []
    private let max: Int
    private let now: Timestamp
    private var count = 0
    private var isThere = false

    /// - Parameters:
    ///   - max: outcomes of one request.
    ///   - now: of those that do not say when.
    static func read(_ body: [UInt8], max: Int, now: Timestamp) throws(Problem) -> [TrackingRecord] {
        var reader = OutcomesReader(max: max, now: now)
        let fault: JSONFault? = body.withUnsafeBytes { bytes in
            var json = JSONReader(bytes)
            do throws(JSONFault) {
                try reader.readAll(&json)
                return nil
            } catch { return error }
        }
        if let fault { throw .malformed(fault) }
        if let problem = reader.problem { throw problem }
        guard reader.isThere else {
            throw .invalidField("outcomes", "'outcomes' is missing; it must be an array of objects.")
        }
        guard reader.count <= max else {
            throw .invalidField("outcomes", "There are \(reader.count) outcomes; at most \(max) are allowed.")
        }
        return reader.records
    }

    private init(max: Int, now: Timestamp) {
        self.max = max
        self.now = now
    }

    private mutating func readAll(_ json: inout JSONReader) throws(JSONFault) {
        guard json.peekKind() == .object else {
            try json.skipValue()
            return fail("body", "It must be an object with 'outcomes'.")
        }
        try json.beginObject()
        while let key = try json.nextKey() {
            guard key.equals("outcomes"), json.peekKind() == .array else {
                if key.equals("outcomes") {
                    isThere = true
                    fail("outcomes", "It must be an array.")
                } else {
                    fail("body", "A member has a name of \(key.count) bytes that is not known; allowed is outcomes.")
                }
                try json.skipValue()
                continue
            }
            isThere = true
            try json.beginArray()
            while try json.nextElement() {
                count += 1
                if count > max || problem != nil || json.peekKind() != .object {
                    if count <= max { fail("outcomes[\(count - 1)]", "It must be an object.") }
                    try json.skipValue()
                } else {
                    try readOne("outcomes[\(count - 1)]", &json)
                }
            }
        }
        try json.finish()
    }

    private mutating func readOne(_ field: String, _ json: inout JSONReader) throws(JSONFault) {
        var record = TrackingRecord(id: "", state: .queued, at: now)
        var isStateThere = false
        try json.beginObject()
        while let key = try json.nextKey() {
            if json.peekKind() == .null {
                try json.readNull()
            } else if key.equals("id") {
                record.id = try text(field + ".id", TrackingRecord.idBytesMax, &json)?.lowercased() ?? ""
            } else if key.equals("state") {
                isStateThere = true
                if let state = TrackingState(rawValue: try text(field + ".state", 20, &json) ?? "") {
                    record.state = state
                } else {
                    let allowed = TrackingState.allCases.map(\.rawValue).joined(separator: ", ")
                    fail(field + ".state", "Allowed are \(allowed).")
                }
            } else if key.equals("at") {
                record.at = try time(field + ".at", &json) ?? now
            } else if key.equals("acceptedAt") {
                record.acceptedAt = try time(field + ".acceptedAt", &json)
            } else if key.equals("nextAttemptAt") {
                record.nextAttemptAt = try time(field + ".nextAttemptAt", &json)
            } else if key.equals("attempt") {
                record.attempt = try number(field + ".attempt", 1...1_000_000, &json)
            } else if key.equals("target") {
                record.target = try text(field + ".target", TrackingRecord.textBytesMax, &json)
            } else if key.equals("reason") {
                record.reason = try text(field + ".reason", TrackingRecord.textBytesMax, &json)
            } else if key.equals("errorClass") {
                record.errorClass = try text(field + ".errorClass", TrackingRecord.textBytesMax, &json)
            } else if key.equals("undelivered") {
                record.recipients = try places(field + ".undelivered", &json)
            } else if key.equals("tags") {
                switch try TagsText.read(&json) {
                case .success(let tags): record.tags = String(decoding: tags, as: UTF8.self)
                case .failure(let refusal): fail(field + ".tags", "It \(refusal.text)")
                }
            } else {
                fail(
                    field,
                    "A member has a name of \(key.count) bytes that is not known; allowed are \(OutcomesReader.members)."
                )
                try json.skipValue()
            }
        }
        if record.id.isEmpty {
            fail(field + ".id", "It must be a string of 1 to \(TrackingRecord.idBytesMax) bytes.")
        }
        if !isStateThere { fail(field + ".state", "It is missing.") }
        records.append(record)
    }

    // MARK: - Values

    private mutating func fail(_ field: String, _ detail: String) {
        if problem == nil { problem = .invalidField(field, detail) }
    }

    private mutating func text(_ field: String, _ max: Int, _ json: inout JSONReader) throws(JSONFault) -> String? {
        guard json.peekKind() == .string else {
            try json.skipValue()
            fail(field, "It must be a string.")
            return nil
        }
        let value = try json.readString()
        guard value.count <= max else {
            fail(field, "It has \(value.count) bytes; at most \(max) are allowed.")
            return nil
        }
        return value.text
    }

    private mutating func number(
        _ field: String, _ allowed: ClosedRange<Int>, _ json: inout JSONReader
    ) throws(JSONFault) -> Int? {
        var value: Int?
        if json.peekKind() == .number {
            value = Int(String(decoding: try json.readNumberText(), as: UTF8.self))
        } else {
            try json.skipValue()
        }
        guard let value, allowed.contains(value) else {
            fail(field, "It must be a whole number from \(allowed.lowerBound) to \(allowed.upperBound).")
            return nil
        }
        return value
    }

    private mutating func time(_ field: String, _ json: inout JSONReader) throws(JSONFault) -> Timestamp? {
        // Milliseconds since 1970, up to the year 2200.
        try number(field, 0...7_258_118_400_000, &json).map { Timestamp(milliseconds: Int64($0)) }
    }

    private mutating func places(_ field: String, _ json: inout JSONReader) throws(JSONFault) -> [Int]? {
        guard json.peekKind() == .array else {
            try json.skipValue()
            fail(field, "It must be an array of whole numbers.")
            return nil
        }
        var found: [Int] = []
        try json.beginArray()
        while try json.nextElement() {
            guard let place = try number(field, 0...10_000, &json) else { continue }
            if found.count < TrackingRecord.recipientsMax { found.append(place) }
        }
        return found
    }
}

extension Problem {
    fileprivate init(_ error: TrackingStoreError) {
        self.init(
            "tracking-store", status: 503, title: "The tracking store failed", detail: "Its code is \(error.code).",
            retryAfterSeconds: 1)
    }

    fileprivate static var noSuchTrackedMessage: Problem {
        Problem(
            "no-such-message", status: 404, title: "Nothing is known of such a message",
            detail: "It was never in this pool, or a consumer that tells nothing deleted it, or its time is over.")
    }
}
