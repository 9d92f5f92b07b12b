// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// Faults on purpose, for tests and benchmarks only: a shard that answers late, or not at all, as a throttled or ailing
// queue does. Off unless asked for by name. It is of the same kind as the shard behind it, and everything passes it on the
// way that it takes without it: what is proven with faults then holds for what runs without them.

/// How a shard is made to fail.
package struct InjectedFaults: Hashable, Sendable {
    /// Added before each request, milliseconds.
    package var latencyMilliseconds: Int
    /// Part of requests that fail without being carried out, 0...1.
    package var errorRate: Double

    package init(latencyMilliseconds: Int = 0, errorRate: Double = 0) {
        self.latencyMilliseconds = latencyMilliseconds
        self.errorRate = errorRate
    }

    package var isNone: Bool { latencyMilliseconds == 0 && errorRate == 0 }
}

/// A factory whose shards fail as told.
package struct FaultyShardFactory: ShardFactory {
    private let inner: any ShardFactory
    private let faults: InjectedFaults
    private let clock: any Clock

    package init(_ inner: any ShardFactory, faults: InjectedFaults, clock: any Clock) {
        self.inner = inner
        self.faults = faults
        self.clock = clock
    }

    package func open(name: String, attributes: QueueAttributes, address: ShardAddress?) throws -> any Shard {
        let shard = try inner.open(name: name, attributes: attributes, address: address)
        return FaultyShard(shard, faults: faults, clock: clock)
    }

    package func remove(name: String, address: ShardAddress?) throws { try inner.remove(name: name, address: address) }

    package func removeShards(except names: Set<String>) throws -> [String] { try inner.removeShards(except: names) }
}

/// Injects faults into a shard.
final class FaultyShard: Shard {
    private let inner: any Shard
    private let faults: InjectedFaults
    private let clock: any Clock

    init(_ inner: any Shard, faults: InjectedFaults, clock: any Clock) {
        self.inner = inner
        self.faults = faults
        self.clock = clock
    }

    var name: String { inner.name }
    var tag: ShardTag { inner.tag }
    var traits: ShardTraits { inner.traits }

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        // What is stored whole is tried by nobody again, and its senders are told the reason.
        let failure: RequestFailure = traits.storesWholeBatches ? .permanent(.injected) : .retryable
        perform(completion) { [inner] in
            inner.submit(batch, completion: completion)
            return nil
        } orElse: {
            batch.pull().isEmpty ? .entries([]) : .failed(failure)
        }
    }

    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? {
        perform(completion) { [inner] in
            inner.receive(command, completion: completion)
        } orElse: {
            .failure(.injected)
        }
    }

    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        perform(completion) { [inner] in
            inner.delete(handles, completion: completion)
            return nil
        } orElse: {
            handles.map { _ in .failed(.injected) }
        }
    }

    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? {
        perform(completion) { [inner] in
            inner.changeVisibility(changes, completion: completion)
        } orElse: {
            changes.map { _ in .failed(.injected) }
        }
    }

    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        inner.purge(completion: completion)
    }
    func setAttributes(_ attributes: QueueAttributes) { inner.setAttributes(attributes) }
    func setQuota(_ requestsPerSecond: Int?) { inner.setQuota(requestsPerSecond) }
    func counts() -> ShardCounts { inner.counts() }
    func nextVisibleAt() -> Timestamp? { inner.nextVisibleAt() }
    func onReady(_ notify: @escaping @Sendable () -> Void) { inner.onReady(notify) }
    func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) { inner.onEvent(report) }
    func setDeadLetterSink(_ sink: DeadLetterSink?) { inner.setDeadLetterSink(sink) }
    func close() { inner.close() }

    /// Passes a call on, at once or late; a fault answers by the clock.
    @discardableResult
    private func perform<Answer>(
        _ completion: @escaping @Sendable (Answer) -> Void, _ call: @escaping @Sendable () -> Answer?,
        orElse fail: @escaping @Sendable () -> Answer
    ) -> Answer? {
        let isFault = faults.errorRate > 0 && Double.random(in: 0..<1) < faults.errorRate
        guard isFault || faults.latencyMilliseconds > 0 else { return call() }
        clock.schedule(afterMilliseconds: Int64(faults.latencyMilliseconds)) {
            if let answer = isFault ? fail() : call() { completion(answer) }
        }
        return nil
    }
}
