// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// What came from a shard while other receives of it were out, each for as long as one of those is.
struct Arrivals: Sendable {
    private struct Arrival {
        let receiveCount: Int
        /// The latest receive that had left.
        let until: Int
    }

    private var arrivals: [String: Arrival] = [:]
    /// In the order in which they came, so that the oldest are forgotten first.
    private var order: Deque<(id: String, until: Int)> = []

    var isEmpty: Bool { order.isEmpty }

    /// - Parameter number: of the latest receive that has left.
    mutating func note(_ message: WorkMessage, until number: Int) {
        arrivals[message.id] = Arrival(receiveCount: message.receiveCount, until: number)
        order.append((message.id, number))
    }

    /// How often a message had been received when it came, if it came while this receive was out.
    func count(of id: String, during number: Int) -> Int? {
        guard let arrival = arrivals[id], number <= arrival.until else { return nil }
        return arrival.receiveCount
    }

    /// - Parameter oldest: number of the oldest receive that is out.
    mutating func forget(before oldest: Int?) {
        while let first = order.first, oldest.map({ first.until < $0 }) ?? true {
            order.removeFirst()
            if arrivals[first.id]?.until == first.until { arrivals[first.id] = nil }
        }
    }
}

/// How much happened within the last while, about. Two windows are counted, the current one and the one before, which
/// counts as far as the while still reaches into it.
struct RecentCount: Sendable {
    private var began = Timestamp.distantPast
    private var current = 0
    private var former = 0

    /// - Parameter window: length of the while, in milliseconds; always the same.
    mutating func add(_ now: Timestamp, window: Int64) {
        let age = now - began
        if age >= window {
            former = age < 2 * window ? current : 0
            current = 0
            began = age < 2 * window ? began + window : now
        }
        current += 1
    }

    func count(_ now: Timestamp, window: Int64) -> Int {
        let age = now - began
        guard age < 2 * window else { return 0 }
        guard age < window else { return Int(Int64(current) * (2 * window - age) / window) }
        return current + Int(Int64(former) * (window - max(0, age)) / window)
    }
}
