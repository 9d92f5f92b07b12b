// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolChecking
import QueuePoolCore
import QueuePoolRuntime

/// A server process: the real pool with its router, senders and long polls, over shards that the world gives it.
final class SimulatedRouter: @unchecked Sendable {
    let host: Host
    private let plan: WorldPlan
    /// Opens the shards anew, in the order of their numbers; `nil` if they cannot be opened now.
    private let openShards: (Host) -> [any Shard]?
    /// Called for what receivers get.
    private let onReceived: ([ReceivedMessage], Int) -> Void
    /// Called for visibility timeouts that were set.
    private let onChanged: (ReceiptHandle, Int) -> Void
    /// Called for what senders bring.
    private let onSent: ([OutgoingMessage]) -> Void
    /// Called for a promise that is broken here.
    private let onBroken: (Promise, String) -> Void
    private static let answerMilliseconds: Int64 = 60_000
    private var requestCount = 0
    private var unanswered: Set<Int> = []
    private var polls: [Poll] = []
    private(set) var pool: Pool?
    private var shards: [PoolShard] = []

    init(
        _ host: Host, _ plan: WorldPlan, openShards: @escaping (Host) -> [any Shard]?,
        onReceived: @escaping ([ReceivedMessage], Int) -> Void, onChanged: @escaping (ReceiptHandle, Int) -> Void,
        onSent: @escaping ([OutgoingMessage]) -> Void, onBroken: @escaping (Promise, String) -> Void
    ) {
        self.onSent = onSent
        self.onBroken = onBroken
        self.host = host
        self.onReceived = onReceived
        self.onChanged = onChanged
        self.plan = plan
        self.openShards = openShards
    }

    /// - Returns: whether it serves.
    func start() -> Bool {
        guard let opened = openShards(host) else { return false }
        let entriesMax = plan.isRemote ? 10 : plan.batchEntriesMax
        var limits = BatcherLimits(requestEntriesMax: entriesMax, requestBytesMax: 1 << 20)
        limits.waitingEntriesMax = plan.waitingEntriesMax
        shards = opened.enumerated().map { place, shard in
            PoolShard(
                index: ShardIndex(place), shard: shard, limits: limits, quota: plan.quota, clock: host,
                seed: plan.seed &+ UInt64(host.number * 64 + place + 1_000 * host.life))
        }
        pool = Pool(
            definition: plan.definition, attributes: plan.attributes, quota: plan.quota, shards: shards, clock: host)
        return true
    }

    func crash() {
        host.crash()
        pool = nil
        shards = []
        unanswered = []
        polls = []
    }

    /// Whether every send is answered.
    var isIdle: Bool { unanswered.isEmpty }

    /// Nothing is sent any more: nothing counts as under way.
    func judgeRest() {
        if let count = pool?.router.traffic.total, count != 0 {
            onBroken(.isolation, "\(count) messages count as under way, and none is")
        }
    }

    /// A receiver's request.
    final class Poll: @unchecked Sendable {
        /// `nil` for the whole pool.
        let shard: Int?
        fileprivate var since = Timestamp.distantPast
        fileprivate var waiter: WaiterID?
        fileprivate var isAbandoned = false
        fileprivate var answers = 0
        /// The receiver knows its end; its own.
        var isOver = false

        init(of shard: Int?) { self.shard = shard }
    }

    // MARK: - Requests that arrived

    func send(
        _ messages: [OutgoingMessage], _ reply: @escaping @Sendable ([Result<SendReceipt, ShardError>]) -> Void
    ) {
        guard let pool else { return }
        onSent(messages)
        requestCount += 1
        let number = requestCount
        unanswered.insert(number)
        // Two deadlines of a send, and then some: whoever waits is told something.
        host.schedule(afterMilliseconds: SimulatedRouter.answerMilliseconds) { [self] in
            if unanswered.contains(number) {
                onBroken(.nothingLost, "a send was not answered for a minute")
            }
        }
        pool.send(messages) { [self] results in
            unanswered.remove(number)
            reply(results)
        }
    }

    func receive(
        from shard: Int?, limit: Int, visibilitySeconds: Int, waitSeconds: Int, poll given: Poll? = nil,
        _ reply: @escaping @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) {
        guard let pool else { return }
        let command = ReceiveCommand(limit: limit, visibilitySeconds: visibilitySeconds)
        let poll = given ?? Poll(of: shard)
        poll.since = host.time.now
        polls.append(poll)
        poll.waiter = pool.receive(
            command, from: shard.map { shards[$0] }, waitSeconds: waitSeconds, isAbandoned: { poll.isAbandoned }
        ) { [self] answer in
            poll.answers += 1
            if poll.answers == 2 { onBroken(.nothingLost, "a receive was answered twice") }
            polls.removeAll { $0 === poll }
            if case .success(let messages) = answer { onReceived(messages, visibilitySeconds) }
            reply(answer)
        }
    }

    /// The receiver is gone.
    func abandon(_ poll: Poll) {
        poll.isAbandoned = true
        polls.removeAll { $0 === poll }
        if let waiter = poll.waiter { pool?.hub.abandoned(waiter) }
    }

    /// Whether somebody has waited for messages of a shard since then.
    func hasPoll(of shard: Int, since time: Timestamp) -> Bool {
        polls.contains { ($0.shard == nil || $0.shard == shard) && $0.since <= time }
    }

    func delete(
        _ handles: [ReceiptHandle], from shard: Int?, _ reply: @escaping @Sendable ([DeleteOutcome]) -> Void
    ) {
        pool?.delete(handles, in: shard.map { shards[$0] }, completion: reply)
    }

    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)], in shard: Int,
        _ reply: @escaping @Sendable ([Result<VisibilityDecision, ShardError>]) -> Void
    ) {
        pool?.changeVisibility(changes, in: shards[shard]) { [self] results in
            for (change, result) in zip(changes, results) {
                if case .success(.changed) = result { onChanged(change.handle, change.seconds) }
            }
            reply(results)
        }
    }
}
