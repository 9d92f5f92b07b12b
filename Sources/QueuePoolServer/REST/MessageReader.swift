// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolSQS
import Synchronization

// One message as REST takes it: `{group, body, deduplicationId?, attributes?, tags?, delaySeconds?}`. The rules for ids, bodies
// and attributes are those of the SQS door; only their wording is ours. An unknown member is refused: a typo in
// `deduplicationId` would otherwise cost somebody a duplicate.

struct MessageReader {
    private var group: [UInt8]?
    private var body: JSONString?
    private var deduplicationID: [UInt8]?
    private var attributes: [MessageAttribute] = []
    /// Those that are not kept too.
    private var attributeCount = 0
    /// They become an attribute.
    private var tags: [UInt8]?

    /// Why a message is not valid.
    struct Refusal: Error {
        let problem: Problem
        /// Hash of its message group, if that could be read.
        var groupHash: UInt64?
    }

    /// Reads, checks and builds a message.
    /// - Parameters:
    ///   - bytes: one JSON object.
    ///   - keyID: the deduplication id that its idempotency key gives it unless it has one of its own.
    ///   - bodies: `nil`: a message is as large as the queue takes it.
    static func message(
        _ bytes: UnsafeRawBufferPointer, _ queue: QueueAttributes, _ ids: UniqueIDs, keyID: [UInt8]? = nil,
        bodies: BodyRules? = nil
    ) throws(Problem) -> OutgoingMessage {
        do throws(Refusal) { return try line(bytes, queue, ids, keyID: keyID, bodies: bodies) } catch {
            throw error.problem
        }
    }

    /// The same for one of several messages, where the group of one that is not valid matters to the others.
    static func line(
        _ bytes: UnsafeRawBufferPointer, _ queue: QueueAttributes, _ ids: UniqueIDs, keyID: [UInt8]? = nil,
        bodies: BodyRules? = nil
    ) throws(Refusal) -> OutgoingMessage {
        var reader = MessageReader()
        do throws(Problem) {
            do throws(JSONFault) {
                try reader.read(bytes)
            } catch { throw .malformed(error) }
            if let problem = reader.problem { throw problem }
            return try reader.build(queue, ids, keyID, bodies)
        } catch {
            throw Refusal(
                problem: error, groupHash: reader.group.map { group in group.withUnsafeBytes { XXHash64.hash($0) } })
        }
    }

    private var problem: Problem?

    /// - Important: call it when all members are read: an attribute of the name may come after them.
    private mutating func takeTags() {
        guard let tags else { return }
        guard !attributes.contains(where: { $0.name == TagsText.attribute }) else {
            return fail("tags", "is there as a member and as an attribute; allowed is one of them")
        }
        attributes.append(MessageAttribute(name: TagsText.attribute, dataType: "String", value: tags))
        attributeCount += 1
    }

    private mutating func read(_ bytes: UnsafeRawBufferPointer) throws(JSONFault) {
        var json = JSONReader(bytes)
        guard json.peekKind() == .object else {
            if json.peekKind() == nil { return try json.skipValue() }
            problem = Problem(
                "invalid-message", status: 400, title: "A message is a JSON object",
                detail: "Expected {\"group\": ..., \"body\": ...}.")
            return
        }
        try json.beginObject()
        var position = 0
        while let key = try json.nextKey() {
            position += 1
            try readMember(key, position, &json)
        }
        try json.finish()
        takeTags()
    }

    /// - Parameter position: of the member, from 1: an unknown one is told by it, for its name may be anything.
    private mutating func readMember(_ key: JSONString, _ position: Int, _ json: inout JSONReader) throws(JSONFault) {
        if key.equals("body") {
            body = try string("body", &json)
        } else if key.equals("group") {
            group = try string("group", &json)?.array
        } else if key.equals("deduplicationId") {
            deduplicationID = try string("deduplicationId", &json)?.array
        } else if key.equals("attributes") {
            try readAttributes(&json)
        } else if key.equals("tags") {
            switch try TagsText.read(&json) {
            case .success(let text): tags = text
            case .failure(let refusal): fail("tags", String(refusal.text.dropLast()))
            }
        } else if key.equals("delaySeconds") {
            guard json.peekKind() == .number else { return try refuse("delaySeconds", "a whole number", &json) }
            if !(try json.readNumberText()).elementsEqual("0".utf8) {
                fail(
                    "delaySeconds",
                    "is not 0; messages of a FIFO queue have their queue's delay only: send 0 or leave it out")
            }
        } else {
            tell(
                "message",
                "Member \(position) has a name of \(key.count) bytes that is not known; allowed are group, body, "
                    + "deduplicationId, attributes, tags, delaySeconds.")
            try json.skipValue()
        }
    }

    /// The first thing wrong is the one that is told.
    private mutating func fail(_ field: String, _ what: String) {
        if problem == nil { problem = .invalidField(field, "'\(field)' \(what).") }
    }

    private mutating func tell(_ field: String, _ detail: String) {
        if problem == nil { problem = .invalidField(field, detail) }
    }

    private mutating func refuse(_ field: String, _ allowed: String, _ json: inout JSONReader) throws(JSONFault) {
        let kind = json.peekKind()
        try json.skipValue()
        fail(field, "is \(kind.map { "\($0)" } ?? "nothing"); it must be \(allowed)")
    }

    private mutating func string(_ field: String, _ json: inout JSONReader) throws(JSONFault) -> JSONString? {
        guard json.peekKind() == .string else {
            try refuse(field, "a string", &json)
            return nil
        }
        return try json.readString()
    }

    // MARK: - Attributes

    private mutating func readAttributes(_ json: inout JSONReader) throws(JSONFault) {
        guard json.peekKind() == .object else { return try refuse("attributes", "an object", &json) }
        try json.beginObject()
        var position = 0
        while let key = try json.nextKey() {
            let name = key.text
            let field = position
            position += 1
            attributeCount = position
            guard attributes.count <= QueueLimits.attributesMax else {
                try json.skipValue()
                continue
            }
            switch json.peekKind() {
            case .string:
                attributes.append(MessageAttribute(name: name, dataType: "String", value: try json.readString().array))
            case .number:
                attributes.append(
                    MessageAttribute(name: name, dataType: "Number", value: Array(try json.readNumberText())))
            case .object: try readTyped(name, "attributes[\(field)]", &json)
            default: try refuse("attributes[\(field)]", "a string, a number or {type, value}", &json)
            }
        }
    }

    private mutating func readTyped(_ name: String, _ field: String, _ json: inout JSONReader) throws(JSONFault) {
        var type: String?
        var value: [UInt8]?
        try json.beginObject()
        while let key = try json.nextKey() {
            if key.equals("type") {
                type = try string(field + ".type", &json)?.text
            } else if key.equals("value") {
                value = try string(field + ".value", &json)?.array
            } else {
                fail(field, "has an unknown member; allowed are type and value")
                try json.skipValue()
            }
        }
        guard let type, var bytes = value else { return fail(field, "must have type and value, both strings") }
        if type.hasPrefix("Binary") {
            guard let decoded = bytes.withUnsafeBytes({ Base64.decode($0) }) else {
                return fail(field + ".value", "must be base64")
            }
            bytes = decoded
        }
        attributes.append(MessageAttribute(name: name, dataType: type, value: bytes))
    }

    // MARK: - Rules

    private func build(
        _ queue: QueueAttributes, _ ids: UniqueIDs, _ keyID: [UInt8]?, _ bodies: BodyRules?
    ) throws(Problem) -> OutgoingMessage {
        guard let group else {
            throw .invalidField("group", "'group' is missing; it must be a string of 1 to 128 characters.")
        }
        guard let body, !body.isEmpty else {
            throw .invalidField(
                "body", "'body' is \(self.body == nil ? "missing" : "empty"); it must be a string of at least 1 byte.")
        }
        try MessageReader.checkID("group", group)
        if let deduplicationID { try MessageReader.checkID("deduplicationId", deduplicationID) }
        let size = attributes.reduce(0) { $0 + $1.countedBytes }
        try MessageReader.checkSize("body", body.count, attributes: size, count: attributeCount, queue, bodies)
        if !attributes.isEmpty {
            do throws(SQSError) { try MessageRules.check(attributes, count: attributeCount) } catch {
                throw .invalidField("attributes", error.message)
            }
        }
        return try body.withBytes { (body) throws(Problem) in
            guard MessageRules.isAllowed(body) else {
                let place = MessageRules.firstNotAllowed(in: body).map { "at byte \($0 + 1) of \(body.count) " } ?? ""
                throw .invalidField(
                    "body",
                    "'body' has \(place)a control character or a noncharacter; allowed are tab, line feed, carriage "
                        + "return and U+0020 on.")
            }
            let id =
                deduplicationID ?? keyID
                ?? (queue.contentBasedDeduplication ? contentDeduplicationID(Array(body)) : ids.next())
            let record = MessageRecord(group: group, deduplicationID: id, body: body, attributes: attributes)
            return OutgoingMessage(record: record, groupHash: group.withUnsafeBytes { XXHash64.hash($0) })
        }
    }

    /// - Parameters:
    ///   - attributes: bytes of them.
    ///   - count: of attributes.
    static func checkSize(
        _ field: String, _ body: Int, attributes: Int, count: Int, _ queue: QueueAttributes, _ bodies: BodyRules?
    ) throws(Problem) {
        let limit = queue.maximumMessageSize
        guard body + attributes > limit else { return }
        guard let bodies else {
            throw .invalidField(
                field,
                field == "email"
                    ? "The email has \(body) bytes with its attachments encoded; at most \(limit) are allowed."
                    : "The message has \(body + attributes) bytes of body and attributes; at most \(limit) are allowed."
            )
        }
        switch bodies.refusal(body: body, attributes: attributes, count: count) {
        case .body:
            let what =
                field == "email"
                ? "The email has \(body) bytes with its attachments encoded" : "'body' has \(body) bytes"
            throw .invalidField(field, "\(what); at most \(bodies.limitBytes) are allowed.")
        case .attributes:
            throw .invalidField(
                "attributes",
                "The attributes have \(attributes) bytes; with the rest of the message at most \(limit) are allowed.")
        case .count:
            throw .invalidField(
                "attributes",
                "The message has \(count) attributes; one with a body of this size may have \(bodies.attributesMax - 1)."
            )
        case nil: return
        }
    }

    static func checkID(_ field: String, _ id: [UInt8]) throws(Problem) {
        guard !MessageRules.isIdentifier(id) else { return }
        let allowed = "it must be 1 to \(QueueLimits.identifierBytesMax) ASCII letters, digits or punctuation marks."
        guard !id.isEmpty, id.count <= QueueLimits.identifierBytesMax,
            let place = id.firstIndex(where: { $0 <= 0x20 || $0 >= 0x7F })
        else { throw .invalidField(field, "'\(field)' has \(id.count) bytes; \(allowed)") }
        let kind =
            switch id[place] {
            case 0x20: "a space"
            case 0x80...: "not ASCII"
            default: "a control character"
            }
        throw .invalidField(field, "In '\(field)', byte \(place + 1) of \(id.count) is \(kind); \(allowed)")
    }
}

/// Deduplication ids for messages whose sender asked for no deduplication: 16 digits of this process, 16 of a count.
final class UniqueIDs: Sendable {
    private let prefix: UInt64
    private let count = Atomic<UInt64>(0)

    init(prefix: UInt64 = .random(in: .min ... .max)) { self.prefix = prefix }

    func next() -> [UInt8] {
        let number = count.wrappingAdd(1, ordering: .relaxed).oldValue
        return (0..<32).map { position in
            Hexadecimal.digit((position < 16 ? prefix : number) >> UInt64(60 - 4 * (position & 15)) & 15)
        }
    }
}
