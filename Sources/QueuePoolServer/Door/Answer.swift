// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore

/// An HTTP answer as the doors give it: complete, in memory.
package struct Answer: Sendable {
    package var status: Int
    package var contentType: StaticString
    /// Beside Content-Type, Content-Length, Date and Connection.
    package var headers: [(name: String, value: String)] = []
    package var body: [UInt8]
    /// Whether it is the connection's last.
    var closes = false
    /// Called before the answer is written if the client is known to be gone by then: gives back what was taken for it.
    var takeBack: (@Sendable () -> Void)?

    package init(
        status: Int, contentType: StaticString, headers: [(name: String, value: String)] = [], body: [UInt8]
    ) {
        self.status = status
        self.contentType = contentType
        self.headers = headers
        self.body = body
    }

    /// Appends the answer in HTTP/1.1's form.
    func write(to out: inout ByteBuffer, date: [UInt8], closes: Bool) {
        // In one piece: a buffer that is asked for room and moved forward at each of fifteen words takes as long as all of
        // their bytes.
        let fields = headers.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count + 4 }
        let room = AnswerPen.fixedBytesMax + contentType.utf8CodeUnitCount + date.count + fields + body.count
        out.writeWithUnsafeMutableBytes(minimumWritableBytes: room) { bytes in
            var pen = AnswerPen(bytes)
            pen.put("HTTP/1.1 ")
            pen.put(Answer.statusLine(status))
            pen.put("\r\nContent-Type: ")
            pen.put(contentType)
            pen.put("\r\nDate: ")
            pen.put(date)
            var isNumbered = false
            for (name, value) in headers {
                isNumbered = isNumbered || name == "x-amzn-RequestId" || name == RequestNumber.header
                pen.put("\r\n")
                pen.put(name)
                pen.put(": ")
                pen.put(value)
            }
            if isNumbered {
                pen.put("\r\nX-Content-Type-Options: nosniff")
            } else {
                pen.put("\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: ")
                pen.put(RequestNumber.next())
            }
            if closes { pen.put("\r\nConnection: close") }
            pen.put("\r\nContent-Length: ")
            pen.put(String(body.count))
            pen.put("\r\n\r\n")
            pen.put(body)
            return pen.count
        }
    }

    private static func statusLine(_ status: Int) -> String {
        switch status {
        case 200: "200 OK"
        case 201: "201 Created"
        case 202: "202 Accepted"
        case 400: "400 Bad Request"
        case 401: "401 Unauthorized"
        case 403: "403 Forbidden"
        case 404: "404 Not Found"
        case 405: "405 Method Not Allowed"
        case 408: "408 Request Timeout"
        case 409: "409 Conflict"
        case 413: "413 Content Too Large"
        case 415: "415 Unsupported Media Type"
        case 422: "422 Unprocessable Content"
        case 429: "429 Too Many Requests"
        case 500: "500 Internal Server Error"
        case 501: "501 Not Implemented"
        case 503: "503 Service Unavailable"
        default: "\(status) -"
        }
    }
}

/// Writes the parts of an answer one behind the other. Its room is reckoned beforehand; what did not fit is left out.
private struct AnswerPen {
    /// Of everything but the texts that are passed in: names of fields, a status, a length, a request's name.
    static let fixedBytesMax = 320

    private let out: UnsafeMutableRawBufferPointer
    private(set) var count = 0

    init(_ out: UnsafeMutableRawBufferPointer) { self.out = out }

    mutating func put(_ text: StaticString) {
        put(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func put(_ text: String) {
        var text = text
        text.withUTF8 { put(UnsafeRawBufferPointer($0)) }
    }

    mutating func put(_ bytes: [UInt8]) { bytes.withUnsafeBytes { put($0) } }

    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count <= out.count - count, let from = bytes.baseAddress, let to = out.baseAddress else { return }
        (to + count).copyMemory(from: from, byteCount: bytes.count)
        count += bytes.count
    }
}

/// Called once, on any thread.
package typealias Reply = @Sendable (Answer) -> Void
