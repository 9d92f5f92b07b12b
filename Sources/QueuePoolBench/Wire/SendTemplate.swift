// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// The request of one sending connection. Everything in it has a fixed width, so it is written once and from then on
// only the digits of group, sequence and deduplication id are overwritten: a request costs the client a few dozen
// stores and one system call. Group ids are "g" and eight hexadecimal digits, deduplication ids run.16 group.8
// sequence.8.

/// One connection's request, patched in place.
struct SendTemplate {
    /// Where one entry's changing digits begin in the request.
    struct Entry: Hashable {
        var group = 0
        var deduplication = 0
        var body = 0
    }

    private(set) var bytes: [UInt8] = []
    private(set) var entries: [Entry] = []
    private let run: UInt64
    private let connection: UInt16

    /// What all connections' requests share.
    struct Shape {
        let api: BenchOptions.API
        let pool: String
        let headLines: String
        let batch: Int
        let run: UInt64
        let filler: [UInt8]
    }

    init(_ shape: Shape, connection: UInt16) {
        run = shape.run
        self.connection = connection
        switch shape.api {
        case .rest: assembleREST(shape)
        case .ndjson: assembleLines(shape)
        case .sqs: assembleSQS(shape)
        }
    }

    /// Writes one entry's digits.
    mutating func set(entry: Int, group: Int, sequence: UInt32, sentAt: UInt64) {
        let place = entries[entry]
        let payload = Payload(
            run: run, group: UInt32(group), sequence: sequence, connection: connection, sentAt: sentAt)
        bytes.withUnsafeMutableBytes { raw in
            guard let base = raw.baseAddress else { return }
            Hexadecimal.write(UInt64(group), digits: 8, to: base + place.group)
            Hexadecimal.write(UInt64(group), digits: 8, to: base + place.deduplication + 16)
            Hexadecimal.write(UInt64(sequence), digits: 8, to: base + place.deduplication + 24)
            payload.write(to: base + place.body)
        }
    }

    /// The group id that entries of this group carry.
    static func groupID(_ group: Int) -> String {
        let digits = String(group, radix: 16)
        return "g" + String(repeating: "0", count: max(0, 8 - digits.count)) + digits
    }

    private mutating func assembleREST(_ shape: Shape) {
        var content = Content()
        content.restEntry(shape)
        finish(content, "POST /v1/pools/\(shape.pool)/messages HTTP/1.1\r\n", "application/json", shape, extra: "")
    }

    private mutating func assembleLines(_ shape: Shape) {
        var content = Content()
        for _ in 0..<shape.batch {
            content.restEntry(shape)
            content.text("\n")
        }
        finish(content, "POST /v1/pools/\(shape.pool)/messages HTTP/1.1\r\n", "application/x-ndjson", shape, extra: "")
    }

    private mutating func assembleSQS(_ shape: Shape) {
        var content = Content()
        content.text("{\"QueueUrl\":\"\(shape.pool)\",")
        if shape.batch == 1 {
            content.sqsMembers(shape)
        } else {
            content.text("\"Entries\":[")
            for index in 0..<shape.batch {
                content.text(index == 0 ? "{\"Id\":\"\(index)\"," : ",{\"Id\":\"\(index)\",")
                content.sqsMembers(shape)
                content.text("}")
            }
            content.text("]")
        }
        content.text("}")
        let operation = shape.batch == 1 ? "SendMessage" : "SendMessageBatch"
        finish(
            content, "POST / HTTP/1.1\r\n", "application/x-amz-json-1.0", shape,
            extra: "X-Amz-Target: AmazonSQS.\(operation)\r\n")
    }

    private mutating func finish(
        _ content: Content, _ requestLine: String, _ type: String, _ shape: Shape, extra: String
    ) {
        let head =
            requestLine + "\(shape.headLines)\(extra)Content-Type: \(type)\r\n"
            + "Content-Length: \(content.bytes.count)\r\n\r\n"
        bytes = Array(head.utf8) + content.bytes
        entries = content.entries.map {
            Entry(
                group: $0.group + head.utf8.count, deduplication: $0.deduplication + head.utf8.count,
                body: $0.body + head.utf8.count)
        }
        bytes.withUnsafeMutableBytes { raw in
            guard let base = raw.baseAddress else { return }
            for entry in entries { Hexadecimal.write(run, digits: 16, to: base + entry.deduplication) }
        }
    }
}

/// A request's content while it is written.
private struct Content {
    var bytes: [UInt8] = []
    var entries: [SendTemplate.Entry] = []

    mutating func text(_ text: String) { bytes.append(contentsOf: text.utf8) }

    mutating func restEntry(_ shape: SendTemplate.Shape) {
        var entry = SendTemplate.Entry()
        text("{\"group\":\"g")
        entry.group = blank(8)
        text("\",\"deduplicationId\":\"")
        entry.deduplication = blank(32)
        text("\",\"body\":\"")
        entry.body = blank(Payload.stampBytes)
        bytes.append(contentsOf: shape.filler)
        text("\"}")
        entries.append(entry)
    }

    mutating func sqsMembers(_ shape: SendTemplate.Shape) {
        var entry = SendTemplate.Entry()
        text("\"MessageGroupId\":\"g")
        entry.group = blank(8)
        text("\",\"MessageDeduplicationId\":\"")
        entry.deduplication = blank(32)
        text("\",\"MessageBody\":\"")
        entry.body = blank(Payload.stampBytes)
        bytes.append(contentsOf: shape.filler)
        text("\"")
        entries.append(entry)
    }

    private mutating func blank(_ count: Int) -> Int {
        defer { bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: count)) }
        return bytes.count
    }
}
