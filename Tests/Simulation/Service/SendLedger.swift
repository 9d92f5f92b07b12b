// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// What a router took in of a group it has stored in the order in which it took it in, whatever its senders were told and
// whether they still wait. A message that was sent again counts from its last time; one that another router, or another
// life of this one, took in too is compared with nothing.

/// What the routers took in, and what of it queues of the service stored.
struct SendLedger {
    private struct Life: Hashable {
        let router: Int
        let life: Int
    }

    private struct Book {
        var arrivals = 0
        var first: [Int: Int] = [:]
        var last: [Int: Int] = [:]
        /// The stored message of each group that first came latest.
        var stored: [UInt64: Int] = [:]
    }

    private var books: [Life: Book] = [:]

    mutating func tookIn(_ messages: some Sequence<Int>, router: Host) {
        var book = books[Life(router: router.number, life: router.life)] ?? Book()
        for message in messages {
            book.arrivals += 1
            if book.first[message] == nil { book.first[message] = book.arrivals }
            book.last[message] = book.arrivals
        }
        books[Life(router: router.number, life: router.life)] = book
    }

    /// A message is stored that was not there.
    /// - Parameter life: of the router whose request brought it.
    /// - Returns: the message that came after it and was stored before it, if there is one.
    mutating func stored(_ message: Int, group: UInt64, router: Host, life: Int) -> Int? {
        let key = Life(router: router.number, life: life)
        guard let first = books[key]?.first[message], let last = books[key]?.last[message] else { return nil }
        let before = books[key]?.stored[group]
        let beforeCame = before.flatMap { books[key]?.first[$0] } ?? 0
        if first > beforeCame { books[key]?.stored[group] = message }
        return beforeCame > last ? before : nil
    }
}
