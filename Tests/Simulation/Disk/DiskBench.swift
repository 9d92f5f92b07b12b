// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

@testable import QueuePoolEmbedded

/// Random numbers that several parts of a world draw from.
/// - Important: used by the thread of the simulation only.
final class SharedRandom: @unchecked Sendable {
    var numbers: SplitMix64
    init(seed: UInt64) { numbers = SplitMix64(seed: seed) }
}

/// What was answered; `nil` until it is.
/// - Important: used by the thread of the simulation only.
final class Answer<Value>: @unchecked Sendable { var value: Value? }

/// A simulated disk, and one process after another that keeps shards on it.
/// - Important: used by the thread of the simulation only.
final class DiskBench: @unchecked Sendable {
    let clock = ManualClock()
    let random: SharedRandom
    let disk: SimulatedDisk
    private let cacheBytesMax: Int
    private let keys: SimulatedKeys?
    private(set) var line: VirtualCommitLine
    private(set) var factory: SimulatedShardFactory

    init(seed: UInt64 = 1, bytesMax: Int = 1 << 40, cacheBytesMax: Int = 16 << 20, isSealed: Bool = false) {
        keys = isSealed ? SimulatedKeys(mayHavePlainRows: false) : nil
        random = SharedRandom(seed: seed)
        disk = SimulatedDisk(random: SplitMix64(seed: ~seed), bytesMax: bytesMax)
        self.cacheBytesMax = cacheBytesMax
        (line, factory) = DiskBench.process(clock, disk, random, cacheBytesMax, keys)
    }

    private static func process(
        _ clock: ManualClock, _ disk: SimulatedDisk, _ random: SharedRandom, _ cacheBytesMax: Int,
        _ keys: SimulatedKeys?
    ) -> (VirtualCommitLine, SimulatedShardFactory) {
        let line = VirtualCommitLine(clock: clock)
        let factory = SimulatedShardFactory(
            disk: disk, clock: clock, line: line, cacheBytesMax: cacheBytesMax, keys: keys,
            random: { random.numbers.next() })
        return (line, factory)
    }

    func open(_ name: String = "a-0000.fifo") throws -> any Shard {
        try factory.open(name: name, attributes: QueueAttributes())
    }

    /// Gives what is in line its turns.
    func run() { clock.advance(milliseconds: 0) }

    func pass(seconds: Int) { clock.advance(milliseconds: seconds * 1_000) }

    /// Cuts the power, and starts the next process.
    func crash() {
        line.stop()
        disk.crash(&random.numbers)
        (line, factory) = DiskBench.process(clock, disk, random, cacheBytesMax, keys)
    }

    /// Ends the process, and starts the next one.
    func kill() {
        line.stop()
        disk.kill()
        (line, factory) = DiskBench.process(clock, disk, random, cacheBytesMax, keys)
    }

    // MARK: - Calls that are answered before they return

    func send(_ shard: any Shard, _ messages: (group: String, id: String)...) -> Result<[SendReceipt], ShardError>? {
        let answer = Answer<Result<[SendReceipt], ShardError>>()
        shard.send(messages.map { DiskBench.message($0.group, $0.id) }) { answer.value = $0 }
        run()
        return answer.value
    }

    /// What a receive gets; `nil` if it fails.
    func receive(_ shard: any Shard, limit: Int = 10, seconds: Int = 30) -> [ReceivedMessage]? {
        let answer = Answer<Result<[ReceivedMessage], ShardError>>()
        let command = ReceiveCommand(limit: limit, visibilitySeconds: seconds)
        if let known = shard.receive(command, completion: { answer.value = $0 }) { answer.value = known }
        run()
        return try? answer.value?.get()
    }

    /// Whether all of them are deleted.
    func delete(_ shard: any Shard, _ messages: [ReceivedMessage]) -> Bool? {
        let answer = Answer<[DeleteOutcome]>()
        shard.delete(messages.map(\.handle)) { answer.value = $0 }
        run()
        return answer.value?.allSatisfy(\.isDeleted)
    }

    static func message(_ group: String, _ id: String) -> OutgoingMessage {
        let record = Array(id.utf8).withUnsafeBytes {
            MessageRecord(group: Array(group.utf8), deduplicationID: Array(id.utf8), body: $0)
        }
        return OutgoingMessage(record: record, groupHash: XXHash64.hash(group))
    }
}

extension DeleteOutcome {
    var isDeleted: Bool { if case .deleted = self { true } else { false } }
}

extension ReceivedMessage {
    var text: String { withView { String(decoding: $0.body, as: UTF8.self) } }
    var groupText: String { withView { String(decoding: $0.group, as: UTF8.self) } }
}
