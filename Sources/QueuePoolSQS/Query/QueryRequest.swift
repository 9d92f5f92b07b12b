// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolJSON

// The Query protocol is a second spelling of the same requests, so it has no rules of its own: a form becomes the JSON
// that the JSON protocol would have sent, and the one set of parsers reads that.

/// A request of the Query protocol as one of the JSON protocol.
public struct QueryRequest: Sendable {
    public static let version = "2012-11-05"

    public let action: SQSAction
    /// The JSON request.
    public let body: [UInt8]

    /// - Parameters:
    ///   - form: the form's bytes.
    ///   - queue: the queue on whose own URL the request was made; a `QueueUrl` in the form wins over it.
    /// - Throws: `unknownOperation` without `Action`, `invalidAction`, `missingParameter`, `invalidParameterValue`.
    public static func read(
        form bytes: UnsafeRawBufferPointer, queue: String? = nil
    ) throws(SQSError) -> QueryRequest {
        let form = try QueryForm(bytes)
        guard let name = form.value("Action") else {
            throw SQSError(.unknownOperation, "The request must contain the parameter Action.")
        }
        let text = String(decoding: name, as: UTF8.self)
        guard let action = SQSAction(rawValue: text), queue == nil || !action.isOfEndpoint else {
            throw SQSError(.invalidAction, "The action \(SQSError.sized(text)) is not valid for this endpoint.")
        }
        if let version = form.value("Version"), version != Array(Self.version.utf8) {
            throw .invalid("Version", String(decoding: version, as: UTF8.self), "Must be \(Self.version).")
        }
        var writer = QueryRequestWriter(form: form, capacity: bytes.count + 128)
        try writer.write(action.queryFields, queue: queue)
        return QueryRequest(action: action, body: writer.json.take())
    }
}

private struct QueryRequestWriter {
    let form: QueryForm
    var json: JSONWriter

    init(form: QueryForm, capacity: Int) {
        self.form = form
        json = JSONWriter(capacity: capacity)
    }

    mutating func write(_ fields: [QueryField], in parent: Int = QueryForm.root, queue: String?) throws(SQSError) {
        json.beginObject()
        for field in fields {
            let place = form.find(field.name, in: parent)
            if let place {
                try write(field, at: place)
            } else if case .entries = field.shape {
                json.key(field.member)
                json.raw("[]")
            } else if let queue, "\(field.name)" == "QueueUrl" {
                json.key(field.member)
                json.string(queue)
            }
        }
        json.endObject()
    }

    private mutating func write(_ field: QueryField, at place: Int) throws(SQSError) {
        switch field.shape {
        case .text:
            guard let value = form.nodes[place].value else { return }
            json.key(field.member)
            json.string(value)
        case .integer:
            guard let value = form.nodes[place].value else { return }
            json.key(field.member)
            json.int(try integer(value, field.name))
        case .texts:
            json.key(field.member)
            json.beginArray()
            for member in try form.members(of: place) {
                if let value = form.nodes[member].value { json.string(value) }
            }
            json.endArray()
        case .map(let key):
            json.key(field.member)
            json.beginObject()
            for member in try members(of: place, key: key) {
                guard let value = form.value("Value", in: member.place) else {
                    throw .missing("\(field.name).\(form.nodes[member.place].name).Value")
                }
                json.key(text: member.name)
                json.string(value)
            }
            json.endObject()
        case .messageAttributes:
            json.key(field.member)
            json.beginObject()
            for member in try members(of: place, key: "Name") {
                json.key(text: member.name)
                try writeAttribute(member.place)
            }
            json.endObject()
        case .entries(let fields):
            json.key(field.member)
            json.beginArray()
            for member in try form.members(of: place) { try write(fields, in: member, queue: nil) }
            json.endArray()
        }
    }

    /// The pairs of a map with their keys.
    private func members(of map: Int, key: StaticString) throws(SQSError) -> [(name: String, place: Int)] {
        var known: Set<String> = []
        var found: [(name: String, place: Int)] = []
        for member in try form.members(of: map) {
            guard let name = form.value(key, in: member) else {
                throw .missing("\(form.nodes[map].name).\(form.nodes[member].name).\(key)")
            }
            let text = String(decoding: name, as: UTF8.self)
            guard known.insert(text).inserted else {
                throw .invalid("\(form.nodes[map].name).\(key)", text, "It comes more than once.")
            }
            found.append((text, member))
        }
        return found
    }

    private mutating func writeAttribute(_ place: Int) throws(SQSError) {
        json.beginObject()
        if let value = form.find("Value", in: place) {
            for field in Self.attributeFields {
                if let place = form.find(field.name, in: value) { try write(field, at: place) }
            }
        }
        json.endObject()
    }

    /// A value in base64 stays what it is: that is how JSON has it.
    private static let attributeFields = [
        QueryField("DataType"), QueryField("StringValue"), QueryField("BinaryValue"),
    ]

    private func integer(_ value: [UInt8], _ name: StaticString) throws(SQSError) -> Int {
        let text = String(decoding: value, as: UTF8.self)
        guard text.utf8.first != UInt8(ascii: "+"), let number = Int(text) else {
            throw .invalid("\(name)", text, "Must be a whole number of at most 64 bits.")
        }
        return number
    }
}
