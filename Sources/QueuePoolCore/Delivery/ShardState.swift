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

    /// A delete request that is under way.
    struct Deletes: Sendable {
        let number: Int
        let messages: [WorkMessage]
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
    /// Messages that are to be deleted.
    var deletes: Deque<WorkMessage> = []
    /// In the order in which they left.
    var deletesUnderWay: [Deletes] = []
    /// Of the latest delete request.
    private var deletesNumber = 0
    /// Of the latest delete request by whose answer it was judged whether deletes fail.
    private var judgedNumber = 0
    /// Nothing can be deleted, so that nothing more should be delivered.
    var areDeletesFailing = false
    /// The group whose deletes alone failed lately, and how often in a row.
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

    /// Nothing waits to be deleted, and no delete is under way.
    var isAllDeleted: Bool { deletes.isEmpty && deletesUnderWay.isEmpty }
    var undeletedCount: Int { deletesUnderWay.reduce(deletes.count) { $0 + $1.messages.count } }

    /// The next delete request, which is then under way; `nil`: none leaves now. One alone takes what there is. Beside
    /// others only a full one leaves, without the groups of those: a group has one delete at a time.
    /// - Parameter countMax: of those that may be under way.
    mutating func nextDeletes(countMax: Int) -> [WorkMessage]? {
        guard !deletes.isEmpty, deletesUnderWay.count < countMax else { return nil }
        var batch = Array(deletes.prefix(QueueLimits.batchEntriesMax))
        if deletesUnderWay.isEmpty {
            deletes.removeFirst(batch.count)
        } else {
            guard batch.count == QueueLimits.batchEntriesMax else { return nil }
            let groups = Set(deletesUnderWay.flatMap { $0.messages.map(\.group) })
            var places: [Int] = []
            for place in deletes.indices where !groups.contains(deletes[place].group) {
                places.append(place)
                if places.count == QueueLimits.batchEntriesMax { break }
            }
            guard places.count == QueueLimits.batchEntriesMax else { return nil }
            batch = places.map { deletes[$0] }
            for place in places.reversed() { deletes.remove(at: place) }
        }
        deletesNumber += 1
        deletesUnderWay.append(Deletes(number: deletesNumber, messages: batch))
        return batch
    }

    /// Takes out a delete request that was answered.
    /// - Parameter messages: those of the request; `nil`: the one that left first.
    mutating func endDeletes(of messages: [WorkMessage]?) -> Deletes? {
        // A group is in no two of them.
        let place = deletesUnderWay.firstIndex { request in
            messages == nil || request.messages.first?.handle == messages?.first?.handle
        }
        return place.map { deletesUnderWay.remove(at: $0) }
    }

    /// Whether deletes fail, after a request of them was answered. Answers come in any order, and the request that left last
    /// knows best: what left before it says nothing new, except of a group whose deletes fail.
    mutating func judgeDeletes(_ request: Deletes, failed: [WorkMessage], isRequestLost: Bool) -> Bool {
        let groups = Set(failed.map(\.group))
        if let group = groups.first, groups.count == 1, !isRequestLost {
            loneFailure = (group, loneFailure?.group == group ? (loneFailure?.count ?? 0) + 1 : 1)
        } else if !groups.isEmpty || request.messages.contains(where: { $0.group == loneFailure?.group }) {
            loneFailure = nil
        }
        guard request.number > judgedNumber else { return areDeletesFailing }
        judgedNumber = request.number
        let isAnyAnswered = failed.count < request.messages.count
        return !groups.isEmpty && !isAnyAnswered && (loneFailure?.count ?? 0) <= ShardState.loneFailuresMax
    }
}
