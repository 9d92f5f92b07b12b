// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// A mail server on a free port of 127.0.0.1, one thread for each connection. It keeps every line that it was told.
final class MailServer: Sendable {
    struct Seen: Sendable {
        var lines: [String] = []
        var connections = 0
    }

    let port: Int
    private let listener: Int32
    private let state = Mutex(Seen())
    /// The reply to a command by its first word, `GREETING` and `DOT` among them; `nil`: silence, empty: hangs up.
    private let reply: @Sendable (_ word: String, _ seen: Seen) -> String?

    init?(_ reply: @escaping @Sendable (_ word: String, _ seen: Seen) -> String?) {
        self.reply = reply
        let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(socket, address, length) == 0 && listen(socket, 64) == 0
                    && getsockname(socket, address, &length) == 0
            }
        }
        guard socket >= 0, isBound else { return nil }
        listener = socket
        port = Int(UInt16(bigEndian: address.sin_port))
        MailServer.thread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0 else { break }
                state.withLock { $0.connections += 1 }
                MailServer.thread { [self] in serve(connection) }
            }
            Glibc.close(listener)
        }
    }

    /// What a server says that takes everything.
    static func usual(_ word: String) -> String {
        switch word {
        case "GREETING": "220 here"
        case "DATA": "354 go"
        case "QUIT": "221 bye"
        default: "250 OK"
        }
    }

    var url: String { "smtp://127.0.0.1:\(port)" }
    var seen: Seen { state.withLock { $0 } }
    func close() { _ = shutdown(listener, Int32(SHUT_RDWR)) }

    private func serve(_ connection: Int32) {
        defer { Glibc.close(connection) }
        guard say("GREETING", connection) else { return }
        var isMail = false
        var pending: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(connection, &buffer, buffer.count)
            guard count > 0 else { return }
            pending += buffer[..<count]
            while let end = pending.firstIndex(of: 10) {
                let line = String(decoding: pending[..<end].dropLast(), as: UTF8.self)
                pending.removeSubrange(...end)
                state.withLock { $0.lines.append(line) }
                if isMail, line != "." { continue }
                let word = isMail ? "DOT" : String(line.prefix { $0 != " " })
                isMail = word == "DATA"
                guard say(word, connection) else { return }
            }
        }
    }

    private func say(_ word: String, _ connection: Int32) -> Bool {
        guard let text = reply(word, seen) else { return true }
        let bytes = Array((text + "\r\n").utf8)
        return !text.isEmpty && send(connection, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count
    }

    private static func thread(_ run: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let job = Unmanaged.passRetained(Job(run))
        pthread_create(
            &thread, nil,
            { argument in
                if let argument { Unmanaged<Job>.fromOpaque(argument).takeRetainedValue().run() }
                return nil
            }, job.toOpaque())
        pthread_detach(thread)
    }

    private final class Job {
        let run: () -> Void
        init(_ run: @escaping () -> Void) { self.run = run }
    }
}
