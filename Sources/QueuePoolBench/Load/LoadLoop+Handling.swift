// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A consumer that takes its time for each message, as a worker does: the groups of a receive are handled side by side
// and each group in its order, so that the k-th message of a group is deleted after k times the handler's time. A group's
// next message can be received only then, which is the ceiling of a group: one message in the handler's time.

/// Messages of one receive that are handled at the same time, one of each group, and the request that deletes them.
struct HandlerRound {
    let entries: [Connection.Entry]
    let delete: [UInt8]

    /// Indices of entries by rounds: the first of each group, the second of each group, ...
    static func indices(_ entries: [Connection.Entry]) -> [[Int]] {
        var rounds: [[Int]] = []
        var counts: [Int: Int] = [:]
        for (index, entry) in entries.enumerated() {
            let round = counts[entry.group, default: 0]
            counts[entry.group] = round + 1
            if round == rounds.count { rounds.append([]) }
            rounds[round].append(index)
        }
        return rounds
    }
}

extension LoadLoop {
    private var handlerNanoseconds: UInt64 { UInt64(plan.options.handlerMilliseconds ?? 0) * 1_000_000 }

    /// Begins to handle the messages of a receive, whose entries and handles are in their places.
    func startHandling(_ connection: Connection, now: UInt64) {
        connection.rounds = HandlerRound.indices(connection.entries).map { indices in
            var delete: [UInt8] = []
            connection.requests?.writeDelete(of: indices.map { handles[$0] }, to: &delete)
            return HandlerRound(entries: indices.map { connection.entries[$0] }, delete: delete)
        }
        connection.handledAt = now + handlerNanoseconds
        awaitHandled(connection)
    }

    /// Goes on with the next messages, if there are any.
    func awaitHandled(_ connection: Connection) {
        guard !connection.rounds.isEmpty else { return }
        connection.step = .handling
        connection.wakeAt = connection.handledAt
        busyDeleters += 1
    }

    /// The messages of a round are handled: deletes them. The next ones are handled meanwhile.
    func handled(_ connection: Connection, now: UInt64) {
        let round = connection.rounds.removeFirst()
        connection.handledAt += handlerNanoseconds
        connection.entries = round.entries
        connection.deleteOutput = round.delete
        connection.startedAt = now
        connection.step = .deleting
        write(connection)
    }
}
