// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// A server on a free port of 127.0.0.1 that answers one connection after another with the same text.
final class AnsweringServer: Sendable {
    let port: Int
    private let listener: Int32
    private let seen = Mutex<[String]>([])

    /// - Parameter answer: sent once something of a request was read; `nil`: never answers.
    init?(answer: String?) {
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(socket, address, length) == 0 && listen(socket, 8) == 0
                    && getsockname(socket, address, &length) == 0
            }
        }
        guard socket >= 0, isBound else { return nil }
        listener = socket
        port = Int(UInt16(bigEndian: address.sin_port))
        var thread = pthread_t()
        let bytes = answer.map { Array($0.utf8) }
        let job = Unmanaged.passRetained(Job { [self] in serve(bytes) })
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, job.toOpaque())
        pthread_detach(thread)
    }

    var requests: [String] { seen.withLock { $0 } }

    func close() { _ = shutdown(listener, Int32(SHUT_RDWR)) }

    private func serve(_ answer: [UInt8]?) {
        while true {
            let connection = accept(listener, nil, nil)
            guard connection >= 0 else { break }
            var buffer = [UInt8](repeating: 0, count: 65_536)
            while true {
                let count = read(connection, &buffer, buffer.count)
                guard count > 0 else { break }
                seen.withLock { $0.append(String(decoding: buffer[..<count], as: UTF8.self)) }
                if let answer { _ = send(connection, answer, answer.count, Int32(MSG_NOSIGNAL)) }
            }
            Glibc.close(connection)
        }
        Glibc.close(listener)
    }

    private final class Job {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
}
