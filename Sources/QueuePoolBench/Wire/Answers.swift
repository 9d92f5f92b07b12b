// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// What answers mean. A send's answer becomes one verdict per entry, whatever the API; a receive's answer becomes its
// messages. Error codes are kept by name, never with the server's text.

/// The outcome of one entry of a send or delete.
enum Verdict: Hashable {
    case unanswered
    /// Stored; the shard's number where the answer names it.
    case accepted(shard: Int?)
    case refused(code: String)
}

enum Answers {
    /// Whether the server asks to come again later.
    static func isThrottled(_ response: Response) -> Bool {
        switch response.status {
        case 429, 503: true
        case 400, 403: contains(response.body, "Throttl")
        default: false
        }
    }

    /// Fills one verdict per entry.
    static func readSend(_ response: Response, api: BenchOptions.API, into verdicts: inout [Verdict]) {
        for index in verdicts.indices { verdicts[index] = .unanswered }
        guard (200..<300).contains(response.status) else {
            let code = errorCode(response)
            for index in verdicts.indices { verdicts[index] = .refused(code: code) }
            return
        }
        switch api {
        case .rest: readSingle(response.body, into: &verdicts)
        case .sqs where verdicts.count == 1: verdicts[0] = .accepted(shard: nil)
        case .sqs: readBatch(response.body, into: &verdicts)
        case .ndjson: readLines(response.body, into: &verdicts)
        }
    }

    /// Entries of SendMessageBatch and DeleteMessageBatch: those in `Failed` carry a `Code`.
    static func readBatch(_ body: UnsafeRawBufferPointer, into verdicts: inout [Verdict]) {
        var scanner = JSONScanner(body)
        var entry: Int?
        var code: String?
        while let token = scanner.next() {
            switch token {
            case .member(let key, let value) where key.equals("Id"): entry = value.decimal
            case .member(let key, let value) where key.equals("Code"): code = String(decoding: value, as: UTF8.self)
            case .objectEnd(depth: 2):
                if let entry, entry < verdicts.count {
                    verdicts[entry] = code.map { .refused(code: $0) } ?? .accepted(shard: nil)
                }
                (entry, code) = (nil, nil)
            default: break
            }
        }
    }

    private static func readSingle(_ body: UnsafeRawBufferPointer, into verdicts: inout [Verdict]) {
        verdicts[0] = .accepted(shard: readLine(body).shard)
    }

    private static func readLines(_ body: UnsafeRawBufferPointer, into verdicts: inout [Verdict]) {
        var start = 0
        for index in verdicts.indices where start < body.count {
            let end = body[start...].firstIndex(of: 0x0A) ?? body.count
            let line = readLine(UnsafeRawBufferPointer(rebasing: body[start..<end]))
            verdicts[index] = line.error.map { .refused(code: $0) } ?? .accepted(shard: line.shard)
            start = end + 1
        }
    }

    private static func readLine(_ line: UnsafeRawBufferPointer) -> (shard: Int?, error: String?) {
        var scanner = JSONScanner(line)
        var shard: Int?
        var error: String?
        while let token = scanner.next() {
            switch token {
            case .member(let key, let value) where key.equals("shard"): shard = value.shardNumber
            case .objectStart(let key) where key.equals("error"): error = "unknown"
            case .member(let key, let value) where key.equals("status") && error != nil:
                error = String(decoding: value, as: UTF8.self)
            default: break
            }
        }
        return (shard, error)
    }

    /// The HTTP status, with the SQS error's name where there is one.
    static func errorCode(_ response: Response) -> String {
        var scanner = JSONScanner(response.body)
        while let token = scanner.next() {
            guard case .member(let key, let value) = token, key.equals("__type") else { continue }
            let name = String(decoding: value.suffix(64), as: UTF8.self)
            return "\(response.status) " + String(name.split(separator: "#").last ?? "")
        }
        return String(response.status)
    }

    private static func contains(_ body: UnsafeRawBufferPointer, _ text: StaticString) -> Bool {
        guard let base = body.baseAddress else { return false }
        let size = text.utf8CodeUnitCount
        var from = 0
        while body.count - from >= size {
            guard let found = memchr(base + from, Int32(text.utf8Start[0]), body.count - from - size + 1) else {
                return false
            }
            if memcmp(found, text.utf8Start, size) == 0 { return true }
            from = UnsafeRawPointer(found) - base + 1
        }
        return false
    }
}

/// One message of a receive's answer; slices of the answer.
struct ReceivedMessage {
    var body = UnsafeRawBufferPointer(start: nil, count: 0)
    var receiptHandle = UnsafeRawBufferPointer(start: nil, count: 0)
    /// 0 when the answer does not say.
    var receiveCount = 0

    /// Replaces `messages` by those of the answer.
    static func read(_ body: UnsafeRawBufferPointer, into messages: inout [ReceivedMessage]) {
        messages.removeAll(keepingCapacity: true)
        var scanner = JSONScanner(body)
        var message = ReceivedMessage()
        while let token = scanner.next() {
            switch token {
            case .member(let key, let value) where key.equals("Body"): message.body = value
            case .member(let key, let value) where key.equals("ReceiptHandle"): message.receiptHandle = value
            case .member(let key, let value) where key.equals("ApproximateReceiveCount"):
                message.receiveCount = value.decimal ?? 0
            case .objectEnd(depth: 2):
                if message.receiptHandle.count > 0 { messages.append(message) }
                message = ReceivedMessage()
            default: break
            }
        }
    }
}
