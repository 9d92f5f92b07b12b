// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport

@testable import QueuePoolEmbedded

/// What callers of one shard know of it, and what the shard must not do to them.
/// - Important: used by the thread of the simulation only.
final class DiskModel: @unchecked Sendable {
    struct Message {
        let group: String
        let id: String
        var isAcknowledged = false
        /// Somebody asked to delete it and has no answer, or a bad one: it may be gone or not.
        var isMaybeDeleted = false
        var isDeleted = false
    }

    /// By sequence number, which is the order of the shard.
    private(set) var messages: [Int64: Message] = [:]
    /// The newest acknowledged message of each group.
    private var newest: [String: Int64] = [:]
    /// What must be handed out before what follows it, by group.
    private var heads: [String: Set<Int64>] = [:]
    private var numbers: [String: [Int64]] = [:]
    /// What is wrong; empty if nothing is.
    private(set) var faults: [String] = []
    private(set) var acknowledgedCount = 0
    private(set) var duplicateCount = 0
    private(set) var deletedCount = 0

    /// The newest acknowledged message of a group: a send that begins now comes after it.
    func newest(of group: String) -> Int64 { newest[group] ?? 0 }

    func acknowledged(_ receipt: SendReceipt, group: String, id: String, after newest: Int64) {
        let number = receipt.sequence.rawValue
        if receipt.isDuplicate {
            duplicateCount += 1
        } else {
            acknowledgedCount += 1
            if number <= newest { faults.append("\(id) was stored before what was acknowledged before it was sent") }
        }
        meet(number, group, id)
        messages[number]?.isAcknowledged = true
        self.newest[group] = max(self.newest(of: group), number)
        if let message = messages[number], !message.isDeleted, !message.isMaybeDeleted {
            heads[group, default: []].insert(number)
        }
    }

    /// Takes note of a message that is in the shard.
    private func meet(_ number: Int64, _ group: String, _ id: String) {
        if let known = messages[number] {
            if known.group != group || known.id != id { faults.append("\(known.id) became \(id)") }
            return
        }
        let milliseconds = Int64(QueueLimits.deduplicationSeconds) * 1_000
        for other in numbers[id] ?? [] where abs((other >> 20) - (number >> 20)) < milliseconds {
            faults.append("\(id) was stored twice within the interval")
        }
        numbers[id, default: []].append(number)
        messages[number] = Message(group: group, id: id)
    }

    func received(_ batch: [ReceivedMessage]) {
        var seen: Set<Int64> = []
        for received in batch {
            let number = received.handle.sequence.rawValue
            let (group, id) = (received.groupText, received.text)
            meet(number, group, id)
            if messages[number]?.isDeleted == true { faults.append("\(id) came back after its deletion") }
            for other in heads[group] ?? [] where other < number && !seen.contains(other) {
                faults.append("\(id) was handed out before \(messages[other]?.id ?? "")")
            }
            if !seen.insert(number).inserted { faults.append("\(id) was handed out twice at once") }
        }
    }

    func asksToDelete(_ handle: ReceiptHandle) {
        let number = handle.sequence.rawValue
        messages[number]?.isMaybeDeleted = true
        if let group = messages[number]?.group { heads[group]?.remove(number) }
    }

    func deleted(_ handle: ReceiptHandle) {
        messages[handle.sequence.rawValue]?.isDeleted = true
        deletedCount += 1
    }

    /// The shard is empty, says who received until nothing came.
    func isDrained() {
        for (_, message) in messages
        where message.isAcknowledged && !message.isDeleted && !message.isMaybeDeleted {
            faults.append("\(message.id) is lost")
        }
    }
}

/// Random steps of callers, disk and power against shards, which models judge.
/// - Important: used by the thread of the simulation only.
final class DiskWalk: @unchecked Sendable {
    static let names = ["a-0000.fifo", "a-0001.fifo", "a-0002.fifo"]

    let bench: DiskBench
    let models = DiskWalk.names.map { _ in DiskModel() }
    private var random: SplitMix64
    private var shards: [any Shard] = []
    private var handles: [[ReceiptHandle]] = DiskWalk.names.map { _ in [] }
    /// Sends to make again under the same id: their answer was bad, or never came.
    private var sent: [[(group: String, id: String)]] = DiskWalk.names.map { _ in [] }
    private var nextID = 0
    private var life = 0
    /// Everything that was answered, in order: equal for two runs of a seed. Numbers, because texts would cost more than
    /// what they tell of.
    private(set) var trace: [Int64] = []

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        bench = DiskBench(seed: seed, cacheBytesMax: seed % 3 == 0 ? 0 : 16 << 20, isSealed: seed % 4 == 0)
        bench.disk.faults.readsPerMillion = 2_000
        bench.disk.faults.writesPerMillion = 10_000
        bench.disk.faults.flushesPerMillion = 5_000
        bench.disk.faults.fullPerMillion = 5_000
        open()
    }

    var faults: [String] { models.flatMap(\.faults) }

    func step() {
        let place = random.below(shards.count)
        switch random.below(1_000) {
        case ..<330: send(place)
        case ..<400: resend(place)
        case ..<600: receive(place)
        case ..<750: delete(place)
        case ..<930: bench.clock.advance(milliseconds: random.below(50))
        case ..<960: bench.clock.advance(milliseconds: random.below(3_000))
        case ..<966: bench.pass(seconds: random.below(40))
        case ..<968: bench.pass(seconds: 200 + random.below(200))
        case ..<980: bench.disk.faults.operationToHaltAt = 1 + random.below(3)
        case ..<985: end { bench.crash() }
        case ..<990: end { bench.kill() }
        default: stop()
        }
        if bench.disk.isHalted { end { if random.chance(70) { bench.crash() } else { bench.kill() } } }
    }

    /// Takes out all that is left, from a disk that works.
    func drain() {
        bench.disk.faults = DiskFaults()
        end { bench.crash() }
        for place in shards.indices {
            while let batch = bench.receive(shards[place]), !batch.isEmpty {
                models[place].received(batch)
                batch.forEach { models[place].asksToDelete($0.handle) }
                guard bench.delete(shards[place], batch) == true else { break }
                batch.forEach { models[place].deleted($0.handle) }
            }
            models[place].isDrained()
        }
    }

    // MARK: - Callers

    private func send(_ place: Int) {
        let messages = (0...random.below(4)).map { _ in
            nextID += 1
            return (group: "g\(random.below(4))", id: "\(nextID)")
        }
        post(messages, place)
    }

    private func resend(_ place: Int) {
        guard !sent[place].isEmpty else { return }
        post([sent[place][random.below(sent[place].count)]], place)
    }

    private func post(_ messages: [(group: String, id: String)], _ place: Int) {
        sent[place].append(contentsOf: messages)
        if sent[place].count > 40 { sent[place].removeFirst(sent[place].count - 40) }
        let (model, life) = (models[place], life)
        let newest = messages.map { model.newest(of: $0.group) }
        shards[place].send(messages.map { DiskBench.message($0.group, $0.id) }) { [self] result in
            guard life == self.life else { return }
            guard case .success(let receipts) = result else { return trace.append(-1) }
            trace.append(contentsOf: receipts.map(\.sequence.rawValue))
            for (number, receipt) in receipts.enumerated() {
                let (group, id) = messages[number]
                model.acknowledged(receipt, group: group, id: id, after: newest[number])
            }
        }
    }

    private func receive(_ place: Int) {
        let life = life
        let command = ReceiveCommand(limit: 1 + random.below(10), visibilitySeconds: 1 + random.below(20))
        let received: @Sendable (ReceiveAnswer) -> Void = { [self] result in
            guard life == self.life, case .success(let batch) = result else { return }
            for message in batch {
                trace.append(message.handle.sequence.rawValue)
                trace.append(Int64(message.handle.receiveCount) << 32 | Int64(message.handle.incarnation))
            }
            models[place].received(batch)
            handles[place].append(contentsOf: batch.map(\.handle))
        }
        if let known = shards[place].receive(command, completion: received) { received(known) }
    }

    private func delete(_ place: Int) {
        guard !handles[place].isEmpty else { return }
        let (model, life) = (models[place], life)
        let count = 1 + random.below(min(5, handles[place].count))
        let chosen = (0..<count).map { _ in handles[place].remove(at: random.below(handles[place].count)) }
        chosen.forEach { model.asksToDelete($0) }
        shards[place].delete(chosen) { [self] outcomes in
            guard life == self.life else { return }
            trace.append(contentsOf: outcomes.map { $0.isDeleted ? -2 : -3 })
            for (handle, outcome) in zip(chosen, outcomes) where outcome.isDeleted { model.deleted(handle) }
        }
    }

    // MARK: - Processes

    private func end(_ body: () -> Void) {
        life += 1
        body()
        open()
    }

    /// A clean stop. What it was asked before is answered first.
    private func stop() {
        for shard in shards { shard.close() }
        if bench.disk.isHalted { return }
        open()
    }

    /// Opens every shard, by as many processes as that takes.
    private func open() {
        while true {
            do {
                shards = try DiskWalk.names.map { try bench.open($0) }
                return
            } catch {
                trace.append(-4)
                bench.crash()
            }
        }
    }
}
