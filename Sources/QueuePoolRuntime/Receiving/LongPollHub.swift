// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// The driver of `PollLine`: makes the looks that it asks for. What a look finds at once it returns, and what that leads to
// is queued behind it, so the stack does not grow with the number of receivers. Threads carry out their own effects, side
// by side.

/// What waits for messages of one pool.
package final class LongPollHub: Sendable {
    /// How receivers look.
    package struct Look: Sendable {
        /// A shard that was woken; `nil`: all that the receiver may look at.
        package var shard: ShardIndex?
        /// Answers whatever it finds.
        package var isLast: Bool
        package var isFirst: Bool
    }

    /// How a look ended.
    package enum LookEnd: Sendable {
        /// It found messages and answered its caller, or has nobody left to answer.
        case served
        /// It found nothing; shards that it could not ask, and when they are worth another look.
        case unserved(retries: [(shard: ShardIndex, at: Timestamp)] = [])

        package var isServed: Bool { if case .served = self { true } else { false } }

        fileprivate var retries: [(shard: ShardIndex, at: Timestamp)] {
            if case .unserved(let retries) = self { retries } else { [] }
        }
    }

    /// Looks for messages. It returns its end if that is known at once, else `nil`; then it calls `done` once, later.
    package typealias Attempt = @Sendable (_ look: Look, _ done: @escaping @Sendable (LookEnd) -> Void) -> LookEnd?

    private struct Receiver {
        /// The shard that it looks at; `nil` for all of them.
        let shard: ShardIndex?
        let attempt: Attempt
    }

    private struct State {
        var line = PollLine()
        var receivers: [WaiterID: Receiver] = [:]
        var shards: [ShardIndex]
        var nextVisibleAt: @Sendable (ShardIndex) -> Timestamp?
    }

    private let state: Mutex<State>
    private let numbers = Atomic(0)
    private let clock: any Clock

    /// - Parameter nextVisibleAt: when a message of a shard may next become visible by itself; later than now.
    package init(
        clock: any Clock, shards: [ShardIndex],
        nextVisibleAt: @escaping @Sendable (ShardIndex) -> Timestamp?
    ) {
        self.clock = clock
        state = Mutex(State(shards: shards, nextVisibleAt: nextVisibleAt))
    }

    /// There are other shards from now on; who waits, waits on.
    package func adopt(
        _ shards: [ShardIndex], nextVisibleAt: @escaping @Sendable (ShardIndex) -> Timestamp?
    ) {
        state.withLock { state in
            state.shards = shards
            state.nextVisibleAt = nextVisibleAt
        }
    }

    /// A shard is gone: those that wait for it alone look a last time. One that comes later does so too, if `adopt` said
    /// that the shard is gone.
    package func leave(_ shard: ShardIndex) {
        let receivers = state.withLock { state in
            state.receivers.compactMap { $0.value.shard == shard ? $0.key : nil }.sorted()
        }
        for receiver in receivers { handle(.abandoned(receiver)) }
    }

    /// Receivers that wait.
    package var waiterCount: Int { state.withLock { $0.line.waiterCount } }

    /// Runs `attempt` now, and again on each wake-up until it succeeds or the deadline has come.
    /// - Parameter isAbandoned: whether the client is gone. It must be true before `abandoned` is called.
    /// - Returns: the receiver's name, for `abandoned`.
    @discardableResult
    package func poll(
        of shard: ShardIndex?, until deadline: Timestamp, isAbandoned: @escaping @Sendable () -> Bool = { false },
        _ attempt: @escaping Attempt
    ) -> WaiterID {
        let id = WaiterID(numbers.wrappingAdd(1, ordering: .relaxed).oldValue)
        let now = clock.now()
        let (ticket, isClosed) = state.withLock { ($0.line.ticket(of: shard, now: now), $0.line.isClosed) }
        let isLast = isClosed || now >= deadline
        let ended: @Sendable (LookEnd) -> Void = { [self] end in
            guard !end.isServed || Mutation.servedReceiverWaitsOn.isOn, !isLast else { return }
            state.withLock { $0.receivers[id] = Receiver(shard: shard, attempt: attempt) }
            handle(.arrive(id, shard: shard, deadline: deadline, ticket))
            // Told before it arrived, the line knew nothing of it.
            if isAbandoned() || isGone(shard) { handle(.abandoned(id)) }
            watch(shard)
            for retry in end.retries { handle(.visible(retry.shard, at: retry.at)) }
        }
        if let end = attempt(Look(shard: nil, isLast: isLast, isFirst: true), ended) { ended(end) }
        return id
    }

    /// The receiver's client is gone: it makes a last look, which answers nothing, and is forgotten.
    package func abandoned(_ id: WaiterID) { handle(.abandoned(id)) }

    /// A message of a shard can be received that could not before. Cheap when nobody waits.
    package func wake(_ shard: ShardIndex) { handle(.woken(shard)) }

    /// Lets every receiver look a last time.
    package func close() { handle(.close) }

    /// Visibility timeouts were set: one may end before the timer rings.
    package func rearm() { if waiterCount > 0 { watch(nil) } }

    /// Tells the line when messages become visible by themselves.
    private func watch(_ shard: ShardIndex?) { run(visibilities(of: shard).flatMap(decide)) }

    private func visibilities(of shard: ShardIndex?) -> [PollLine.Event] {
        let (shards, nextVisibleAt) = state.withLock { ($0.shards, $0.nextVisibleAt) }
        return (shard.map { [$0] } ?? shards).compactMap { shard in
            nextVisibleAt(shard).map { .visible(shard, at: $0) }
        }
    }

    private func isGone(_ shard: ShardIndex?) -> Bool {
        guard let shard else { return false }
        return state.withLock { !$0.shards.contains(shard) }
    }

    private func handle(_ event: PollLine.Event) { run(decide(event)) }

    private func decide(_ event: PollLine.Event) -> [PollLine.Effect] {
        let now = clock.now()
        return state.withLock { $0.line.handle(event, now: now) }
    }

    // MARK: - Looks

    /// Carries out effects, and those of the looks that end at once.
    private func run(_ effects: [PollLine.Effect]) {
        var line = effects
        var done = 0
        while done < line.count {
            switch line[done] {
            case .wake(let at): clock.schedule(at: at) { [weak self] in self?.handle(.timer) }
            case .look(let id, let shard, let isLast): line += look(id, shard, isLast)
            }
            done += 1
        }
    }

    /// - Returns: what the look leads to, if it ends at once.
    private func look(_ id: WaiterID, _ shard: ShardIndex?, _ isLast: Bool) -> [PollLine.Effect] {
        guard let receiver = state.withLock({ $0.receivers[id] }) else { return [] }
        let ended: @Sendable (LookEnd) -> [PollLine.Effect] = { [self] end in
            let effects = self.ended(id, isServed: end.isServed)
            guard !end.isServed, !isLast else { return effects }
            let retries = end.retries.map { PollLine.Event.visible($0.shard, at: $0.at) }
            return effects + (visibilities(of: shard ?? receiver.shard) + retries).flatMap(decide)
        }
        let known = receiver.attempt(Look(shard: shard, isLast: isLast, isFirst: false)) { [self] in run(ended($0)) }
        return known.map(ended) ?? []
    }

    private func ended(_ id: WaiterID, isServed: Bool) -> [PollLine.Effect] {
        let now = clock.now()
        return state.withLock { state in
            let effects = state.line.handle(.lookEnded(id, isServed: isServed), now: now)
            if !state.line.knows(id) { state.receivers[id] = nil }
            return effects
        }
    }
}
