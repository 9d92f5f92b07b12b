// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
package import QueuePoolCore
import QueuePoolSQS
import Synchronization

// A shard that is a FIFO queue of Amazon SQS, or of a service that speaks its protocol. Guarantees: a message is stored
// once the service says so and its digests are right (I1); a request whose answer is lost has an unknown outcome and is
// told as such, never as a failure; messages of one group never go into one request (the sender above sees to it).
//
// What is not as with a shard of our own: SQS does not say whether a send was a duplicate, so `isDuplicate` is always
// false; a long poll whose connection dies may have taken messages, which come back when their visibility timeout ends;
// counts are the service's approximate ones, asked for at most every five seconds; messages go to the dead-letter queue
// by the queue's own redrive policy; duplicates, expiry and dead-lettering are counted by nobody here; and the oldest age
// is that of what was received here in the last minute, when it was.

/// A remote FIFO queue.
package final class QueueShard: Shard {
    /// Milliseconds after which a request without an answer has an unknown outcome.
    package static let requestMilliseconds = 10_000

    struct State {
        var polled: PolledMessages
        var attributes: QueueAttributes
        var counts = ShardCounts.ofRemoteQueue
        var damaged = DamagedMessages()
        var ages = ReceivedAges()
        var countsAskedAt: Timestamp?
        var underWay = 0
        var isClosed = false
    }

    struct Callbacks {
        var ready: (@Sendable () -> Void)?
        var report: (@Sendable (ShardEvent) -> Void)?
    }

    private static let countsMilliseconds: Int64 = 5_000

    package let name: String
    package let tag: ShardTag
    package var traits: ShardTraits { ShardTraits(storesWholeBatches: false, pollsRemotely: true) }

    let client: QueueClient
    let deletes: HandleRequests
    let visibilityChanges: HandleRequests
    let clock: any Clock
    let state: Mutex<State>
    let callbacks = Mutex(Callbacks())
    private let idle = DispatchSemaphore(value: 0)

    package init(
        name: String, address: QueueAddress, attributes: QueueAttributes, caller: any AWSCaller, clock: any Clock
    ) {
        self.name = name
        // The same for every process, so that a receipt handle finds its shard through any of them.
        tag = ShardTag(rawValue: XXHash64.hash(address.endpoint + " " + address.queueURL))
        client = QueueClient(address: address, caller: caller, party: tag.rawValue)
        let seed = tag.rawValue
        deletes = HandleRequests(client: client, clock: clock, seed: seed, write: ClientRequest.delete(_:from:))
        visibilityChanges = HandleRequests(
            client: client, clock: clock, seed: seed + 1, write: ClientRequest.changeVisibility(_:in:))
        self.clock = clock
        let quota = AdaptiveQuota(.ofQueue(startingAt: nil), now: clock.now())
        state = Mutex(State(polled: PolledMessages(seed: seed, quota: quota), attributes: attributes))
    }

    package func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        guard begin() else {
            return clock.schedule(afterMilliseconds: 0) { completion(.failure(.closed)) }
        }
        let before = counts()
        client.perform(
            .purge(client.address.queueURL), timeoutMilliseconds: QueueShard.requestMilliseconds
        ) { [self] result in
            // How many there were nobody says exactly.
            let count = before.backlog + before.inFlight + before.delayed
            afterTheCall(result) { [self] in
                completion(result.map { _ in count }.mapError(\.asShardError))
                end()
            }
        }
    }

    /// Goes on with a result after the call that led to it: a request that was never sent may fail within it.
    func afterTheCall(_ result: Result<[UInt8], AWSError>, _ body: @escaping @Sendable () -> Void) {
        if case .failure(let error) = result, error.isOfUnsent {
            clock.schedule(afterMilliseconds: 0, body)
        } else {
            body()
        }
    }

    /// Receives, deletes and changes of visibility each begin anew at this rate, and follow what the service throttles.
    package func setQuota(_ requestsPerSecond: Int?) {
        let limits = AdaptiveQuota.Limits.ofQueue(startingAt: requestsPerSecond)
        let now = clock.now()
        state.withLock { $0.polled.set(quota: AdaptiveQuota(limits, now: now)) }
        deletes.set(quota: AdaptiveQuota(limits, now: now))
        visibilityChanges.set(quota: AdaptiveQuota(limits, now: now))
    }

    package func setAttributes(_ attributes: QueueAttributes) { state.withLock { $0.attributes = attributes } }

    /// The service's own, approximate and up to five seconds old.
    package func counts() -> ShardCounts {
        let now = clock.now()
        var (counts, mustAsk) = state.withLock { state in
            let isOld = state.countsAskedAt.map { now - $0 >= QueueShard.countsMilliseconds } ?? true
            if isOld, !state.isClosed { state.countsAskedAt = now }
            var counts = state.counts
            counts.oldestAgeMilliseconds = state.ages.oldest(now: now)
            return (counts, isOld && !state.isClosed)
        }
        counts.requests = client.counts.value
        if mustAsk { askCounts() }
        return counts
    }

    private func askCounts() {
        guard begin() else { return }
        client.perform(
            .attributes(ofQueue: client.address.queueURL), timeoutMilliseconds: QueueShard.requestMilliseconds
        ) { [self] result in
            if let body = try? result.get(), let texts = try? QueueAnswers.attributes(body) {
                func number(_ name: String) -> Int { texts[name].flatMap { Int($0) } ?? 0 }
                state.withLock { state in
                    state.counts.backlog = number("ApproximateNumberOfMessages")
                    state.counts.inFlight = number("ApproximateNumberOfMessagesNotVisible")
                    state.counts.delayed = number("ApproximateNumberOfMessagesDelayed")
                }
            }
            end()
        }
    }

    /// Nothing becomes visible by itself that a poll would not bring.
    package func nextVisibleAt() -> Timestamp? { nil }

    package func onReady(_ notify: @escaping @Sendable () -> Void) { callbacks.withLock { $0.ready = notify } }

    package func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) {
        callbacks.withLock { $0.report = report }
    }

    /// The queue's own redrive policy does it.
    package func setDeadLetterSink(_ sink: DeadLetterSink?) {}

    /// Gives back what nobody took, and waits for answers that are due, not for long polls.
    package func close() {
        let kept = state.withLock { state -> [ReceivedMessage]? in
            defer { state.isClosed = true }
            return state.isClosed ? nil : state.polled.takeAll()
        }
        guard let kept else { return }
        if !kept.isEmpty {
            let done = DispatchSemaphore(value: 0)
            release(kept) { done.signal() }
            _ = done.wait(timeout: .now() + .milliseconds(QueueShard.requestMilliseconds))
        }
        let isBusy = state.withLock { $0.underWay - $0.polled.pollCount > 0 }
        if isBusy { _ = idle.wait(timeout: .now() + .milliseconds(QueueShard.requestMilliseconds)) }
    }

    /// Counts a request that is under way.
    /// - Returns: `false` if the shard is closed.
    func begin() -> Bool {
        state.withLock { state in
            if !state.isClosed { state.underWay += 1 }
            return !state.isClosed
        }
    }

    func end() {
        let isIdle = state.withLock { state in
            state.underWay -= 1
            return state.isClosed && state.underWay <= state.polled.pollCount
        }
        if isIdle { idle.signal() }
    }
}
