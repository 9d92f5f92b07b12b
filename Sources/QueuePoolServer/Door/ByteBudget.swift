// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Bytes that the process holds for all clients together: of requests that have not arrived whole, and of answers that
/// were not read. Each connection has bounds of its own; ten thousand of them at their bounds would fill any machine.
package final class ByteBudget: Sendable {
    /// In bytes.
    package let limit: Int
    private let held = Atomic(0)
    private let refusals = Atomic(0)

    package init(limit: Int) { self.limit = limit }

    /// Bytes held now.
    package var heldBytes: Int { held.load(ordering: .relaxed) }

    /// Times that a holder was told that there is no room.
    package var refusalCount: Int { refusals.load(ordering: .relaxed) }

    fileprivate func refuse() { refusals.wrappingAdd(1, ordering: .relaxed) }

    /// Says that somebody holds so many bytes more, or fewer. Never refuses.
    /// - Returns: whether all together are within the limit.
    @discardableResult
    func add(_ bytes: Int) -> Bool { held.wrappingAdd(bytes, ordering: .relaxed).newValue <= limit }
}

/// What one holder has of a budget; gives all of it back at the end.
struct HeldBytes: ~Copyable {
    private let budget: ByteBudget
    private(set) var bytes = 0

    init(of budget: ByteBudget) { self.budget = budget }

    deinit { if bytes != 0 { budget.add(-bytes) } }

    /// Says how many bytes it holds now.
    /// - Returns: whether that is within the limit; always if it holds no more than before. A refusal is counted.
    mutating func set(_ now: Int) -> Bool {
        guard now != bytes else { return true }
        let isMore = now > bytes
        let isWithin = budget.add(now - bytes)
        bytes = now
        if isWithin || !isMore { return true }
        budget.refuse()
        return false
    }
}
