// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc

// The few requests around a measurement (is the server ready, which shards has the pool): one at a time, blocking, over
// a connection of their own.

/// Blocking requests for what is not measured.
struct ControlClient {
    let endpoint: Endpoint

    /// Status and body of a GET.
    func get(_ path: String) throws -> (status: Int, body: [UInt8]) {
        try exchange("GET \(path) HTTP/1.1\r\nHost: \(endpoint.authority)\r\nConnection: close\r\n\r\n")
    }

    /// Status and body of a POST of JSON.
    func post(_ path: String, json: String) throws -> (status: Int, body: [UInt8]) {
        try exchange(
            "POST \(path) HTTP/1.1\r\nHost: \(endpoint.authority)\r\nConnection: close\r\n"
                + "Content-Type: application/json\r\nContent-Length: \(json.utf8.count)\r\n\r\n" + json)
    }

    private func exchange(_ request: String) throws -> (status: Int, body: [UInt8]) {
        let descriptor = try Sockets.connect(to: endpoint, isBlocking: true)
        defer { close(descriptor) }
        var patience = timeval(tv_sec: 10, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, socklen_t(MemoryLayout<timeval>.size))
        let bytes = Array(request.utf8)
        guard send(descriptor, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count else {
            throw SocketError(call: "send", code: errno)
        }
        let reader = ResponseReader()
        while true {
            let space = try reader.space()
            let count = recv(descriptor, space.baseAddress, space.count, 0)
            guard count > 0 else { throw SocketError(call: "recv", code: count == 0 ? ECONNRESET : errno) }
            reader.received(count)
            if let response = try reader.next() { return (response.status, Array(response.body)) }
        }
    }
}

/// What a run needs to know of its pool.
struct PoolFacts: Hashable {
    var epoch = 1
    var shardNames: [String] = []
    var quota: Int?

    /// Reads the answer of `GET /v1/pools/{pool}`.
    init(_ json: [UInt8]) {
        json.withUnsafeBytes { bytes in
            var scanner = JSONScanner(bytes)
            var depth = 0
            while let token = scanner.next() {
                switch token {
                case .objectStart: depth += 1
                case .objectEnd: depth -= 1
                case .member(let key, let value) where key.equals("epoch") && depth == 1: epoch = value.decimal ?? 1
                case .member(let key, let value) where key.equals("quota") && depth == 1: quota = value.decimal
                case .member(let key, let value) where key.equals("name") && depth == 2:
                    shardNames.append(String(decoding: value, as: UTF8.self))
                default: break
                }
            }
        }
    }
}
