// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

// The driver of `PollLine`: makes the looks that it asks for. An answer may come within the call that asked; what it leads
// to is queued and carried out by the loop that made the call, never from inside the answer, so the stack does not grow
// with the number of receivers. Threads carry out their own effects, side by side.

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

    /// Looks for messages; answers `true` when it found some and answered its caller, or has nobody left to answer.
    package typealias Attempt = @Sendable (_ look: Look, _ done: @escaping @Sendable (Bool) -> Void) -> Void

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
        attempt(Look(shard: nil, isLast: isLast, isFirst: true)) { [self] isServed in
            guard !isServed || Mutation.servedReceiverWaitsOn.isOn, !isLast else { return }
            state.withLock { $0.receivers[id] = Receiver(shard: shard, attempt: attempt) }
            handle(.arrive(id, shard: shard, deadline: deadline, ticket))
            // Told before it arrived, the line knew nothing of it.
            if isAbandoned() || isGone(shard) { handle(.abandoned(id)) }
            watch(shard)
        }
        return id
    }

    /// The receiver's client is gone: it makes a last look, which answers nothing, and is forgotten.
    package func abandoned(_ id: WaiterID) { handle(.abandoned(id)) }

    /// A message of a shard can be received that could not before. Cheap when nobody waits.
    package func wake(_ shard: ShardIndex) { handle(.woken(shard)) }

    /// A shard is worth another look at this time, though it will not say so.
    package func wake(_ shard: ShardIndex, at time: Timestamp) { handle(.visible(shard, at: time)) }

    /// Lets every receiver look a last time.
    package func close() { handle(.close) }

    /// Visibility timeouts were set: one may end before the timer rings.
    package func rearm() { if waiterCount > 0 { watch(nil) } }

    /// Tells the line when messages become visible by themselves.
    private func watch(_ shard: ShardIndex?) {
        let (shards, nextVisibleAt) = state.withLock { ($0.shards, $0.nextVisibleAt) }
        for shard in shard.map({ [$0] }) ?? shards {
            if let at = nextVisibleAt(shard) { handle(.visible(shard, at: at)) }
        }
    }

    private func isGone(_ shard: ShardIndex?) -> Bool {
        guard let shard else { return false }
        return state.withLock { !$0.shards.contains(shard) }
    }

    private func handle(_ event: PollLine.Event) {
        let now = clock.now()
        let effects = state.withLock { $0.line.handle(event, now: now) }
        if !effects.isEmpty { Loop(self).run(effects) }
    }

    // MARK: - Looks

    /// The effects of one event, and of the events that come while they are carried out.
    private final class Loop: Sendable {
        private struct Work {
            var effects: [PollLine.Effect] = []
            var done = 0
            var isOpen = true
        }

        private let hub: LongPollHub
        private let work = Mutex(Work())

        init(_ hub: LongPollHub) { self.hub = hub }

        func run(_ effects: [PollLine.Effect]) {
            work.withLock { $0.effects.append(contentsOf: effects) }
            while let effect = next() {
                switch effect {
                case .wake(let at): hub.clock.schedule(at: at) { [weak hub] in hub?.handle(.timer) }
                case .look(let id, let shard, let isLast): look(id, shard, isLast)
                }
            }
        }

        private func next() -> PollLine.Effect? {
            work.withLock { work in
                guard work.done < work.effects.count else {
                    work.isOpen = false
                    return nil
                }
                defer { work.done += 1 }
                return work.effects[work.done]
            }
        }

        private func look(_ id: WaiterID, _ shard: ShardIndex?, _ isLast: Bool) {
            guard let receiver = hub.state.withLock({ $0.receivers[id] }) else { return }
            receiver.attempt(Look(shard: shard, isLast: isLast, isFirst: false)) { [self] isServed in
                ended(id, isServed: isServed)
                if !isServed, !isLast { hub.watch(shard ?? receiver.shard) }
            }
        }

        private func ended(_ id: WaiterID, isServed: Bool) {
            let now = hub.clock.now()
            let effects = hub.state.withLock { state in
                let effects = state.line.handle(.lookEnded(id, isServed: isServed), now: now)
                if !state.line.knows(id) { state.receivers[id] = nil }
                return effects
            }
            guard !effects.isEmpty else { return }
            let isTaken = work.withLock { work in
                if work.isOpen { work.effects.append(contentsOf: effects) }
                return work.isOpen
            }
            if !isTaken { Loop(hub).run(effects) }
        }
    }
}
