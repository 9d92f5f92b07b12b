// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

/// The network between processes. What is sent arrives once, after a while, in any order, or not at all.
final class Wire: @unchecked Sendable {
    private let time: SimulatedTime
    private var random: SplitMix64
    /// Of what is sent, percent.
    var loss = 0
    /// Until when nothing goes to or from these hosts, by their names' places in the world.
    var cutOff: [ObjectIdentifier: Timestamp] = [:]

    private let longestWay: Int

    /// - Parameter longestWay: milliseconds.
    init(_ time: SimulatedTime, longestWay: Int, seed: UInt64) {
        self.time = time
        self.longestWay = longestWay
        random = SplitMix64(seed: seed)
    }

    /// Has `body` carried out at the other end, if it is alive then.
    func send(from sender: Host, to receiver: Host, _ body: @escaping @Sendable () -> Void) {
        guard sender.isAlive else { return }
        let delay = Int64(1 + random.below(random.chance(2) ? longestWay : 8))
        if random.chance(loss) || isCutOff(sender) || isCutOff(receiver) { return }
        time.schedule(after: delay, on: receiver) { [self] in
            if !isCutOff(receiver) { body() }
        }
    }

    private func isCutOff(_ host: Host) -> Bool {
        guard !cutOff.isEmpty else { return false }
        return cutOff[ObjectIdentifier(host)].map { $0 > time.now } ?? false
    }

    /// A request and its answer. Exactly one of them is called on the caller's side, unless that ends: `done` with the
    /// answer, or `late` after so many milliseconds of the caller's clock.
    func call<Answer: Sendable>(
        from caller: Host, to server: Host, timeout: Int64,
        _ request: @escaping @Sendable (_ reply: @escaping @Sendable (Answer) -> Void) -> Void,
        late: @escaping @Sendable () -> Void, done: @escaping @Sendable (Answer) -> Void
    ) {
        let once = Once()
        caller.schedule(afterMilliseconds: timeout) { if once.take() { late() } }
        send(from: caller, to: server) { [self] in
            request { answer in
                self.send(from: server, to: caller) { if once.take() { done(answer) } }
            }
        }
    }

    private final class Once: @unchecked Sendable {
        private var isTaken = false

        func take() -> Bool {
            defer { isTaken = true }
            return !isTaken
        }
    }
}
