// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// A reader for the answers of one connection: bytes come in pieces of any size, an answer comes out when its last byte
// is there. It knows what the server may send (RFC 9112: Content-Length, chunked, 1xx, 204) and nothing else; every
// other form is an error rather than a guess. One buffer per connection is used again for every answer, and a body is
// handed out as a slice of it.

/// One complete answer. The body is valid until `consume()`.
struct Response {
    let status: Int
    let body: UnsafeRawBufferPointer
    let closes: Bool
}

/// Incremental reader; used by one thread.
final class ResponseReader {
    /// The answer is not HTTP/1.1 as this reader knows it.
    struct Malformed: Error {}

    private enum Framing {
        case head
        case length(Int)
        case chunkSize
        case chunkData(Int)
        case chunkEnd
        case trailer
        case complete
    }

    private var storage: UnsafeMutableRawBufferPointer
    /// Bytes received.
    private var filled = 0
    /// Bytes understood.
    private var cursor = 0
    private var bodyStart = 0
    private var bodyEnd = 0
    private var status = 0
    private var closes = false
    private var framing = Framing.head
    private static let bytesMax = 256 << 20

    init(capacity: Int = 32_768) {
        storage = .allocate(byteCount: capacity, alignment: 16)
    }

    deinit { storage.deallocate() }

    /// Free space for the next `recv`, at least 8 KiB.
    func space() throws(Malformed) -> UnsafeMutableRawBufferPointer {
        if storage.count - filled < 8_192 {
            guard storage.count < ResponseReader.bytesMax else { throw Malformed() }
            let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: storage.count * 2, alignment: 16)
            larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: storage[0..<filled]))
            storage.deallocate()
            storage = larger
        }
        return UnsafeMutableRawBufferPointer(rebasing: storage[filled...])
    }

    /// So many bytes were written to `space()`.
    func received(_ count: Int) { filled += count }

    /// The answer, if it is complete.
    func next() throws(Malformed) -> Response? {
        while true {
            guard try step() else { return nil }
            if case .complete = framing { break }
        }
        let body = UnsafeRawBufferPointer(rebasing: storage[bodyStart..<bodyEnd])
        return Response(status: status, body: body, closes: closes)
    }

    /// Forgets the answer that `next()` returned.
    func consume() {
        let rest = filled - cursor
        if rest > 0, let base = storage.baseAddress { memmove(base, base + cursor, rest) }
        filled = rest
        (cursor, bodyStart, bodyEnd) = (0, 0, 0)
        framing = .head
    }

    /// Forgets everything, for a new connection.
    func reset() {
        filled = 0
        cursor = 0
        consume()
    }

    /// One step of the framing.
    /// - Returns: false when more bytes are needed.
    private func step() throws(Malformed) -> Bool {
        switch framing {
        case .head:
            return try readHead()
        case .length(let length):
            guard filled - bodyStart >= length else { return false }
            bodyEnd = bodyStart + length
            cursor = bodyEnd
            framing = .complete
        case .chunkSize:
            guard let line = nextLine() else { return false }
            let size = try chunkSize(line)
            framing = size == 0 ? .trailer : .chunkData(size)
        case .chunkData(let size):
            let available = min(size, filled - cursor)
            guard available > 0 else { return false }
            moveChunk(available)
            framing = available == size ? .chunkEnd : .chunkData(size - available)
        case .chunkEnd:
            guard let line = nextLine() else { return false }
            guard line.isEmpty else { throw Malformed() }
            framing = .chunkSize
        case .trailer:
            guard let line = nextLine() else { return false }
            if line.isEmpty { framing = .complete }
        case .complete:
            break
        }
        return true
    }

    private func readHead() throws(Malformed) -> Bool {
        let start = cursor
        (status, closes) = (0, false)
        var length: Int?
        var isChunked = false
        while let line = nextLine() {
            if status == 0 {
                status = try statusCode(line)
            } else if line.isEmpty {
                try beginBody(length: length, isChunked: isChunked)
                return true
            } else if let value = headerValue(line, "content-length:") {
                length = try decimal(value)
            } else if headerValue(line, "transfer-encoding:") != nil {
                isChunked = true
            } else if let value = headerValue(line, "connection:") {
                closes = value.first == UInt8(ascii: "c") || value.first == UInt8(ascii: "C")
            }
        }
        // The head is short; reading it again when its rest has come is cheaper than a state for each header.
        cursor = start
        return false
    }

    private func beginBody(length: Int?, isChunked: Bool) throws(Malformed) {
        if (100..<200).contains(status) {
            framing = .head
            return
        }
        (bodyStart, bodyEnd) = (cursor, cursor)
        if isChunked {
            framing = .chunkSize
        } else if let length {
            framing = .length(length)
        } else if status == 204 || status == 304 {
            framing = .length(0)
        } else {
            throw Malformed()
        }
    }

    /// Moves chunk data down to the decoded body, over the framing that separated them.
    private func moveChunk(_ count: Int) {
        if let base = storage.baseAddress, bodyEnd != cursor { memmove(base + bodyEnd, base + cursor, count) }
        bodyEnd += count
        cursor += count
    }

    /// The next line without its end; the cursor goes behind it.
    private func nextLine() -> UnsafeRawBufferPointer? {
        guard let base = storage.baseAddress, cursor < filled,
            let end = memchr(base + cursor, 0x0A, filled - cursor)
        else { return nil }
        let start = cursor
        var stop = UnsafeRawPointer(end) - UnsafeRawPointer(base)
        cursor = stop + 1
        if stop > start, storage[stop - 1] == 0x0D { stop -= 1 }
        return UnsafeRawBufferPointer(rebasing: storage[start..<stop])
    }

    private func statusCode(_ line: UnsafeRawBufferPointer) throws(Malformed) -> Int {
        guard line.count >= 12, line[0] == UInt8(ascii: "H"), line[8] == UInt8(ascii: " ") else { throw Malformed() }
        let code = try decimal(line[9..<12])
        guard code >= 100 else { throw Malformed() }
        return code
    }

    /// - Parameter name: in lower case, with its colon.
    private func headerValue(_ line: UnsafeRawBufferPointer, _ name: StaticString) -> Slice<UnsafeRawBufferPointer>? {
        let size = name.utf8CodeUnitCount
        guard line.count >= size, line[0] | 0x20 == name.utf8Start[0] else { return nil }
        for index in 1..<size where line[index] | 0x20 != name.utf8Start[index] | 0x20 { return nil }
        return line[size...].drop { $0 == 0x20 || $0 == 0x09 }
    }

    private func decimal(_ digits: Slice<UnsafeRawBufferPointer>) throws(Malformed) -> Int {
        var value = 0
        for digit in digits {
            guard digit >= 48, digit <= 57, value < 1 << 40 else { throw Malformed() }
            value = value * 10 + Int(digit - 48)
        }
        guard !digits.isEmpty else { throw Malformed() }
        return value
    }

    private func chunkSize(_ line: UnsafeRawBufferPointer) throws(Malformed) -> Int {
        var size = 0
        var digits = 0
        for byte in line {
            let lower = byte | 0x20
            if byte >= 48, byte <= 57 {
                size = size << 4 | Int(byte - 48)
            } else if lower >= 97, lower <= 102 {
                size = size << 4 | Int(lower - 87)
            } else {
                break
            }
            digits += 1
            guard digits <= 8 else { throw Malformed() }
        }
        guard digits > 0 else { throw Malformed() }
        return size
    }
}
