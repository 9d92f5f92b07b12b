// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Reads the head of a request that is as plain as nearly all are: POST, HTTP/1.1, Content-Length, no expectations. It
// never refuses anything: whatever is not plain, from an unusual method to a malformed line, is `.other` and goes byte by
// byte to NIO's HTTP decoder and Hummingbird, whose judgement of odd requests is better tested than ours could be. So
// there is no second opinion on what a valid request is, and nothing to smuggle past one of two parsers: a connection
// that went to the decoder once stays with it.

/// Where a plain request goes.
enum PlainRoute: Equatable {
    /// The SQS protocol; the operation's full target.
    case sqs(target: String)
    /// `POST /v1/pools/{pool}/messages` with one message.
    case message(pool: String)
}

/// A plain request's head.
struct PlainHead: Equatable {
    var route: PlainRoute
    /// Bytes of the head, blank line included.
    var headBytes: Int
    var bodyBytes: Int
    var closes: Bool
    /// The X-Amzn-Trace-Id header.
    var trace: [UInt8]?
    /// Where in the head the value of Authorization is.
    var authorization: Range<Int>?
}

enum RequestHead {
    case incomplete
    case plain(PlainHead)
    case other

    /// Bytes of head after which a request is no longer taken for a plain one.
    static let bytesMax = 16 << 10

    /// - Parameter isHostAllowed: judges the header Host; a request that has none, or one that is refused, is `.other`.
    static func parse(
        _ bytes: UnsafeRawBufferPointer, isHostAllowed: (UnsafeRawBufferPointer) -> Bool
    ) -> RequestHead {
        let method: StaticString = "POST "
        for index in 0..<min(5, bytes.count) where bytes[index] != method.utf8Start[index] { return .other }
        guard let end = endOfHead(bytes) else { return bytes.count > bytesMax ? .other : .incomplete }
        var lines = HeadLines(UnsafeRawBufferPointer(rebasing: bytes[0..<(end - 2)]))
        guard let first = lines.next(), let path = path(first) else { return .other }
        var fields = HeadFields()
        while let line = lines.next() {
            guard fields.take(line) else { return .other }
        }
        guard lines.isWhole, let bodyBytes = fields.contentLength, let host = fields.host, isHostAllowed(host),
            let route = route(path, fields)
        else { return .other }
        return .plain(
            PlainHead(
                route: route, headBytes: end, bodyBytes: bodyBytes, closes: fields.closes, trace: fields.trace,
                authorization: fields.authorization.flatMap { place(of: $0, in: bytes) }))
    }

    private static func place(of part: UnsafeRawBufferPointer, in whole: UnsafeRawBufferPointer) -> Range<Int>? {
        guard let start = part.baseAddress, let base = whole.baseAddress else { return nil }
        return (start - base)..<(start - base + part.count)
    }

    /// The offset after the blank line.
    private static func endOfHead(_ bytes: UnsafeRawBufferPointer) -> Int? {
        guard bytes.count >= 4 else { return nil }
        var index = 3
        let limit = min(bytes.count, bytesMax + 4)
        while index < limit {
            let byte = bytes[index]
            // A byte says how far the last of CR LF CR LF is away at least, as in Boyer and Moore (1977).
            if byte == 10 {
                if bytes[index - 1] == 13, bytes[index - 2] == 10, bytes[index - 3] == 13 { return index + 1 }
                index += 2
            } else if byte == 13 {
                index += 1
            } else {
                index += 4
            }
        }
        return nil
    }

    private static func path(_ line: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        let version: StaticString = " HTTP/1.1"
        let end = line.count - version.utf8CodeUnitCount
        guard end > 5, line[5] == UInt8(ascii: "/") else { return nil }
        for index in 0..<version.utf8CodeUnitCount where line[end + index] != version.utf8Start[index] { return nil }
        let path = UnsafeRawBufferPointer(rebasing: line[5..<end])
        return path.allSatisfy(isPlainInPath) ? path : nil
    }

    private static func isPlainInPath(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
            UInt8(ascii: "/"):
            true
        default: false
        }
    }

    private static func route(_ path: UnsafeRawBufferPointer, _ fields: HeadFields) -> PlainRoute? {
        // At any other path it is refused: a proxy that lets some paths pass must not let every action pass with them.
        if let target = fields.target { return SQSPath.isOne(path) ? .sqs(target: target) : nil }
        let prefix: StaticString = "/v1/pools/"
        let suffix: StaticString = "/messages"
        guard fields.isJSON, path.count > prefix.utf8CodeUnitCount + suffix.utf8CodeUnitCount,
            path.starts(with: prefix.bytes), path.suffix(suffix.utf8CodeUnitCount).elementsEqual(suffix.bytes)
        else { return nil }
        let name = path[prefix.utf8CodeUnitCount..<(path.count - suffix.utf8CodeUnitCount)]
        guard !name.contains(UInt8(ascii: "/")) else { return nil }
        return .message(pool: String(decoding: name, as: UTF8.self))
    }
}

extension StaticString {
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: utf8Start, count: utf8CodeUnitCount) }
}

/// Lines that end in CR LF.
struct HeadLines {
    private var rest: UnsafeRawBufferPointer
    /// Whether every byte belonged to a well-ended line.
    private(set) var isWhole = true

    init(_ bytes: UnsafeRawBufferPointer) { rest = bytes }

    mutating func next() -> UnsafeRawBufferPointer? {
        guard !rest.isEmpty else { return nil }
        var index = 0
        while index < rest.count, rest[index] != 10 { index += 1 }
        guard index < rest.count, index > 0, rest[index - 1] == 13 else {
            isWhole = false
            return nil
        }
        let line = UnsafeRawBufferPointer(rebasing: rest[0..<(index - 1)])
        rest = UnsafeRawBufferPointer(rebasing: rest[(index + 1)...])
        return line
    }
}

/// The few fields that matter to a plain request.
private struct HeadFields {
    var host: UnsafeRawBufferPointer?
    var contentLength: Int?
    var target: String?
    var isJSON = false
    var closes = false
    var trace: [UInt8]?
    var authorization: UnsafeRawBufferPointer?

    /// - Returns: `false` if the line makes the request one for the decoder.
    mutating func take(_ line: UnsafeRawBufferPointer) -> Bool {
        var colon = 0
        while colon < line.count, line[colon] != UInt8(ascii: ":") {
            guard HeadFields.isToken(line[colon]) else { return false }
            colon += 1
        }
        guard colon > 0, colon < line.count else { return false }
        var start = colon + 1
        var end = line.count
        while start < end, line[start] == 32 || line[start] == 9 { start += 1 }
        while end > start, line[end - 1] == 32 || line[end - 1] == 9 { end -= 1 }
        let value = UnsafeRawBufferPointer(rebasing: line[start..<end])
        guard value.allSatisfy({ $0 >= 32 && $0 != 127 || $0 == 9 }) else { return false }
        let name = UnsafeRawBufferPointer(rebasing: line[0..<colon])
        switch colon {
        case 4:
            if HeadFields.equals(name, "host") { return takeHost(value) }
        // A browser's request is judged by `GuardMiddleware`.
        case 6: return !HeadFields.equals(name, "expect") && !HeadFields.equals(name, "origin")
        case 7: return !HeadFields.equals(name, "upgrade")
        case 10:
            if HeadFields.equals(name, "connection") { return takeConnection(value) }
        case 12:
            if HeadFields.equals(name, "content-type") { isJSON = HeadFields.isJSONType(value) }
            if HeadFields.equals(name, "x-amz-target") { return takeTarget(value) }
        case 13:
            if HeadFields.equals(name, "authorization") { return takeAuthorization(value) }
        case 14:
            if HeadFields.equals(name, "content-length") { return takeLength(value) }
            return !HeadFields.equals(name, "sec-fetch-site")
        case 15:
            if HeadFields.equals(name, "x-amzn-trace-id") { trace = Array(value) }
            return !HeadFields.equals(name, "idempotency-key")
        case 16: return !HeadFields.equals(name, "content-encoding")
        case 17: return !HeadFields.equals(name, "transfer-encoding")
        default: break
        }
        return true
    }

    private mutating func takeHost(_ value: UnsafeRawBufferPointer) -> Bool {
        guard host == nil else { return false }
        host = value
        return true
    }

    private mutating func takeConnection(_ value: UnsafeRawBufferPointer) -> Bool {
        closes = HeadFields.equals(value, "close")
        return closes || HeadFields.equals(value, "keep-alive")
    }

    private mutating func takeTarget(_ value: UnsafeRawBufferPointer) -> Bool {
        guard target == nil else { return false }
        target = String(decoding: value, as: UTF8.self)
        return true
    }

    private mutating func takeAuthorization(_ value: UnsafeRawBufferPointer) -> Bool {
        guard authorization == nil else { return false }
        authorization = value
        return true
    }

    private mutating func takeLength(_ value: UnsafeRawBufferPointer) -> Bool {
        guard contentLength == nil, (1...12).contains(value.count) else { return false }
        var length = 0
        for digit in value {
            guard (48...57).contains(digit) else { return false }
            length = length * 10 + Int(digit - 48)
        }
        contentLength = length
        return true
    }

    private static func isJSONType(_ value: UnsafeRawBufferPointer) -> Bool {
        let type: StaticString = "application/json"
        guard value.count >= type.utf8CodeUnitCount,
            equals(UnsafeRawBufferPointer(rebasing: value[0..<type.utf8CodeUnitCount]), type)
        else { return false }
        return value.count == type.utf8CodeUnitCount || value[type.utf8CodeUnitCount] == UInt8(ascii: ";")
    }

    /// - Parameter lower: in lower case.
    private static func equals(_ name: UnsafeRawBufferPointer, _ lower: StaticString) -> Bool {
        guard name.count == lower.utf8CodeUnitCount else { return false }
        for index in 0..<name.count {
            let byte = name[index]
            let folded = (65...90).contains(byte) ? byte | 32 : byte
            if folded != lower.utf8Start[index] { return false }
        }
        return true
    }

    /// The characters of a field name (RFC 9110, 5.6.2).
    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }
}
