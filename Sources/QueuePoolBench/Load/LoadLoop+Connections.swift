// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolChecking
import QueuePoolCore

extension LoadLoop {
    /// Senders first, receivers behind them; all connected before the first request.
    func makeConnections() throws {
        let options = plan.options
        let shape = SendTemplate.Shape(
            api: options.api, pool: options.pool, headLines: plan.endpoint.headLines, batch: options.batchSize,
            run: plan.run, filler: filler)
        for index in 0..<options.senderCount {
            let connection = Connection(index: index, role: .sender, endpoint: plan.endpoint)
            connection.template = SendTemplate(shape, connection: UInt16(truncatingIfNeeded: index))
            if options.skew == .uniform {
                connection.chooser = GroupChooser(
                    groups: options.groups, connection: index, connections: options.senderCount, skew: options.skew)
            }
            connections.append(connection)
        }
        for number in 0..<options.receiverCount {
            let target = plan.receiveTarget(number)
            let connection = Connection(index: connections.count, role: .receiver, endpoint: target.endpoint)
            connection.requests = ReceiveRequests(
                queue: target.queue, headLines: target.endpoint.headLines, waitSeconds: options.waitSeconds)
            connections.append(connection)
        }
        for connection in connections { try open(connection) }
    }

    /// Starts what is next for a connection without a request outstanding.
    func proceed(_ connection: Connection, now: UInt64) {
        guard connection.isConnected else {
            if connection.descriptor < 0 { reopen(connection) }
            return
        }
        if connection.isRetry {
            connection.isRetry = false
            return write(connection)
        }
        if connection.step == .handling { return handled(connection, now: now) }
        guard connection.step == .idle, mayStart else { return }
        switch connection.role {
        case .sender: startSend(connection, now: now)
        case .receiver: startReceive(connection, now: now)
        }
    }

    /// Sends the current request from its first byte.
    func write(_ connection: Connection) {
        connection.written = 0
        connection.isFresh = true
        flush(connection)
    }

    /// The answer of the outstanding request is complete.
    func answered(_ connection: Connection, _ response: Response, now: UInt64) {
        defer { noteProgress(now) }
        // Shards that are asked directly say nothing of the server in front of them.
        if connection.endpoint == plan.endpoint { lastAnswerAt = now }
        let step = connection.step
        guard step != .idle, step != .handling else { return connection.reader.consume() }
        if Answers.isThrottled(response), step != .sending || plan.options.retriesThrottled {
            if windowIsOpen { outcome.statistics.throttled += 1 }
            connection.reader.consume()
            connection.isRetry = true
            connection.wakeAt = now + backOff()
            return
        }
        connection.failures = 0
        if outages.since != nil { endOutage(connection, now) }
        switch step {
        case .idle, .handling: break
        case .sending: sendAnswered(connection, response, now: now)
        case .receiving: receiveAnswered(connection, response, now: now)
        case .deleting: deleteAnswered(connection, response, now: now)
        }
        connection.reader.consume()
        if connection.step == .deleting {
            write(connection)
        } else if connection.wakeAt == .max {
            proceed(connection, now: now)
        }
    }

    /// A drain that delivers is not stalled.
    private func noteProgress(_ now: UInt64) {
        guard checker.report.delivered != lastDelivered else { return }
        lastDelivered = checker.report.delivered
        lastProgressAt = now
    }

    /// No request is outstanding any more.
    func finish(_ connection: Connection) {
        switch connection.step {
        case .idle: break
        case .sending:
            busySenders -= 1
            releaseGroups(connection)
        case .receiving: busyReceivers -= 1
        case .handling, .deleting: busyDeleters -= 1
        }
        connection.step = .idle
    }

    /// 5 to 30 ms at random. A server's Retry-After counts whole seconds; a load client that waited so long would
    /// measure its own pauses.
    func backOff() -> UInt64 { UInt64(5_000_000 + random.next(below: 25_000_000)) }

    func count(error: String, _ entries: Int = 1) {
        if windowIsOpen { outcome.statistics.errors[error, default: 0] += entries }
    }
}
