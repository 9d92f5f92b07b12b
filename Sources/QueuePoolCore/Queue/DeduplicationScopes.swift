// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A change of scope on a queue that remembers ids. SQS goes on to judge by the old scope, for ids from before the change
// and new ones (recorded for the seconds after it); here it does so for one deduplication interval. From then on new ids are
// remembered by the new scope, and for another interval an id is looked for in both, because a message that was accepted
// under the old scope must not be accepted again (I3). What an opening restores may be of either scope.

/// By which scope ids are judged at a moment.
struct DeduplicationScopes: Sendable {
    private static var interval: Int64 { Int64(QueueLimits.deduplicationSeconds) * 1_000 }

    /// New ids are remembered by this one.
    private(set) var current: DeduplicationScope
    private var next: (scope: DeduplicationScope, at: Timestamp)?
    private var otherUntil = Timestamp.distantPast

    init(_ scope: DeduplicationScope) { current = scope }

    /// - Parameter isEmpty: whether no id is remembered.
    mutating func set(_ scope: DeduplicationScope, isEmpty: Bool, now: Timestamp) {
        if scope == current {
            next = nil
        } else if next?.scope != scope {
            next = (scope, now + DeduplicationScopes.interval)
        }
        advance(isEmpty: isEmpty, now: now)
    }

    mutating func advance(isEmpty: Bool, now: Timestamp) {
        guard let next, isEmpty || now >= next.at else { return }
        current = next.scope
        self.next = nil
        if !isEmpty { restored(now: now) }
    }

    /// Ids are remembered that may be of the other scope.
    mutating func restored(now: Timestamp) { otherUntil = now + DeduplicationScopes.interval }

    /// The scope in which an id that is new in `current` must be looked for as well.
    func other(now: Timestamp) -> DeduplicationScope? {
        guard now <= otherUntil else { return nil }
        return current == .queue ? .messageGroup : .queue
    }
}
