// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

/// A redrive's machine, whose messages and effects are words: `a0` is number 0 and of the group `a`.
struct MoveStage {
    /// What the machine is told, in words.
    enum Step: Sendable {
        case start
        /// `a0 b1>x c2>-`: home is `home.fifo`, `x.fifo`, not known.
        case got(String)
        case cannotRead(ShardError)
        case sent([ShardError?])
        case deleted([DeleteOutcome])
        case gaveBack
        case timer
        case cancel
    }

    private(set) var machine: MoveMachine
    private(set) var now = Timestamp(milliseconds: 1_800_000_000_000)
    private var wakeAt: Timestamp?

    init(shards: Int = 1, destination: String? = nil, perSecondMax: Int? = nil) throws {
        machine = MoveMachine(
            source: try #require(PoolName("dead.fifo")), shardCount: shards,
            destination: try destination.map { try #require(PoolName($0)) }, perSecondMax: perSecondMax, toMove: 0)
    }

    /// Tells the machine, and says what it wants done.
    mutating func tell(_ step: Step) throws -> [String] {
        let event: MoveMachine.Event
        switch step {
        case .start: event = .start
        case .got(let words): event = .received(.success(try words.split(separator: " ").map(MoveStage.arrival)))
        case .cannotRead(let error): event = .received(.failure(error))
        case .sent(let answers): event = .sent(answers)
        case .deleted(let outcomes): event = .deleted(outcomes)
        case .gaveBack: event = .gaveBack
        case .timer:
            now = wakeAt ?? now
            event = .timer
        case .cancel: event = .cancel
        }
        let effects = machine.handle(event, now: now)
        for case .wake(let time) in effects { wakeAt = time }
        return effects.map { MoveStage.text($0, now) }
    }

    private static func arrival(_ word: Substring) throws -> MoveMachine.Arrival {
        let parts = word.split(separator: ">")
        let home = parts.count == 1 ? "home" : String(parts[1])
        return MoveMachine.Arrival(
            message: try message(String(parts[0])),
            home: home == "-" ? nil : PoolName(home + ".fifo"))
    }

    /// A message that is named by its group, one letter, and its number.
    static func message(_ name: String, receiveCount: UInt32 = 1) throws -> ReceivedMessage {
        let group = try #require(name.utf8.first)
        let number = try #require(Int64(name.dropFirst()))
        let record = Array(name.utf8).withUnsafeBytes {
            MessageRecord(group: [group], deduplicationID: Array(name.utf8), body: $0)
        }
        // The handle alone says which message it is.
        let sequence = SequenceNumber(rawValue: number << 8 | Int64(group))
        let tag = ShardTag(rawValue: 1)
        return ReceivedMessage(
            handle: ReceiptHandle(shard: tag, sequence: sequence, receiveCount: receiveCount, place: 0),
            messageID: MessageID(shard: tag, sequence: sequence), receiveCount: Int(receiveCount),
            firstReceivedAt: Timestamp(milliseconds: 0), storage: record.bytes, offset: 0, length: record.bytes.count)
    }

    static func name(_ handle: ReceiptHandle) -> String {
        let group = UInt8(truncatingIfNeeded: handle.sequence.rawValue)
        return "\(Character(UnicodeScalar(group)))\(handle.sequence.rawValue >> 8)"
    }

    private static func names(_ handles: [ReceiptHandle]) -> String {
        handles.map(name).joined(separator: " ")
    }

    private static func text(_ effect: MoveMachine.Effect, _ now: Timestamp) -> String {
        switch effect {
        case .receive(let command, let shard): "receive \(command.limit) of \(shard)"
        case .send(let messages, let pool): "send \(names(messages.map(\.handle))) to \(pool.stem)"
        case .delete(let handles, let shard): "delete \(names(handles)) of \(shard)"
        case .giveBack(let handles, let shard): "give back \(names(handles)) to \(shard)"
        case .wake(let time): "wait \(time - now)"
        case .end: "end"
        }
    }
}
