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
        try exchange("GET \(path) HTTP/1.1\r\n\(endpoint.headLines)Connection: close\r\n\r\n")
    }

    /// The same of a server that may not let us in.
    /// - Throws: `BenchRefused` if it does not.
    func getAdmitted(_ path: String) throws -> (status: Int, body: [UInt8]) {
        var answer = try get(path)
        if answer.status == 401, endpoint.token != nil {
            // A new key is known to a server only when it has looked at its store again.
            usleep(1_000_000)
            answer = try get(path)
        }
        if [401, 403].contains(answer.status) { throw BenchRefused(status: answer.status) }
        return answer
    }

    /// Status and body of a POST of JSON.
    func post(_ path: String, json: String) throws -> (status: Int, body: [UInt8]) {
        try exchange(
            "POST \(path) HTTP/1.1\r\n\(endpoint.headLines)Connection: close\r\n"
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
    /// Messages in it: to be received, received and not deleted, and not to be received yet.
    var backlog = 0
    var inFlight = 0
    var delayed = 0

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
                case .member(let key, let value) where key.equals("backlog") && depth == 1: backlog = value.decimal ?? 0
                case .member(let key, let value) where key.equals("inFlight") && depth == 1:
                    inFlight = value.decimal ?? 0
                case .member(let key, let value) where key.equals("delayed") && depth == 1: delayed = value.decimal ?? 0
                case .member(let key, let value) where key.equals("name") && depth == 2:
                    shardNames.append(String(decoding: value, as: UTF8.self))
                default: break
                }
            }
        }
    }

    /// A run receives what others sent, which hides it from their consumers for a while, and it counts the time that it
    /// takes to get past it.
    /// - Throws: `PoolUnfit` when messages are in the pool and that is not allowed.
    func requireEmpty(_ pool: String, unless isAllowed: Bool) throws(PoolUnfit) {
        guard !isAllowed, backlog + inFlight + delayed > 0 else { return }
        throw PoolUnfit(
            "the pool \(pool) is not empty: \(backlog) messages to receive, \(inFlight) in flight, \(delayed) delayed; a run "
                + "would receive them beside its own. Drain it, name another pool, or allow it by --allow-nonempty")
    }

    /// - Throws: `PoolUnfit` when a quota was asked for that the pool does not have.
    func requireQuota(_ asked: Int?, _ pool: String) throws(PoolUnfit) {
        guard let asked, asked != quota else { return }
        throw PoolUnfit(
            "--quota \(asked): the pool \(pool) has " + (quota.map { "a quota of \($0)" } ?? "no quota")
                + ", and a run does not change it. Leave --quota out, or name a pool that does not exist, which then gets it"
        )
    }
}

/// A given server does not let a run in.
package struct BenchRefused: Error, Hashable {
    /// Its answer's: 401 if it does not know who asks, 403 if he may not.
    package let status: Int
}

/// A pool of a given server that a run does not touch as it is.
package struct PoolUnfit: Error, Hashable, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}
