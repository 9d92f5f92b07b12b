// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Delta debugging, algorithm ddmin: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE
// Transactions on Software Engineering 28(2), 2002. The items are cut into chunks; a chunk that fails alone, or the rest
// without a chunk, takes the items' place; when neither fails the chunks are halved. What is left can lose no single
// item without passing, unless the budget ended before that was known.

/// Makes a list of causes smaller while it still fails.
/// - Parameters:
///   - items: their order is kept.
///   - fails: must answer the same for the same items.
///   - budget: how often `fails` is asked at most.
/// - Returns: a part of `items` that failed; all of them if they do not fail, or `budget` is 0.
package func shrink<T>(_ items: [T], fails: ([T]) -> Bool, budget: Int) -> [T] {
    var left = budget
    func stillFails(_ items: [T]) -> Bool {
        guard left > 0 else { return false }
        left -= 1
        return fails(items)
    }

    guard stillFails(items) else { return items }
    // A failure that needs no cause is told at once: ddmin itself never tries nothing.
    if items.isEmpty || stillFails([]) { return [] }
    var items = items
    var chunks = 2
    while items.count >= 2, left > 0 {
        let bounds = (0...chunks).map { $0 * items.count / chunks }
        let parts = (0..<chunks).map { bounds[$0]..<bounds[$0 + 1] }
        if let part = parts.first(where: { stillFails(Array(items[$0])) }) {
            items = Array(items[part])
            chunks = 2
        } else if chunks > 2, let part = parts.first(where: { stillFails(without($0, items)) }) {
            // With two chunks, the rest without one is the other, which was tried.
            items = without(part, items)
            chunks -= 1
        } else if chunks < items.count {
            chunks = min(items.count, chunks * 2)
        } else {
            break
        }
        chunks = min(chunks, items.count)
    }
    return items
}

private func without<T>(_ part: Range<Int>, _ items: [T]) -> [T] {
    Array(items[..<part.lowerBound] + items[part.upperBound...])
}
