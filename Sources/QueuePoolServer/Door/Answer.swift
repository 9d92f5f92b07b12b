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
        out.writeStaticString("HTTP/1.1 ")
        out.writeString(Answer.statusLine(status))
        out.writeStaticString("\r\nContent-Type: ")
        out.writeStaticString(contentType)
        out.writeStaticString("\r\nDate: ")
        out.writeBytes(date)
        var isNumbered = false
        for (name, value) in headers {
            isNumbered = isNumbered || name == "x-amzn-RequestId" || name == RequestNumber.header
            out.writeStaticString("\r\n")
            out.writeString(name)
            out.writeStaticString(": ")
            out.writeString(value)
        }
        if isNumbered {
            out.writeStaticString("\r\nX-Content-Type-Options: nosniff")
        } else {
            out.writeStaticString("\r\nX-Content-Type-Options: nosniff\r\nX-Request-Id: ")
            RequestNumber.writeNext(to: &out)
        }
        if closes { out.writeStaticString("\r\nConnection: close") }
        out.writeStaticString("\r\nContent-Length: ")
        out.writeString(String(body.count))
        out.writeStaticString("\r\n\r\n")
        out.writeBytes(body)
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

/// Called once, on any thread.
package typealias Reply = @Sendable (Answer) -> Void
