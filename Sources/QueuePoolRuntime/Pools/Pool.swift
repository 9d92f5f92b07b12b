// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import Synchronization

// A pool at work: its topology, its router, its shards, and the doors through which everybody receives and deletes. It lives
// as long as its name. A new topology is something that happens to it: who waits here waits on, and a shard that is in both
// topologies notices nothing.

/// One logical FIFO queue over N shards.
package final class Pool: Sendable {
    /// A shard that the topology names no more and that is not closed yet.
    package struct Leaving: Sendable {
        package let shard: PoolShard
        let backend: PoolBackend
        let address: ShardAddress?
        /// Its end has begun: it does not come back.
        var isClosing = false

        /// Whether a definition names this very queue.
        func isNamed(by definition: PoolDefinition) -> Bool {
            backend == definition.backend && address == definition.addresses[shard.index]
                && definition.topology.shards.contains { $0.index == shard.index && $0.name == shard.name }
        }
    }

    /// What a pool is right now; replaced as a whole.
    package struct Snapshot: Sendable {
        package var definition: PoolDefinition
        package var attributes: QueueAttributes
        /// Requests a second for each action and shard; `nil` is no limit.
        package fileprivate(set) var quota: Int?
        package fileprivate(set) var shards: [PoolShard]
        package fileprivate(set) var leaving: [Leaving] = []
        /// Where large bodies go.
        fileprivate(set) var bodyStore: (any BodyStore)?

        fileprivate init(
            _ definition: PoolDefinition, _ attributes: QueueAttributes, _ quota: Int?, _ shards: [PoolShard],
            _ bodies: BodyOptions?
        ) {
            bodyStore = bodies?.store(definition)
            self.definition = definition
            self.attributes = attributes
            self.quota = quota
            self.shards = shards
        }

        package var topology: Topology { definition.topology }
        package var isSingle: Bool { shards.count == 1 }
    }

    package let name: PoolName
    /// The way of every send.
    package let router: Router
    let bodyOptions: BodyOptions?
    let tracking: MessageTracking?
    /// Its shards are queues that cannot be asked for a message.
    let isRemote = Atomic(false)
    private let state: Mutex<Snapshot>
    let turn = Atomic(0)
    let clock: any Clock
    /// Where receivers wait.
    package let hub: LongPollHub
    let watch: ShardWatch
    let attempts = Mutex(AttemptShards())
    /// How many messages a receive asks for while answers are full of large bodies; those that are given back were counted.
    let smallLimit = Mutex<(limit: Int, until: Timestamp)?>(nil)
    /// Shards that left and are being closed.
    let closings = DispatchGroup()

    /// A pool over open shards.
    /// - Parameters:
    ///   - shards: all those that the topology names.
    ///   - bodies: `nil`: messages are as large as a queue takes them.
    ///   - tracking: `nil`: nobody keeps what became of messages.
    package init(
        definition: PoolDefinition, attributes: QueueAttributes, quota: Int? = nil, shards: [PoolShard],
        clock: any Clock, bodies: BodyOptions? = nil, tracking: MessageTracking? = nil
    ) {
        name = definition.name
        self.tracking = tracking
        isRemote.store(definition.backend == .sqs, ordering: .relaxed)
        router = Router(topology: definition.topology, shards: shards)
        state = Mutex(Snapshot(definition, attributes, quota, shards, bodies))
        bodyOptions = bodies
        self.clock = clock
        hub = LongPollHub(clock: clock, shards: shards.map(\.index), nextVisibleAt: Pool.visibility(of: shards))
        let hub = self.hub
        watch = ShardWatch(clock: clock, shards: shards) { hub.wake($0) }
        for shard in shards { listen(to: shard) }
    }

    private static func visibility(of shards: [PoolShard]) -> @Sendable (ShardIndex) -> Timestamp? {
        let byIndex = Dictionary(shards.map { ($0.index, $0.shard) }) { first, _ in first }
        return { byIndex[$0]?.nextVisibleAt() }
    }

    private func listen(to shard: PoolShard) {
        // Weakly: the hub asks the shards, and both would hold each other for ever.
        shard.shard.onReady { [weak hub, index = shard.index] in hub?.wake(index) }
    }

    package var snapshot: Snapshot { state.withLock { $0 } }

    package var attributes: QueueAttributes { state.withLock { $0.attributes } }

    /// Where large bodies go, and the largest message of the pool's queues in bytes; asked for at each send.
    var bodyPlace: (store: (any BodyStore)?, messageBytesMax: Int) {
        state.withLock { ($0.bodyStore, $0.attributes.maximumMessageSize) }
    }

    /// Whether requests over the quota are refused at once, as one SQS queue refuses them, instead of waiting.
    package var isThrottledAtOnce: Bool { state.withLock { $0.quota != nil && $0.isSingle } }

    // MARK: - Changes

    /// Takes over new attributes or tags, also in the shards.
    package func update(_ definition: PoolDefinition, _ attributes: QueueAttributes) {
        let shards = state.withLock { state in
            take(definition, &state)
            state.attributes = attributes
            return state.shards
        }
        for shard in shards { shard.shard.setAttributes(attributes) }
    }

    /// Takes over a new topology. Sends go by it from now on; receivers that wait see messages of new shards; those that wait
    /// at one shard that is not in it are answered. One change at a time.
    /// - Parameter shards: all those that the topology names. The ones that are here already stay as they are.
    /// - Returns: those that left. They are to be closed when `beginClosing` says so.
    package func adopt(
        _ definition: PoolDefinition, _ attributes: QueueAttributes, quota: Int?, shards: [PoolShard]
    ) -> [PoolShard] {
        let before = snapshot
        let stay = Set(shards.map(ObjectIdentifier.init))
        let known = Set((before.shards + before.leaving.map(\.shard)).map(ObjectIdentifier.init))
        let here = Set(before.shards.map(ObjectIdentifier.init))
        let gone = before.shards.filter { !stay.contains(ObjectIdentifier($0)) }
        let leaving = gone.map {
            Leaving(
                shard: $0, backend: before.definition.backend, address: before.definition.addresses[$0.index])
        }
        // Who receives knows a shard before anything is sent to it.
        watch.adopt(shards)
        hub.adopt(shards.map(\.index), nextVisibleAt: Pool.visibility(of: shards))
        state.withLock { state in
            take(definition, &state)
            state.attributes = attributes
            state.quota = quota
            state.shards = shards
            state.leaving = state.leaving.filter { !stay.contains(ObjectIdentifier($0.shard)) } + leaving
        }
        router.adopt(definition.topology, shards: shards)
        for shard in shards {
            shard.shard.setAttributes(attributes)
            if !known.contains(ObjectIdentifier(shard)) { listen(to: shard) }
        }
        for shard in gone { hub.leave(shard.index) }
        // What they held before anybody listened woke nobody.
        for shard in shards where !here.contains(ObjectIdentifier(shard)) { hub.wake(shard.index) }
        return gone
    }

    private func take(_ definition: PoolDefinition, _ state: inout Snapshot) {
        if state.definition.bodies != definition.bodies { state.bodyStore = bodyOptions?.store(definition) }
        isRemote.store(definition.backend == .sqs, ordering: .relaxed)
        state.definition = definition
    }

    /// Decides whether a shard that left is closed now: when nothing is under way to it any more.
    /// - Returns: whether the caller closes it, and calls `closed` then; `nil` if it is not leaving, or others close it.
    func beginClosing(_ shard: PoolShard) -> Bool? {
        state.withLock { state in
            guard let place = state.leaving.firstIndex(where: { $0.shard === shard }), !state.leaving[place].isClosing
            else { return nil }
            // A router counts what it sends under its lock, and names this shard no more: it stays at nothing.
            guard shard.underWay == 0, shard.sender.waitingEntries == 0 else { return false }
            state.leaving[place].isClosing = true
            closings.enter()
            return true
        }
    }

    /// A shard that left is closed.
    func closed(_ shard: PoolShard) {
        state.withLock { $0.leaving.removeAll { $0.shard === shard } }
        closings.leave()
    }

    /// All that is open, to be closed by the caller; for the pool's end.
    func beginClosingAll() -> [PoolShard] {
        state.withLock { state in
            let leaving = state.leaving.filter { !$0.isClosing }.map(\.shard)
            for place in state.leaving.indices { state.leaving[place].isClosing = true }
            return state.shards + leaving
        }
    }

    /// The shard that gave a receipt handle.
    package func shard(of handle: ReceiptHandle) -> PoolShard? {
        state.withLock { state in
            state.shards.first { $0.shard.tag == handle.shard }
                ?? state.leaving.first { $0.shard.shard.tag == handle.shard && !$0.isClosing }?.shard
        }
    }

    // MARK: - Sending

    /// Sends one message.
    package func send(
        _ message: OutgoingMessage, completion: @escaping @Sendable (Result<SendReceipt, ShardError>) -> Void
    ) {
        var request = SendRequest()
        request.add(message, at: 0) { result, _ in completion(result) }
        send(request)
    }

    /// Sends the messages of one request, answered together in their order.
    /// - Parameters:
    ///   - order: what the request has in common, if its door refused some of its entries already.
    ///   - positions: of the messages among the request's entries, ascending; `nil` if there are no others.
    package func send(
        _ messages: [OutgoingMessage], isPaid: Bool = false, order: RequestOrder? = nil, positions: [Int]? = nil,
        completion: @escaping @Sendable ([Result<SendReceipt, ShardError>]) -> Void
    ) {
        let gathering = Gathering<Result<SendReceipt, ShardError>>(
            count: messages.count, unknown: .failure(.unknownOutcome), completion)
        var request = SendRequest(order: order, isPaid: isPaid)
        request.add(messages, at: positions, gathering)
        send(request)
    }
}
