// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Redrive: messages of a dead-letter queue go back to where they came from, or to a queue of the caller's choice. Order
// within a group is kept: the source is read shard after shard, ten at a time; a message is deleted there only when it is
// stored at its destination, and once one of a group was not stored, those behind it are not sent either. What fails for
// now is tried again for half a minute; then the task ends as failed and gives back what it holds, the last message of a
// group first. A message whose home is not known is left where it is, and the task goes on with the others. A message
// that was stored but not yet deleted when the task broke off is caught as a duplicate if the task is started again within
// five minutes.
//
// A rate is of messages, not of requests: a receive asks for no more than may be moved now, and each message that was
// moved takes a token. It takes it when it is stored, so that a destination that was away does not get more at once
// afterwards than a second's worth.
//
// One thing is under way at a time, so there is at most one effect, and each event answers the last one; what does not is
// ignored.

/// The decisions of one redrive. Pure: time and answers come in, effects go out.
public struct MoveMachine: Sendable {
    /// A message of the source.
    public struct Arrival: Sendable {
        let message: ReceivedMessage
        let home: PoolName?

        /// - Parameter home: the pool that it came from; `nil` if nobody knows, or if it is asked for by nobody because
        ///   all go to one destination.
        public init(message: ReceivedMessage, home: PoolName?) {
            self.message = message
            self.home = home
        }
    }

    /// What the machine is told.
    public enum Event: Sendable {
        case start
        case received(Result<[Arrival], ShardError>)
        /// Why each message of a `send` was not stored, in order; `nil` if it was.
        case sent([ShardError?])
        case deleted([DeleteOutcome])
        case gaveBack
        /// The time has come for which it asked by `wake`.
        case timer
        /// Somebody wants it to end after what is under way.
        case cancel
    }

    /// What its driver is to do; shards are places in the list of the source's shards.
    public enum Effect: Sendable {
        case receive(ReceiveCommand, shard: Int)
        /// Send these as one request, in order.
        case send([ReceivedMessage], to: PoolName)
        case delete([ReceiptHandle], shard: Int)
        /// Make these visible again, in this order.
        case giveBack([ReceiptHandle], shard: Int)
        case wake(at: Timestamp)
        /// It is over, and holds nothing.
        case end
    }

    private enum Stage: Sendable {
        case idle
        case receiving(MovePatience)
        case waitingToReceive(MovePatience)
        case sending(MoveBatch)
        case waitingToSend(MoveBatch)
        case deleting(Deletion)
        case waitingToDelete(Deletion)
        case pacing(MovePatience)
        /// What was not stored and what had nowhere to go goes back, at the end of a shard or of the whole.
        case leaving(MoveReturns)
        case over
    }

    private struct Deletion: Sendable {
        let moved: Int
        /// Not stored, in order.
        let rest: [ReceiptHandle]
        var left: [ReceiptHandle]
        var patience = MovePatience()
        /// Why sending ended.
        let failure: String?
        /// Why something that is stored could not be deleted.
        var undeleted: String?
    }

    /// Where it stands.
    public private(set) var report: MoveReport
    private let source: PoolName
    private let destination: PoolName?
    private let shardCount: Int
    private let perSecondMax: Int?
    /// What may be moved now; `nil` until the start, and without a rate.
    private var tokens: TokenBucket?
    private var stage = Stage.idle
    private var shard = 0
    private var leftovers = MoveLeftovers()
    private var homeless = 0
    private var failure: String?

    /// Longer than all tries together.
    public static let visibilitySeconds = 120
    /// So many that reading on would take longer than they stay hidden.
    private static let leftoversMax = 10_000

    /// - Parameters:
    ///   - shardCount: shards of the source.
    ///   - destination: `nil`: each message's own home.
    ///   - perSecondMax: messages a second, 1...500; `nil` for as fast as it goes.
    ///   - toMove: messages that wait in the source.
    public init(source: PoolName, shardCount: Int, destination: PoolName?, perSecondMax: Int?, toMove: Int) {
        self.source = source
        self.shardCount = shardCount
        self.destination = destination
        self.perSecondMax = perSecondMax
        report = MoveReport(toMove: toMove)
    }

    /// - Returns: what is to be done; nothing upon `cancel`, and upon what does not answer the last effect.
    public mutating func handle(_ event: Event, now: Timestamp) -> [Effect] {
        switch (stage, event) {
        case (_, .cancel):
            if report.status == .running { report.status = .cancelling }
            return []
        case (.idle, .start):
            tokens = perSecondMax.map { TokenBucket(rate: $0, now: now) }
            return receive(MovePatience(), now)
        case (.pacing(let patience), .timer): return receive(patience, now)
        case (.receiving(let patience), .received(let result)): return received(result, patience, now)
        case (.waitingToReceive(let patience), .timer): return receive(patience, now)
        case (.sending(var batch), .sent(let answers)):
            batch.answered(answers)
            return send(batch, now)
        // Nothing of it is under way: it can go back as it is.
        case (.waitingToSend(let batch), .timer): return isRunning ? send(batch, now) : endSending(batch, nil, now)
        case (.deleting(let deletion), .deleted(let outcomes)): return deleted(outcomes, deletion, now)
        case (.waitingToDelete(let deletion), .timer): return delete(deletion, now)
        case (.leaving(let returns), .gaveBack): return leave(returns, now)
        default: return []
        }
    }

    private var isRunning: Bool { report.status == .running }

    // MARK: - Reading

    private mutating func receive(_ patience: MovePatience, _ now: Timestamp) -> [Effect] {
        guard isRunning, shard < shardCount else { return leave(MoveReturns(leftovers.inOrder), now) }
        var limit = QueueLimits.batchEntriesMax
        if var tokens {
            limit = min(limit, tokens.burst)
            let wait = tokens.wait(for: limit, now: now)
            self.tokens = tokens
            if wait > 0 {
                stage = .pacing(patience)
                return [.wake(at: now + wait)]
            }
        }
        stage = .receiving(patience)
        let command = ReceiveCommand(limit: limit, visibilitySeconds: MoveMachine.visibilitySeconds)
        return [.receive(command, shard: shard)]
    }

    private mutating func received(
        _ result: Result<[Arrival], ShardError>, _ patience: MovePatience, _ now: Timestamp
    ) -> [Effect] {
        switch result {
        case .success(let arrivals):
            return arrivals.isEmpty ? leave(MoveReturns(leftovers.inOrder), now) : take(arrivals, now)
        case .failure(let error):
            // A shard that does not answer is not an empty one.
            var patience = patience
            if isRunning, let delay = patience.delay() {
                stage = .waitingToReceive(patience)
                return [.wake(at: now + delay)]
            }
            failure = "the source could not be read (\(error.reason))"
            return leave(MoveReturns(leftovers.inOrder), now)
        }
    }

    private mutating func take(_ arrivals: [Arrival], _ now: Timestamp) -> [Effect] {
        var entries: [(message: ReceivedMessage, target: PoolName)] = []
        // Behind a message that stays, its group stays.
        var stays: Set<[UInt8]> = []
        for arrival in arrivals {
            let group = arrival.message.withView { Array($0.group) }
            if !stays.contains(group), let target = target(of: arrival) {
                entries.append((arrival.message, target))
            } else {
                stays.insert(group)
                leftovers.add(arrival.message)
            }
        }
        return send(MoveBatch(entries), now)
    }

    /// Where a message goes; never where it is. There it would be a duplicate of itself, and then be deleted.
    private func target(of arrival: Arrival) -> PoolName? {
        let target = destination ?? arrival.home
        return target == source ? nil : target
    }

    // MARK: - Sending

    private mutating func send(_ batch: MoveBatch, _ now: Timestamp) -> [Effect] {
        var batch = batch
        if let request = batch.nextRequest() {
            stage = .sending(batch)
            return [.send(request.messages, to: request.target)]
        }
        guard let error = batch.endRound(), isRunning else { return endSending(batch, nil, now) }
        guard error.isRetryable, let delay = batch.patience.delay() else {
            return endSending(batch, "the destination did not take a message (\(error.reason))", now)
        }
        stage = .waitingToSend(batch)
        return [.wake(at: now + delay)]
    }

    private mutating func endSending(_ batch: MoveBatch, _ failure: String?, _ now: Timestamp) -> [Effect] {
        tokens?.spend(batch.stored.count, now: now)
        let rest = batch.left.map(\.message.handle)
        return delete(
            Deletion(moved: batch.stored.count, rest: rest, left: batch.stored, failure: failure), now)
    }

    // MARK: - Deleting

    private mutating func delete(_ deletion: Deletion, _ now: Timestamp) -> [Effect] {
        guard deletion.left.isEmpty else {
            stage = .deleting(deletion)
            return [.delete(deletion.left, shard: shard)]
        }
        return endBatch(deletion, now)
    }

    private mutating func deleted(_ outcomes: [DeleteOutcome], _ deletion: Deletion, _ now: Timestamp) -> [Effect] {
        var deletion = deletion
        var failed: [(handle: ReceiptHandle, error: ShardError)] = []
        for (number, handle) in deletion.left.enumerated() {
            switch number < outcomes.count ? outcomes[number] : .failed(.unknownOutcome) {
            case .deleted: break
            case .expired: deletion.undeleted = deletion.undeleted ?? "the time to delete it was over"
            case .notOurs: deletion.undeleted = deletion.undeleted ?? "its shard does not know it"
            case .failed(let error) where error.root.isRetryable: failed.append((handle, error.root))
            case .failed(let error): deletion.undeleted = deletion.undeleted ?? error.root.reason
            }
        }
        deletion.left = failed.map(\.handle)
        guard let first = failed.first else { return delete(deletion, now) }
        // Also when it was cancelled: what is stored at its destination and not deleted here would be delivered twice.
        guard let delay = deletion.patience.delay() else {
            deletion.left = []
            deletion.undeleted = deletion.undeleted ?? first.error.reason
            return delete(deletion, now)
        }
        stage = .waitingToDelete(deletion)
        return [.wake(at: now + delay)]
    }

    // MARK: - What comes next

    private mutating func endBatch(_ batch: Deletion, _ now: Timestamp) -> [Effect] {
        report.moved += batch.moved
        failure = batch.failure ?? batch.undeleted.map { "a moved message could not be deleted (\($0))" }
        if failure == nil, leftovers.count >= MoveMachine.leftoversMax {
            failure = "\(leftovers.count) messages and more do not say which queue they came from"
        }
        guard failure == nil, isRunning else {
            // What had nowhere to go keeps its group, so of one group it is behind what was not stored.
            return leave(MoveReturns(batch.rest + leftovers.inOrder), now)
        }
        return receive(MovePatience(), now)
    }

    private mutating func leave(_ returns: MoveReturns, _ now: Timestamp) -> [Effect] {
        var returns = returns
        if let handles = returns.next() {
            stage = .leaving(returns)
            return [.giveBack(handles, shard: shard)]
        }
        homeless += leftovers.count
        leftovers = MoveLeftovers()
        shard += 1
        if failure == nil, isRunning, shard < shardCount { return receive(MovePatience(), now) }
        return end()
    }

    private mutating func end() -> [Effect] {
        if failure == nil, homeless > 0 { failure = "\(homeless) messages do not say which queue they came from" }
        report.status = failure != nil ? .failed : isRunning ? .completed : .cancelled
        report.failureReason = failure
        stage = .over
        return [.end]
    }
}
