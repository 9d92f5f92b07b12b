// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Synchronization

/// One program's way to shards that hold nothing. What a program must not do to shards is remembered.
final class IdleShards: ShardFactory {
    private struct State {
        var open: Set<String> = []
        var nextTag: UInt64 = 1
        var findings: [String] = []
    }

    private let state = Mutex(State())

    var open: Set<String> { state.withLock { $0.open } }
    var findings: [String] { state.withLock { $0.findings } }

    func open(name: String, attributes: QueueAttributes, address: ShardAddress?) throws -> any Shard {
        let tag = state.withLock { state in
            if !state.open.insert(name).inserted { state.findings.append("\(name) is open twice") }
            defer { state.nextTag += 1 }
            return ShardTag(rawValue: state.nextTag)
        }
        return IdleShard(name: name, tag: tag) { [self] in closed(name) }
    }

    func remove(name: String, address: ShardAddress?) throws {
        state.withLock { state in
            if state.open.contains(name) { state.findings.append("\(name) was removed while it was open") }
        }
    }

    private func closed(_ name: String) {
        state.withLock { state in
            if state.open.remove(name) == nil { state.findings.append("\(name) was closed twice") }
        }
    }
}

/// A shard to which nobody sends.
private final class IdleShard: Shard {
    let name: String
    let tag: ShardTag
    let traits = ShardTraits()
    private let onClose: @Sendable () -> Void

    init(name: String, tag: ShardTag, onClose: @escaping @Sendable () -> Void) {
        self.name = name
        self.tag = tag
        self.onClose = onClose
    }

    func submit(_ batch: ShardBatch, completion: @escaping @Sendable (EntryAnswers) -> Void) {
        assertionFailure("nothing is sent to an idle shard")
    }
    func receive(
        _ command: ReceiveCommand, completion: @escaping @Sendable (ReceiveAnswer) -> Void
    ) -> ReceiveAnswer? { .success([]) }
    func delete(_ handles: [ReceiptHandle], completion: @escaping @Sendable ([DeleteOutcome]) -> Void) {
        completion(handles.map { _ in .notOurs })
    }
    func changeVisibility(
        _ changes: [(handle: ReceiptHandle, seconds: Int)],
        completion: @escaping @Sendable ([VisibilityDecision]) -> Void
    ) -> [VisibilityDecision]? { changes.map { _ in .notOurs } }
    func purge(completion: @escaping @Sendable (Result<Int, ShardError>) -> Void) { completion(.success(0)) }
    func setAttributes(_ attributes: QueueAttributes) {}
    func counts() -> ShardCounts { ShardCounts() }
    func nextVisibleAt() -> Timestamp? { nil }
    func onReady(_ notify: @escaping @Sendable () -> Void) {}
    func setDeadLetterSink(_ sink: DeadLetterSink?) {}
    func close() { onClose() }
}
