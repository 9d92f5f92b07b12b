// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolEpoll
import Glibc

extension LoadLoop {
    /// Waits for something to happen, at most a second, and sees to it.
    func poll() {
        let count = qp_epoll_wait(epoll, events, Int32(LoadLoop.eventsMax), 1_000)
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let event = events[index]
            if event.tag == LoadLoop.timerTag {
                var expirations: UInt64 = 0
                _ = read(timer, &expirations, MemoryLayout<UInt64>.size)
                timerSetFor = .max
                continue
            }
            let connection = connections[Int(event.tag)]
            if event.writable != 0 { connection.isConnected ? flush(connection) : connected(connection) }
            if event.readable != 0 {
                if connection.isConnected {
                    readable(connection)
                } else if connection.descriptor >= 0, event.writable == 0 {
                    connected(connection)
                }
            }
        }
    }

    private func readable(_ connection: Connection) {
        do {
            while true {
                let space = try connection.reader.space()
                let count = recv(connection.descriptor, space.baseAddress, space.count, 0)
                if count > 0 {
                    connection.reader.received(count)
                    connection.isFresh = true
                    if count == space.count { continue }
                    break
                }
                if count < 0, errno == EAGAIN { return }
                if count < 0, errno == EINTR { continue }
                return broken(connection)
            }
            guard let response = try connection.reader.next() else { return }
            let closes = response.closes
            answered(connection, response, now: monotonicNanoseconds())
            if closes, connection.isConnected { broken(connection) }
        } catch {
            broken(connection)
        }
    }

    /// Writes on; asks for writability only while the socket is full.
    func flush(_ connection: Connection) {
        guard let isDone = connection.flush() else { return broken(connection) }
        guard connection.awaitsWritable == isDone else { return }
        setAwaitsWritable(connection, !isDone)
    }

    func setAwaitsWritable(_ connection: Connection, _ awaitsWritable: Bool) {
        connection.awaitsWritable = awaitsWritable
        qp_epoll_change(epoll, connection.descriptor, UInt64(connection.index), awaitsWritable ? 1 : 0)
    }

    /// Connects before the load begins.
    func open(_ connection: Connection) throws {
        connection.descriptor = try Sockets.connect(to: connection.endpoint, isBlocking: false)
        connection.isConnected = true
        register(connection, awaitsWritable: false)
    }

    func register(_ connection: Connection, awaitsWritable: Bool) {
        qp_epoll_add(epoll, connection.descriptor, UInt64(connection.index), awaitsWritable ? 1 : 0)
    }
}
