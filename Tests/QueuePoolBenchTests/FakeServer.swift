// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Synchronization

// The server a load client is tried on: a few queue operations over blocking sockets, one thread a connection, with
// faults that a checker must find. It knows only what the client sends.

/// What the fake gets wrong.
enum FakeFault: CaseIterable, Sendable {
    case none
    case losesOne
    case doublesOne
    case swapsTwo
    case refusesSome
    case throttlesSome
    case closesSome
}

/// The queue behind the fake.
struct FakePool {
    var groups: [String: [String]] = [:]
    var inFlight: [String: Int] = [:]
    var sends = 0
    let fault: FakeFault

    /// - Returns: the status of the answer; `nil` to close the connection without one.
    mutating func beginSend() -> Int? {
        sends += 1
        switch fault {
        case .refusesSome where sends % 7 == 3: return 500
        case .throttlesSome where sends % 5 == 2: return 429
        case .closesSome where sends % 31 == 5: return nil
        default: return 202
        }
    }

    mutating func store(group: String, body: String) {
        switch fault {
        case .losesOne where sends == 50: return
        case .doublesOne where sends == 50: groups[group, default: []].append(body)
        case .swapsTwo where sends > 50 && !(groups[group] ?? []).isEmpty:
            let last = groups[group, default: []].removeLast()
            groups[group, default: []] += [body, last]
            return
        default: break
        }
        groups[group, default: []].append(body)
    }

    mutating func receive() -> [[String: Any]] {
        var messages: [[String: Any]] = []
        for (group, bodies) in groups where inFlight[group] == nil && !bodies.isEmpty {
            let taken = bodies.prefix(10 - messages.count)
            guard !taken.isEmpty else { break }
            groups[group] = Array(bodies.dropFirst(taken.count))
            inFlight[group] = taken.count
            for body in taken {
                messages.append([
                    "Body": body, "ReceiptHandle": group, "Attributes": ["ApproximateReceiveCount": "1"],
                ])
            }
        }
        return messages
    }

    mutating func delete(group: String) {
        let left = (inFlight[group] ?? 1) - 1
        inFlight[group] = left > 0 ? left : nil
    }
}

/// Listens on a free loopback port until the process ends.
final class FakeServer: Sendable {
    let port: UInt16
    private let pool: Mutex<FakePool>
    private let listener: Int32

    init(fault: FakeFault) throws {
        pool = Mutex(FakePool(fault: fault))
        listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let descriptor = listener
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, size) == 0 && listen(descriptor, 128) == 0
                    && getsockname(descriptor, $0, &size) == 0
            }
        }
        guard isBound else { throw POSIXError(.EADDRINUSE) }
        port = UInt16(bigEndian: address.sin_port)
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { return }
                Thread.detachNewThread { [self] in
                    serve(connection)
                    close(connection)
                }
            }
        }
    }

    private func serve(_ connection: Int32) {
        var input = Data()
        while let (head, content) = readRequest(connection, &input) {
            guard let (status, body) = answer(head, content) else { return }
            let answer = Data("HTTP/1.1 \(status) X\r\nContent-Length: \(body.count)\r\n\r\n".utf8) + body
            guard answer.withUnsafeBytes({ send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }) > 0 else {
                return
            }
        }
    }

    private func readRequest(_ connection: Int32, _ input: inout Data) -> (head: String, content: Data)? {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            if let end = input.range(of: Data("\r\n\r\n".utf8)) {
                let head = String(decoding: input[..<end.lowerBound], as: UTF8.self)
                let length = head.split(separator: "\r\n").first { $0.hasPrefix("Content-Length: ") }
                let size = length.flatMap { Int($0.dropFirst(16)) } ?? 0
                if input.count - end.upperBound >= size {
                    let content = Data(input[end.upperBound..<end.upperBound + size])
                    input = Data(input[(end.upperBound + size)...])
                    return (head, content)
                }
            }
            let count = recv(connection, &buffer, buffer.count, 0)
            guard count > 0 else { return nil }
            input.append(contentsOf: buffer[0..<count])
        }
    }

    private func answer(_ head: String, _ content: Data) -> (status: Int, body: Data)? {
        if head.hasPrefix("GET") {
            return (200, Data(#"{"name":"bench.fifo","epoch":2,"shards":[{"name":"bench-0000.fifo"}]}"#.utf8))
        }
        guard let object = try? JSONSerialization.jsonObject(with: content) as? [String: Any] else {
            return (400, Data())
        }
        return pool.withLock { pool in
            if head.contains("ReceiveMessage") {
                let messages = pool.receive()
                return (200, Self.json(messages.isEmpty ? [:] : ["Messages": messages]))
            }
            if head.contains("DeleteMessageBatch") {
                let entries = object["Entries"] as? [[String: String]] ?? []
                for entry in entries { pool.delete(group: entry["ReceiptHandle"] ?? "") }
                return (200, Self.json(["Successful": entries.map { ["Id": $0["Id"] ?? ""] }]))
            }
            guard let status = pool.beginSend() else { return nil }
            guard status == 202 else { return (status, Data()) }
            pool.store(group: object["group"] as? String ?? "", body: object["body"] as? String ?? "")
            return (202, Data(#"{"id":"0","shard":"bench-0000.fifo","duplicate":false}"#.utf8))
        }
    }

    private static func json(_ object: [String: Any]) -> Data {
        (try? JSONSerialization.data(withJSONObject: object)) ?? Data()
    }
}
