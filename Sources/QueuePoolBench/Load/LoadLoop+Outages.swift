// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolChecking

// A server that is away does not end the load: each connection tries again by itself, with a back-off, and what it had
// outstanding has no known outcome (the checker lets such a message be stored or not, but not out of its order). A
// request that nothing comes back of in time (a stopped server still accepts connections) is sent again as it is: its
// first copy may yet be stored, so that the next message of its groups has to wait, and its deduplication ids keep one
// of the two. Time counts as an outage from the first connection that broke until the next answer, so that the moments
// in which the server is up and not ready yet belong to it.

/// The times during which the server could not be reached.
struct Outages {
    var count = 0
    /// Of those that ended.
    var nanoseconds: UInt64 = 0
    var longest: UInt64 = 0
    /// Start of the one that goes on.
    var since: UInt64?
    /// End of the last one.
    var endedAt: UInt64 = 0
    var unansweredRequests = 0
    var failedConnects = 0
    /// The one that goes on was longer than allowed, and the load ended.
    var isAway = false

    mutating func end(_ now: UInt64) {
        guard let since else { return }
        let length = now - min(since, now)
        nanoseconds += length
        longest = max(longest, length)
        self.since = nil
        endedAt = now
    }
}

extension LoadLoop {
    /// The connection ended, or could not be made; what it had outstanding has no known outcome.
    func broken(_ connection: Connection) {
        let now = monotonicNanoseconds()
        let wasConnected = connection.isConnected
        let isUnanswered = connection.step != .idle && connection.step != .handling && !connection.isRetry
        disconnect(connection)
        if wasConnected, windowIsOpen { outcome.statistics.reconnects += 1 }
        if isUnanswered {
            outages.unansweredRequests += 1
            if connection.step == .sending {
                for entry in connection.entries { checker.outcomeUnknown(group: entry.group, sequence: entry.sequence) }
                count(error: "connection closed", connection.entries.count)
            }
            connection.rounds.removeAll()
            finish(connection)
        }
        // One that was closed while it was idle is opened again when it has something to do.
        guard !wasConnected || isUnanswered else { return }
        if connection.failures == 0 { connection.brokenAt = now }
        connection.failures += 1
        if !wasConnected { outages.failedConnects += 1 }
        if connection.failures > 1 { noteOutage(connection, now) }
        connection.wakeAt = now + reconnectDelay(connection.failures)
    }

    /// Looks for answers that are late. Now and then only, and by a mark that each request leaves: a clock read for each
    /// would be felt.
    func watch(_ now: UInt64) {
        guard now >= watchDue else { return }
        watchDue = now + 250_000_000
        let patience = UInt64(plan.options.answerSecondsMax * 1e9)
        let wait = UInt64(plan.options.waitSeconds) * 1_000_000_000
        for connection in connections where connection.descriptor >= 0 && !connection.isRetry {
            let isBusy = connection.step != .idle && connection.step != .handling
            guard isBusy || !connection.isConnected else { continue }
            if connection.isFresh {
                connection.isFresh = false
                connection.seenAt = now
            } else if now - connection.seenAt > patience + (connection.step == .receiving ? wait : 0) {
                connection.isConnected ? unanswered(connection, now) : broken(connection)
            }
        }
    }

    /// Nothing came back in time.
    private func unanswered(_ connection: Connection, _ now: UInt64) {
        disconnect(connection)
        if windowIsOpen { outcome.statistics.reconnects += 1 }
        outages.unansweredRequests += 1
        connection.isRetry = true
        if connection.failures == 0 { connection.brokenAt = connection.seenAt }
        connection.failures += 1
        // While others are answered, it is this request that is slow.
        if lastAnswerAt < connection.seenAt { noteOutage(connection, now) }
        connection.wakeAt = now + reconnectDelay(connection.failures)
    }

    /// Begins to connect; `connected` goes on.
    func reopen(_ connection: Connection) {
        connection.isFresh = true
        do throws(SocketError) {
            connection.descriptor = try Sockets.beginConnecting(to: connection.endpoint)
            connection.awaitsWritable = true
            register(connection, awaitsWritable: true)
        } catch {
            broken(connection)
        }
    }

    /// The socket says that connecting came to an end.
    func connected(_ connection: Connection) {
        guard Sockets.error(of: connection.descriptor) == 0 else { return broken(connection) }
        connection.isConnected = true
        setAwaitsWritable(connection, false)
        connection.wakeAt = min(connection.wakeAt, monotonicNanoseconds())
    }

    /// An answer came from the server that was away.
    func endOutage(_ connection: Connection, _ now: UInt64) {
        guard connection.endpoint == plan.endpoint, let since = outages.since else { return }
        outages.end(now)
        lastProgressAt = now
        plan.tell("the server is back after \(decimal(Double(now - min(since, now)) / 1e9, places: 1)) s")
    }

    private func noteOutage(_ connection: Connection, _ now: UInt64) {
        guard connection.endpoint == plan.endpoint else { return }
        if outages.since == nil {
            outages.count += 1
            // A connection that was not answered yet since the last outage has nothing to say of the time before its end.
            outages.since = max(connection.brokenAt, outages.endedAt)
            plan.tell("the server is away, trying again")
        }
        let length = now - min(outages.since ?? now, now)
        if Double(length) > plan.outageSecondsMax * 1e9 { outages.isAway = true }
    }

    /// At once after a first failure, then 20 ms doubled up to 1 s, half of it at random.
    private func reconnectDelay(_ failures: Int) -> UInt64 {
        guard failures > 1 else { return 0 }
        let longest = min(1_000_000_000, 10_000_000 << min(failures - 1, 7))
        return UInt64(longest / 2 + random.next(below: longest / 2))
    }

    private func disconnect(_ connection: Connection) {
        if connection.descriptor >= 0 { close(connection.descriptor) }
        connection.descriptor = -1
        connection.isConnected = false
        connection.awaitsWritable = false
        connection.reader.reset()
    }
}
