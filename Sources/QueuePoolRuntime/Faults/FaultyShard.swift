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
        guard let each = shard as? any EntryShard else { return FaultyShard(shard, faults: faults, clock: clock) }
        return FaultyEntryShard(each, faults: faults, clock: clock)
    }

    package func remove(name: String, address: ShardAddress?) throws { try inner.remove(name: name, address: address) }

    package func removeShards(except names: Set<String>) throws -> [String] { try inner.removeShards(except: names) }
}

/// Injects faults into a shard that answers for each entry. Needs no lock: like the class that it inherits from, it holds
/// constants that are themselves `Sendable`.
final class FaultyEntryShard: FaultyShard, EntryShard, @unchecked Sendable {
    private let entries: any EntryShard

    init(_ inner: any EntryShard, faults: InjectedFaults, clock: any Clock) {
        entries = inner
        super.init(inner, faults: faults, clock: clock)
    }

    func sendEach(_ messages: [OutgoingMessage], completion: @escaping @Sendable (EntryAnswers) -> Void) {
        perform { [entries] in
            entries.sendEach(messages, completion: completion)
        } orElse: {
            completion(.failed(.retryable))
        }
    }
}

/// Injects faults into a shard; `FaultyEntryShard` is the other kind. Unchecked, because a class that is inherited from
/// cannot be checked: all that both have is constant and itself `Sendable`.
class FaultyShard: Shard, @unchecked Sendable {
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
    var storesBatchesWhole: Bool { inner.storesBatchesWhole }
    var waitsRemotely: Bool { inner.waitsRemotely }

    func sendWhenReady(
        _ pull: @escaping @Sendable () -> [OutgoingMessage],
        completion: @escaping @Sendable (Result<[SendReceipt], ShardError>) -> Void
    ) {
        perform { [inner] in
            inner.sendWhenReady(pull, completion: completion)
        } orElse: {
            completion(pull().isEmpty ? .success([]) : .failure(.injected))
        }
    }

    func send(
        _ messages: [OutgoingMessage], completion: @escaping @Sendable (Result<[SendReceipt], ShardError>) -> Void
    ) {
        perform { [inner] in
            inner.send(messages, completion: completion)
        } orElse: {
            completion(.failure(.injected))
        }
    }

    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (Result<[ReceivedMessage], ShardError>) -> Void
    ) {
        perform { [inner] in
            inner.receive(command, completion: completion)
        } orElse: {
            completion(.failure(.injected))
        }
    }

    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        perform { [inner] in
            inner.delete(handles, completion: completion)
        } orElse: {
            completion(handles.map { _ in .failed(.injected) })
        }
    }

    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) {
        perform { [inner] in
            inner.changeVisibility(changes, completion: completion)
        } orElse: {
            completion(changes.map { _ in .failed(.injected) })
        }
    }

    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) {
        inner.purge(completion: completion)
    }
    func setAttributes(_ attributes: QueueAttributes) { inner.setAttributes(attributes) }
    func counts() -> ShardCounts { inner.counts() }
    func nextVisibleAt() -> Timestamp? { inner.nextVisibleAt() }
    func onReady(_ notify: @escaping @Sendable () -> Void) { inner.onReady(notify) }
    func onEvent(_ report: @escaping @Sendable (ShardEvent) -> Void) { inner.onEvent(report) }
    func setDeadLetterSink(_ sink: DeadLetterSink?) { inner.setDeadLetterSink(sink) }
    func close() { inner.close() }

    fileprivate func perform(_ body: @escaping @Sendable () -> Void, orElse fail: @escaping @Sendable () -> Void) {
        let isFault = faults.errorRate > 0 && Double.random(in: 0..<1) < faults.errorRate
        let action = isFault ? fail : body
        guard faults.latencyMilliseconds > 0 else { return action() }
        clock.schedule(at: clock.now() + Int64(faults.latencyMilliseconds), action)
    }
}
