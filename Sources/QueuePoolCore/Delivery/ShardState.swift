// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// What is known of one shard.
struct ShardState: Sendable {
    /// Whose it is.
    enum Tenure: Equatable, Sendable {
        case ours
        /// It will be somebody else's: what is under way may end until then.
        case leaving(until: Timestamp)
        /// Everything was given back.
        case left
        /// It was taken away, or never ours.
        case lost
    }

    /// A receive that is out.
    struct Receive: Sendable {
        let number: Int
        let askedAt: Timestamp
        /// It waits at the queue for messages to come.
        let waits: Bool
        /// Its answer may lie here unread since then, because the worker stood still; `nil`: it is read when it comes.
        var answeredFrom: Timestamp?
    }

    var tenure: Tenure
    /// What was not begun has been given back; begins when no receive is out any more, which could take it again.
    var isReleasing = false
    /// Those that are out, in the order in which they left.
    var receives: [Receive] = []
    /// How many may be out.
    var receivesAllowed = 1
    /// What came while other receives were out.
    var arrivals = Arrivals()
    /// Deliveries that ended lately.
    var recent = RecentCount()
    var notBefore = Timestamp.distantPast
    var failures = 0
    var deletes: Deque<WorkMessage> = []
    var deletesUnderWay: [WorkMessage] = []
    /// Nothing can be deleted, so that nothing more should be delivered.
    var areDeletesFailing = false
    /// The only group of which deletes failed since any worked, and how often in a row.
    private var loneFailure: (group: String, count: Int)?
    var held = 0
    /// Those of `held` in groups that can go on.
    var ready = 0

    init(tenure: Tenure) { self.tenure = tenure }

    /// Number of the oldest that is out.
    var oldestReceive: Int? { receives.first?.number }
    var isOurs: Bool { tenure == .ours }
    /// Whether it is ours until it is given back.
    var isStillOurs: Bool {
        switch tenure {
        case .ours, .leaving: true
        case .left, .lost: false
        }
    }
    /// Whether what ends now is kept for a later try: else it is given back, or forgotten.
    var isKeeping: Bool { isStillOurs && !isReleasing }

    /// Failures in a row of one group's deletes after which they are that group's own, which waits for them; its failing
    /// message must not stop the others (I5).
    private static let loneFailuresMax = 3

    /// Whether deletes fail, after a batch of them.
    mutating func judgeDeletes(failed: [WorkMessage], isAnyAnswered: Bool, isRequestLost: Bool) -> Bool {
        let groups = Set(failed.map(\.group))
        guard let group = groups.first, groups.count == 1, !isRequestLost else {
            loneFailure = nil
            return !groups.isEmpty && !isAnyAnswered
        }
        loneFailure = (group, loneFailure?.group == group ? (loneFailure?.count ?? 0) + 1 : 1)
        return !isAnyAnswered && (loneFailure?.count ?? 0) <= ShardState.loneFailuresMax
    }
}
