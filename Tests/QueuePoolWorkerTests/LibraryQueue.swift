// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolWorker
import Synchronization

/// A queue of two shards in memory, as a program that uses the library would write it. What is hidden stays so until it is
/// deleted or given back.
final class LibraryQueue: MessageQueue {
    struct Gone: Error {}

    private struct Entry {
        let message: QueuedMessage
        var isHidden = false
        var receiveCount = 0
    }

    private struct State {
        var entries: [String: [Entry]] = [:]
        var deleted: [String] = []
        var givenBack: [String] = []
        var letters: [DeadLetter] = []
        var receivesOut = 0
        var handles = 0
        var failures: [String] = []
    }

    static let shardNames = ["p-0000.fifo", "p-0001.fifo"]
    private let state = Mutex(State())

    var deleted: [String] { state.withLock { $0.deleted } }
    /// In the order in which they were given back.
    var givenBack: [String] { state.withLock { $0.givenBack } }
    var letters: [DeadLetter] { state.withLock { $0.letters } }
    var receivesOut: Int { state.withLock { $0.receivesOut } }
    var count: Int { state.withLock { $0.entries.values.reduce(0) { $0 + $1.count } } }

    /// The next calls of these names throw.
    func fail(_ calls: String...) { state.withLock { $0.failures += calls } }

    func put(_ id: String, group: String, shard: Int = 0, attributes: [String: Message.Attribute] = [:]) {
        let message = QueuedMessage(
            id: id, handle: "", group: group, body: Array(("body of " + id).utf8), attributes: attributes)
        state.withLock { $0.entries[LibraryQueue.shardNames[shard], default: []].append(Entry(message: message)) }
    }

    func shards() async throws -> [String] {
        try check("shards")
        return LibraryQueue.shardNames
    }

    func receive(from shard: String, visibilitySeconds: Int, waitSeconds: Int) async throws -> [QueuedMessage] {
        try check("receive")
        state.withLock { $0.receivesOut += 1 }
        defer { state.withLock { $0.receivesOut -= 1 } }
        while true {
            let found = take(shard)
            if !found.isEmpty || waitSeconds == 0 { return found }
            try await Task.sleep(for: .milliseconds(1))
        }
    }

    private func take(_ shard: String) -> [QueuedMessage] {
        state.withLock { state in
            var entries = state.entries[shard] ?? []
            let closed = Set(entries.filter(\.isHidden).map(\.message.group))
            var found: [QueuedMessage] = []
            for place in entries.indices where found.count < 10 && !closed.contains(entries[place].message.group) {
                state.handles += 1
                entries[place].isHidden = true
                entries[place].receiveCount += 1
                var message = entries[place].message
                message.handle = "\(message.id)#\(state.handles)"
                message.receiveCount = entries[place].receiveCount
                found.append(message)
            }
            state.entries[shard] = entries
            return found
        }
    }

    func delete(_ handles: [String], from shard: String) async throws -> [QueueOutcome] {
        try check("delete")
        return each(handles, shard) { state, place in
            state.deleted.append(state.entries[shard]?.remove(at: place).message.id ?? "")
        }
    }

    func changeVisibility(_ handles: [String], seconds: Int, in shard: String) async throws -> [QueueOutcome] {
        try check("changeVisibility")
        return each(handles, shard) { state, place in
            guard seconds == 0 else { return }
            state.entries[shard]?[place].isHidden = false
            state.givenBack.append(state.entries[shard]?[place].message.id ?? "")
        }
    }

    func sendToDeadLetters(_ letter: DeadLetter) async throws {
        try check("sendToDeadLetters")
        state.withLock { $0.letters.append(letter) }
    }

    private func each(
        _ handles: [String], _ shard: String, _ body: (inout State, _ place: Int) -> Void
    ) -> [QueueOutcome] {
        state.withLock { state in
            handles.map { handle in
                let id = handle.prefix { $0 != "#" }
                let place = state.entries[shard]?.firstIndex { $0.message.id == id && $0.isHidden }
                guard let place else { return .lost }
                body(&state, place)
                return .done
            }
        }
    }

    private func check(_ call: String) throws {
        let fails = state.withLock { state in
            guard let place = state.failures.firstIndex(of: call) else { return false }
            state.failures.remove(at: place)
            return true
        }
        if fails { throw Gone() }
    }
}
