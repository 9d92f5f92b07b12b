// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolTestSupport
import Testing

// A redrive against a model of its queues, in which everything fails now and then: reads, entries alone, answers that are
// lost after the message was stored, deletes, and the visibility timeouts of a task that takes too long.

private struct MoveModel {
    private struct Letter {
        let name: String
        let group: Character
        /// Where it belongs; `nil` if it has to stay.
        let target: PoolName?
        let arrival: PoolName?
        var receives: UInt32 = 0
        /// In flight until then.
        var hiddenUntil: Timestamp?
    }

    private let source: PoolName
    private var shards: [[Letter]]
    private var letters: [String: Letter] = [:]
    private var machine: MoveMachine
    private var random: SplitMix64
    private var now = Timestamp(milliseconds: 1_800_000_000_000)
    /// What each pool holds, in order, every message once.
    private var stored: [PoolName: [String]] = [:]
    /// Messages of which the machine was told that they are stored.
    private var told: Set<String> = []
    private var deleted: Set<String> = []
    /// When each message was stored first, in order.
    private var storedAt: [Timestamp] = []
    private let perSecondMax: Int?
    private let faultRate: Int
    /// Milliseconds that an answer takes at most.
    private let slowness: Int
    private let cancelAt: Int?

    init(seed: UInt64) throws {
        random = SplitMix64(seed: seed)
        source = try #require(PoolName("dead.fifo"))
        let pools = try ["x.fifo", "y.fifo", "dead.fifo"].map { try #require(PoolName($0)) }
        let shardCount = 1 + random.below(3)
        let destination = random.chance(30) ? pools[0] : nil
        let homelessRate = [0, 0, 10, 50][random.below(4)]
        let groups = 1 + random.below(8)
        shards = Array(repeating: [], count: shardCount)
        faultRate = [0, 5, 20, 60][random.below(4)]
        slowness = [1, 500, 20_000][random.below(3)]
        cancelAt = random.chance(25) ? random.below(30) : nil
        let count = random.below(80)
        perSecondMax = random.chance(30) ? 1 + random.below([3, 20, 500][random.below(3)]) : nil
        machine = MoveMachine(
            source: source, shardCount: shardCount, destination: destination,
            perSecondMax: perSecondMax, toMove: count)
        for number in 0..<count {
            let group = random.below(groups)
            let arrival = random.chance(homelessRate) ? (random.chance(50) ? nil : pools[2]) : pools[random.below(2)]
            let letter = Character(UnicodeScalar(UInt8(97 + group)))
            shards[group % shardCount].append(
                Letter(
                    name: "\(letter)\(number)", group: letter,
                    target: destination ?? (arrival == source ? nil : arrival), arrival: arrival))
        }
        for letter in shards.joined() { letters[letter.name] = letter }
    }

    mutating func run() throws {
        var event = MoveMachine.Event.start
        // Ends: every message takes a few steps, and tries are counted.
        for step in 0..<10_000 {
            if step == cancelAt { #expect(machine.handle(.cancel, now: now).isEmpty) }
            let effects = machine.handle(event, now: now)
            #expect(effects.count == 1)
            guard let effect = effects.first else { return }
            if case .end = effect { return checkEnd() }
            event = try perform(effect)
        }
        Issue.record("it does not end")
    }

    private mutating func perform(_ effect: MoveMachine.Effect) throws -> MoveMachine.Event {
        if case .wake(let time) = effect {
            now = max(now, time)
            return .timer
        }
        now = now + Int64(random.below(slowness))
        switch effect {
        case .receive(let command, let shard): return try receive(command, shard)
        case .send(let messages, let pool): return .sent(send(messages.map { MoveStage.name($0.handle) }, pool))
        case .delete(let handles, let shard): return .deleted(delete(handles, shard))
        case .giveBack(let handles, let shard):
            giveBack(handles, shard)
            return .gaveBack
        case .wake, .end: return .timer
        }
    }

    private func isHidden(_ letter: Letter) -> Bool { letter.hiddenUntil.map { $0 > now } ?? false }

    private mutating func receive(_ command: ReceiveCommand, _ shard: Int) throws -> MoveMachine.Event {
        if random.chance(faultRate) { return .received(.failure(.unknownOutcome)) }
        let held = Set(shards[shard].filter(isHidden).map(\.group))
        let until = now + Int64(command.visibilitySeconds ?? 30) * 1_000
        var arrivals: [MoveMachine.Arrival] = []
        for place in shards[shard].indices where !held.contains(shards[shard][place].group) {
            guard arrivals.count < command.limit else { break }
            shards[shard][place].receives += 1
            shards[shard][place].hiddenUntil = until
            let letter = shards[shard][place]
            arrivals.append(
                MoveMachine.Arrival(
                    message: try MoveStage.message(letter.name, receiveCount: letter.receives), home: letter.arrival))
        }
        return .received(.success(arrivals))
    }

    private mutating func send(_ names: [String], _ pool: PoolName) -> [ShardError?] {
        var broken: [Character: ShardError] = [:]
        var answers: [ShardError?] = []
        for name in names {
            guard let letter = letters[name] else { continue }
            #expect(letter.target == pool, "\(name) goes where it belongs")
            if let error = broken[letter.group] {
                answers.append(.earlierEntryFailed(error))
                continue
            }
            if random.chance(faultRate) {
                let errors: [ShardError] = [
                    .unavailable(retryAfterMilliseconds: 1), .unknownOutcome, .storageFull, .refused(code: "No"),
                ]
                // What fails for good is rare, or nothing would be tried again.
                let error = errors[random.chance(5) ? 3 : random.below(3)]
                if error == .unknownOutcome, random.chance(50) { store(name, pool) }
                broken[letter.group] = error
                answers.append(error)
            } else {
                store(name, pool)
                told.insert(name)
                answers.append(nil)
            }
        }
        #expect(answers.count == names.count)
        // Now and then the end of an answer is missing: nobody may take that for stored.
        if random.chance(faultRate / 4), let name = names.last {
            if answers.removeLast() == nil { told.remove(name) }
        }
        return answers
    }

    private mutating func store(_ name: String, _ pool: PoolName) {
        #expect(!deleted.contains(name))
        // The same deduplication id: a duplicate.
        if (stored[pool] ?? []).contains(name) { return }
        stored[pool, default: []].append(name)
        storedAt.append(now)
    }

    private mutating func delete(_ handles: [ReceiptHandle], _ shard: Int) -> [DeleteOutcome] {
        handles.map { handle in
            let name = MoveStage.name(handle)
            #expect(told.contains(name), "\(name) is deleted, and nobody said that it is stored")
            if random.chance(faultRate) {
                return .failed(random.chance(5) ? .refused(code: "No") : .unavailable(retryAfterMilliseconds: 1))
            }
            guard let place = shards[shard].firstIndex(where: { $0.name == name }) else { return .deleted }
            guard isHidden(shards[shard][place]), shards[shard][place].receives == handle.receiveCount else {
                return .expired
            }
            shards[shard].remove(at: place)
            deleted.insert(name)
            return .deleted
        }
    }

    private mutating func giveBack(_ handles: [ReceiptHandle], _ shard: Int) {
        #expect(!handles.isEmpty && handles.count <= 10)
        for handle in handles {
            let name = MoveStage.name(handle)
            #expect(!told.contains(name), "\(name) is stored, and would be delivered twice")
            guard let place = shards[shard].firstIndex(where: { $0.name == name }) else {
                Issue.record("\(name) is not in its shard")
                continue
            }
            let letter = shards[shard][place]
            guard isHidden(letter), letter.receives == handle.receiveCount else { continue }
            shards[shard][place].hiddenUntil = nil
            let now = now
            let behind = shards[shard][place...].filter { other in
                other.group == letter.group && !told.contains(other.name) && other.hiddenUntil.map { $0 > now } ?? false
            }
            #expect(behind.map(\.name) == [], "what is behind \(name) could be passed")
        }
    }

    /// Over any stretch of time, no more than its rate and a second's worth.
    private func checkRate() {
        guard let perSecondMax else { return }
        for first in storedAt.indices {
            for last in storedAt.indices[first...] {
                let most = perSecondMax + Int(storedAt[last] - storedAt[first]) * perSecondMax / 1_000
                #expect(last - first + 1 <= most, "\(last - first + 1) in \(storedAt[last] - storedAt[first]) ms")
            }
        }
    }

    private func checkEnd() {
        checkRate()
        let report = machine.report
        let left = shards.joined()
        #expect(report.moved == told.count && report.status != .running && report.status != .cancelling)
        #expect((report.status == .failed) == (report.failureReason != nil))
        #expect(report.status != .cancelled || cancelAt != nil)
        if report.status == .completed { #expect(left.isEmpty && told.count == report.toMove) }
        #expect(deleted.count + left.count == report.toMove, "nothing is lost")
        #expect(!left.contains { isHidden($0) && !told.contains($0.name) }, "nothing is held at the end")
        #expect(deleted.isSubset(of: told))
        for (pool, names) in stored {
            for group in Dictionary(grouping: names.compactMap { letters[$0] }, by: \.group).values {
                let numbers = group.compactMap { Int($0.name.dropFirst()) }
                #expect(numbers == numbers.sorted(), "a group's order in \(pool)")
                // None stands behind one that stayed.
                guard let last = numbers.last, let first = group.first else { continue }
                let skipped = letters.values.filter { letter in
                    letter.group == first.group && (letter.target == pool || letter.target == nil)
                        && Int(letter.name.dropFirst()).map { $0 < last } == true && !names.contains(letter.name)
                }
                #expect(skipped.isEmpty, "one behind another that was not stored")
            }
        }
    }
}

@Suite struct `The machine of a redrive, among faults` {
    @Test(arguments: SplitMix64.seeds(600))
    func `loses nothing, keeps every group's order and its rate, and ends`(seed: UInt64) throws {
        var model = try MoveModel(seed: seed)
        try model.run()
    }
}
