// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import QueuePoolCurl
import Testing

/// Resets every connection once something of a TLS handshake was read.
private final class ResettingServer: Sendable {
    let port: Int
    private let listener: Int32

    init?() {
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
        Thread.detachNewThread { [listener] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                var byte: UInt8 = 0
                _ = read(connection, &byte, 1)
                // Nothing lingers: the other side is told by a reset.
                var hard = linger(l_onoff: 1, l_linger: 0)
                setsockopt(connection, SOL_SOCKET, SO_LINGER, &hard, socklen_t(MemoryLayout<linger>.size))
                Glibc.close(connection)
            }
            Glibc.close(listener)
        }
    }

    func close() { _ = shutdown(listener, Int32(SHUT_RDWR)) }
}

@Suite struct `A TLS handshake` {
    @Test func `that is reset is a lost connection on which nothing was sent, and says nothing about certificates`()
        async throws
    {
        let server = try #require(ResettingServer())
        let engine = CurlEngine()
        let result = await withCheckedContinuation { done in
            engine.start(HTTPRequest(method: "POST", url: "https://127.0.0.1:\(server.port)/", body: [1])) {
                done.resume(returning: $0)
            }
        }
        server.close()
        guard case .failure(let failure) = result else {
            Issue.record("an answer")
            return
        }
        // CURLE_SSL_CONNECT_ERROR, or CURLE_RECV_ERROR where the TLS library passes the reset on.
        #expect(failure.error == .other(code: 35) || failure.error == .other(code: 56))
        #expect(!failure.wasSent)
    }
}
