// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import QueuePoolBench

@Suite struct TemplateTests {
    private let filler = Payload.filler(bodyBytes: 100, seed: 7)

    private func template(_ api: BenchOptions.API, batch: Int) -> SendTemplate {
        var template = SendTemplate(
            SendTemplate.Shape(
                api: api, pool: "bench.fifo", headLines: "Host: 127.0.0.1:9324\r\n", batch: batch, run: 0xABCD,
                filler: filler),
            connection: 5)
        for entry in 0..<batch {
            template.set(entry: entry, group: 0x2A + entry, sequence: UInt32(7 + entry), sentAt: .max - 1)
        }
        return template
    }

    /// Head lines and content; checks that Content-Length is the content's.
    private func parts(_ bytes: [UInt8]) throws -> (head: [String], content: Data) {
        let data = Data(bytes)
        let end = try #require(data.range(of: Data("\r\n\r\n".utf8)))
        let head = String(decoding: data[..<end.lowerBound], as: UTF8.self).components(separatedBy: "\r\n")
        let content = Data(data[end.upperBound...])
        #expect(head.contains("Content-Length: \(content.count)"))
        return (head, content)
    }

    private func check(_ entry: [String: Any], _ names: [String], index: Int) throws {
        let group = try #require(entry[names[0]] as? String)
        let deduplication = try #require(entry[names[1]] as? String)
        let body = try #require(entry[names[2]] as? String)
        #expect(group == SendTemplate.groupID(0x2A + index))
        #expect(
            deduplication == "000000000000abcd0000002" + String(10 + index, radix: 16) + "0000000"
                + String(7 + index, radix: 16))
        #expect(body.utf8.count == 100)
        let payload = Array(body.utf8).withUnsafeBytes { Payload($0) }
        #expect(
            payload
                == Payload(
                    run: 0xABCD, group: UInt32(0x2A + index), sequence: UInt32(7 + index), connection: 5,
                    sentAt: .max - 1))
        #expect(Array(body.utf8.suffix(filler.count)) == filler)
    }

    private static let rest = ["group", "deduplicationId", "body"]
    private static let sqs = ["MessageGroupId", "MessageDeduplicationId", "MessageBody"]

    @Test func `a REST request is one JSON object`() throws {
        let (head, content) = try parts(template(.rest, batch: 1).bytes)
        #expect(head[0] == "POST /v1/pools/bench.fifo/messages HTTP/1.1")
        #expect(head.contains("Content-Type: application/json"))
        try check(try #require(JSONSerialization.jsonObject(with: content) as? [String: Any]), Self.rest, index: 0)
    }

    @Test func `a stream is one object a line`() throws {
        let (head, content) = try parts(template(.ndjson, batch: 3).bytes)
        #expect(head.contains("Content-Type: application/x-ndjson"))
        let lines = content.split(separator: 0x0A)
        #expect(lines.count == 3)
        for (index, line) in lines.enumerated() {
            let object = try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any]
            try check(try #require(object), Self.rest, index: index)
        }
    }

    @Test func `SendMessage names its queue`() throws {
        let (head, content) = try parts(template(.sqs, batch: 1).bytes)
        #expect(head.contains("X-Amz-Target: AmazonSQS.SendMessage"))
        let object = try #require(JSONSerialization.jsonObject(with: content) as? [String: Any])
        #expect(object["QueueUrl"] as? String == "bench.fifo")
        try check(object, Self.sqs, index: 0)
    }

    @Test func `SendMessageBatch has distinct ids`() throws {
        let (head, content) = try parts(template(.sqs, batch: 10).bytes)
        #expect(head.contains("X-Amz-Target: AmazonSQS.SendMessageBatch"))
        let object = try #require(JSONSerialization.jsonObject(with: content) as? [String: Any])
        let entries = try #require(object["Entries"] as? [[String: Any]])
        #expect(entries.map { $0["Id"] as? String } == (0..<10).map(String.init))
        for (index, entry) in entries.enumerated() where index < 6 { try check(entry, Self.sqs, index: index) }
    }

    @Test func `a request can be patched again and again`() {
        var patched = template(.rest, batch: 1)
        let first = patched.bytes
        patched.set(entry: 0, group: 99, sequence: 100, sentAt: 1)
        #expect(patched.bytes != first)
        #expect(patched.bytes.count == first.count)
        patched.set(entry: 0, group: 0x2A, sequence: 7, sentAt: .max - 1)
        #expect(patched.bytes == first)
    }

    @Test(arguments: [1, 9, 10])
    func `a delete carries the handles`(count: Int) throws {
        let requests = ReceiveRequests(queue: "bench-0003.fifo", headLines: "Host: h:1\r\n", waitSeconds: 2)
        let handles = (0..<count).map { Array("handle-\($0)-\(String(repeating: "x", count: $0 * 9))".utf8) }
        var output: [UInt8] = []
        withHandles(handles[...], []) { requests.writeDelete(of: $0, to: &output) }
        let (head, content) = try parts(output)
        #expect(head.contains("X-Amz-Target: AmazonSQS.DeleteMessageBatch"))
        let object = try #require(JSONSerialization.jsonObject(with: content) as? [String: Any])
        #expect(object["QueueUrl"] as? String == "bench-0003.fifo")
        let entries = try #require(object["Entries"] as? [[String: String]])
        #expect(entries.map { $0["ReceiptHandle"] } == handles.map { String(decoding: $0, as: UTF8.self) })
        #expect(entries.map { $0["Id"] } == (0..<count).map(String.init))
    }

    private func withHandles(
        _ rest: ArraySlice<[UInt8]>, _ open: [UnsafeRawBufferPointer], _ body: ([UnsafeRawBufferPointer]) -> Void
    ) {
        guard let first = rest.first else { return body(open) }
        first.withUnsafeBytes { withHandles(rest.dropFirst(), open + [$0], body) }
    }

    @Test func `a receive asks for ten and the receive count`() throws {
        let requests = ReceiveRequests(queue: "bench.fifo", headLines: "Host: h:1\r\n", waitSeconds: 2)
        let (_, content) = try parts(requests.receive)
        let object = try #require(JSONSerialization.jsonObject(with: content) as? [String: Any])
        #expect(object["MaxNumberOfMessages"] as? Int == 10)
        #expect(object["WaitTimeSeconds"] as? Int == 2)
        #expect(object["MessageSystemAttributeNames"] as? [String] == ["ApproximateReceiveCount"])
    }
}
