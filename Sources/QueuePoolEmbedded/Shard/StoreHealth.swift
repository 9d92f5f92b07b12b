// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A store that takes sends until its disk is full can't be emptied any more, because deletes are written too. So sends
// stop while there is some room left, and everything that makes room goes on.

/// Why a store takes no sends.
package enum StoreProblem: Hashable, Sendable, CustomStringConvertible {
    /// Little room is left. Deletes, purges and moves to the dead-letter queue go on.
    case full
    /// Another file is at its path, or none: what is written now would be lost when the server ends.
    case moved
    /// A flush failed, or the file is damaged; `code` is SQLite's extended result code.
    case broken(code: Int32)

    package var description: String {
        switch self {
        case .full: "the disk has too little room for more messages"
        case .moved: "its file was moved or removed; restart the server when the data directory is back"
        case .broken(let code): "its file takes no more writes (SQLite result code \(code)); restart the server"
        }
    }
}

/// Room for a store's file.
struct StoreRoom: Hashable {
    /// Bytes by which the file may grow, and those in it that are unused.
    let free: Int64
    /// What the file may have in all.
    let total: Int64
    /// Bytes by which the file, or another one, may grow.
    var growth: Int64 = .max

    /// What sends leave alone: enough for the logs of some stores.
    var reserve: Int64 { min(64 << 20, total / 8) }
}

/// Decides whether a store takes sends.
struct StoreHealth {
    enum Event {
        /// The look that is taken every second.
        case looked(StoreRoom)
        /// A commit found no room, whatever the figures say.
        case foundNoRoom
        case moved
        case broken(code: Int32)
    }

    /// Looks for which sends are refused at least after a commit found no room: the figures may know no better then.
    private static let looksAfterFullMin = 5
    private(set) var problem: StoreProblem?
    private var looksToGo = 0

    /// - Returns: whether the problem is another one now.
    mutating func handle(_ event: Event) -> Bool {
        let before = problem
        switch (event, problem) {
        // Only a restart ends these.
        case (_, .moved), (_, .broken): break
        case (.moved, _): problem = .moved
        case (.broken(let code), _): problem = .broken(code: code)
        case (.foundNoRoom, _):
            problem = .full
            looksToGo = StoreHealth.looksAfterFullMin
        case (.looked(let room), nil): if room.free < room.reserve { problem = .full }
        case (.looked(let room), .full):
            looksToGo = max(0, looksToGo - 1)
            // A little more than where it began, so that it does not begin again at once.
            if looksToGo == 0, room.free >= room.reserve + room.reserve / 4 { problem = nil }
        }
        return problem != before
    }
}
