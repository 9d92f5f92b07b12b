// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
import Synchronization

/// One redrive: does what a `MoveMachine` decides.
package final class MoveTask: Sendable {
    package typealias Status = MoveStatus
    package typealias Report = MoveReport

    package let handle: String
    package let source: PoolName
    /// `nil`: each message's own source.
    package let destination: PoolName?
    /// 1...500, or `nil` for as fast as it goes.
    package let perSecondMax: Int?
    package let startedAt: Timestamp
    /// The messages that are to move; `nil`: all.
    package let selection: Selection?
    /// Of a redrive of all.
    private let unreadableOfAll = UnreadableCounter()
    /// Until it has run: a task is kept long after its end, and the pools are not to be kept with it.
    private let pools: Mutex<(shards: [PoolShard], destination: Pool?)?>
    private let machine: Mutex<MoveMachine>
    private let homes: Homes
    private let clock: any Clock

    /// Finds the pool that a message came from.
    package struct Homes: Sendable {
        let byTag: @Sendable (ShardTag) -> Pool?
        let byName: @Sendable (String) -> Pool?
        let byQueue: @Sendable (SourceQueue) -> Pool?
        let byPolicy: @Sendable () -> Pool?

        /// - Parameters:
        ///   - byTag: the pool in which a shard's ids were given.
        ///   - byName: the pool of a name.
        ///   - byQueue: the pool that has a remote queue for a shard.
        ///   - byPolicy: the only pool whose dead letters come into the source; `nil` if there are none or several.
        package init(
            byTag: @escaping @Sendable (ShardTag) -> Pool?, byName: @escaping @Sendable (String) -> Pool?,
            byQueue: @escaping @Sendable (SourceQueue) -> Pool? = { _ in nil },
            byPolicy: @escaping @Sendable () -> Pool? = { nil }
        ) {
            self.byTag = byTag
            self.byName = byName
            self.byQueue = byQueue
            self.byPolicy = byPolicy
        }

        /// The latest move counts: what a worker noted may be older than that.
        fileprivate func home(of message: ReceivedMessage) -> Pool? {
            if let pool = message.originShard.flatMap(byTag) { return pool }
            let queue = message.sourceQueue
            if let pool = queue.flatMap(byQueue) { return pool }
            if let noted = message.notedPool { return byName(noted) }
            // Shards of our own always say where a message came from, but not every remote queue does.
            return message.remote != nil && queue == nil ? byPolicy() : nil
        }
    }

    /// - Parameters:
    ///   - handle: its name.
    ///   - destination: `nil`: each message goes where it came from.
    ///   - perSecondMax: 1...500, or `nil` for as fast as it goes.
    ///   - selection: the messages that are to move, all of `source`; `nil`: all that there are.
    package init(
        handle: String, source: Pool, destination: Pool?, perSecondMax: Int?, clock: any Clock, homes: Homes,
        selection: Selection? = nil
    ) {
        self.handle = handle
        self.selection = selection
        self.source = source.name
        self.destination = destination?.name
        self.perSecondMax = perSecondMax
        self.clock = clock
        self.homes = homes
        startedAt = clock.now()
        let shards = source.snapshot.shards
        pools = Mutex((shards, destination))
        machine = Mutex(
            MoveMachine(
                source: source.name, shardCount: shards.count, destination: destination?.name,
                perSecondMax: perSecondMax,
                toMove: selection?.count ?? shards.reduce(0) { $0 + $1.shard.counts().backlog }))
    }

    /// Where it stands.
    package var report: Report { machine.withLock { $0.report } }

    /// Messages that were to move and were not, because their bytes are damaged; of a redrive of all, those in the shards
    /// that it has read to their end.
    package var unreadable: Int { selection?.unreadable ?? unreadableOfAll.count }

    /// Asks the task to stop after what is under way.
    /// - Returns: messages moved so far, or `nil` if it is not running.
    package func cancel() -> Int? {
        machine.withLock { machine in
            guard machine.report.status == .running else { return nil }
            _ = machine.handle(.cancel, now: clock.now())
            return machine.report.moved
        }
    }

    /// Moves until the source is empty, something fails for good, or it is cancelled.
    package func run() async {
        guard let (shards, destination) = pools.withLock({ $0 }) else { return }
        var targets: [PoolName: Pool] = [:]
        var event = MoveMachine.Event.start
        while let effect = machine.withLock({ $0.handle(event, now: clock.now()) }).first {
            switch effect {
            case .receive(let command, let shard):
                let source = shards[shard].shard
                let result =
                    if let selection { await selection.receive(command, from: source) } else {
                        await unreadableOfAll.receive(command, from: source)
                    }
                // Pools as they are now: one may have come, or gone, since the last receive.
                targets = [:]
                event = .received(
                    result.map { messages in
                        messages.map { arrival($0, destination, &targets) }
                    })
            case .send(let messages, let target):
                event = .sent(await send(messages, to: targets[target]))
            case .delete(let handles, let shard):
                event = .deleted(
                    await withCheckedContinuation { continuation in
                        shards[shard].shard.delete(handles) { continuation.resume(returning: $0) }
                    })
            case .giveBack(let handles, let shard):
                _ = await shards[shard].shard.changeVisibility(handles.map { ($0, 0) })
                event = .gaveBack
            case .wake(let time):
                await clock.pause(milliseconds: time - clock.now())
                event = .timer
            case .end:
                pools.withLock { $0 = nil }
                return
            }
        }
    }

    private func arrival(
        _ message: ReceivedMessage, _ destination: Pool?, _ targets: inout [PoolName: Pool]
    ) -> MoveMachine.Arrival {
        let target = destination ?? homes.home(of: message)
        if let target { targets[target.name] = target }
        return MoveMachine.Arrival(message: message, home: target?.name)
    }

    private func send(_ messages: [ReceivedMessage], to target: Pool?) async -> [ShardError?] {
        // The machine sends only where an arrival or the destination named the pool.
        guard let target else { return messages.map { _ in .closed } }
        let results = await withCheckedContinuation { continuation in
            target.send(messages.map { $0.redriven() }) { continuation.resume(returning: $0) }
        }
        return results.map { result in
            if case .failure(let error) = result { error } else { nil }
        }
    }
}
