// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolTestSupport
import Testing

@testable import QueuePoolCore

@Suite struct `A FIFO queue under random operations` {
    @Test(arguments: SplitMix64.seeds(10))
    func `does what the model does (I2, I3, I7)`(seed: UInt64) {
        let run = ModelRun(seed: seed)
        for _ in 0..<1_200 where run.fault == nil { run.step() }
        run.drain()
        #expect(run.fault == nil, "seed \(seed)")
    }
}

/// The queue and the model side by side. The first difference ends the run.
private final class ModelRun {
    private var random: SplitMix64
    private let on: QueueOnLog
    private var model = QueueModel()
    private var handles: [ReceiptHandle] = []
    private var held: [(handle: ReceiptHandle, isExpiry: Bool)] = []
    /// Groups served while another group waited, by the one that waited.
    private var passedBy: [Int: Set<Int>] = [:]
    /// What each group had to deliver when the receive began.
    private var runs: [Int: [ModelMessage]] = [:]
    private var bodies = 0
    private var operations = 0
    private(set) var fault: String?

    init(seed: UInt64) {
        random = SplitMix64(seed: seed)
        if random.chance(30) { model.attributes.redrive = RedrivePolicy(deadLetterQueue: "d.fifo", maxReceiveCount: 3) }
        if random.chance(20) { model.attributes.delaySeconds = 7 }
        if random.chance(30) { model.attributes.retentionSeconds = 400 }
        if random.chance(30) { model.attributes.deduplicationScope = .messageGroup }
        on = QueueOnLog(model.attributes, cacheBytesMax: [0, 2_000, 1 << 20][random.below(3)])
    }

    private func check(_ holds: Bool, _ what: @autoclosure () -> String) {
        if !holds, fault == nil { fault = "operation \(operations): \(what())" }
    }

    func step() {
        operations += 1
        switch random.below(100) {
        case 0..<22: send()
        case 22..<44: receive(1 + random.below(10), seconds: [0, 5, 30, 30, 100][random.below(5)])
        case 44..<72: delete()
        case 72..<80: change()
        case 80..<84: finishHeld()
        case 84..<93: pass([100, 1_000, 5_000, 31_000, 90_000][random.below(5)])
        case 93..<95: expire()
        case 95..<97: on.sweep()
        case 97..<98: on.rewrite(limit: 1 + random.below(20))
        case 98: restart()
        default: if random.chance(5) { purge() } else { redelay() }
        }
        compare()
    }

    // MARK: - Operations

    private func send() {
        var fresh: [OutgoingMessage] = []
        var expected: [(group: Int, body: String, key: String, first: SequenceNumber?, twin: Int?)] = []
        for _ in 0..<(1 + random.below(6)) {
            bodies += 1
            let (group, body) = (random.below(7), "body \(bodies)")
            let id = random.chance(25) ? "shared-\(random.below(12))" : "id-\(bodies)"
            let key = model.attributes.deduplicationScope == .queue ? id : "\(group)/\(id)"
            let twin = expected.firstIndex { $0.key == key && $0.first == nil && $0.twin == nil }
            fresh.append(QueueOnLog.message("g\(group)", body, id: id))
            expected.append((group, body, key, model.first(key, on.now), twin))
        }
        let isDurable = random.chance(85)
        let receipts = on.commit(fresh, isDurable: isDurable)
        for (index, want) in expected.enumerated() {
            let got = receipts[index]
            let first = want.first ?? want.twin.map { receipts[$0].sequence }
            check(got.isDuplicate == (first != nil), "duplicate judged wrongly (I3)")
            check(first == nil || got.sequence == first, "a duplicate names another message")
            check(got.messageID == MessageID(shard: QueueOnLog.tag, sequence: got.sequence), "id and sequence differ")
            guard first == nil, isDurable else { continue }
            check(model.messages.last.map { $0.sequence < got.sequence } ?? true, "sequence numbers do not grow")
            model.accepted[want.key] = (got.sequence, got.sequence.sentAt)
            model.messages.append(
                ModelMessage(
                    sequence: got.sequence, group: want.group, body: want.body, sentAt: got.sequence.sentAt,
                    receivedAt: on.now))
        }
    }

    private func receive(_ limit: Int, seconds: Int64) {
        model.advance(on.now)
        on.queue.advance(to: on.now)
        let waiting = model.groups.filter { !model.deliverable($0, on.now).isEmpty }
        runs = [:]
        for group in waiting {
            runs[group] = model.deliverable(group, on.now).filter { !model.isPastRetention($0, on.now) }
        }
        let decision = on.queue.receive(
            limit: limit, visibilityMilliseconds: seconds * 1_000, attemptID: nil, now: on.now)
        var served: [Int] = []
        let dropped = Set(decision.expired.compactMap(drop))
        var rest = decision.received[...]
        var moves = decision.toDeadLetter
        check(rest.count <= limit, "more than was asked for")
        while let head = rest.first, fault == nil {
            guard let group = model.index(head.sequence).map({ model.messages[$0].group }) else {
                return check(false, "received what is not there")
            }
            check(!served.contains(group), "a group in two parts")
            served.append(group)
            serve(group, &rest, limit: limit - (decision.received.count - rest.count), seconds, &moves)
        }
        let delivered = served
        for move in moves { serveMove(move, &served) }
        if decision.received.count < limit {
            check(
                waiting.subtracting(served).subtracting(dropped).isEmpty,
                "a group was left out although there was room (I5)")
        }
        noteTurns(waiting.subtracting(served).subtracting(dropped), delivered)
        for group in dropped.union(served) { passedBy[group] = nil }
    }

    /// A message that retention drops; its group.
    private func drop(_ handle: ReceiptHandle) -> Int? {
        guard let index = model.index(handle.sequence) else {
            check(false, "dropped what is not there")
            return nil
        }
        let message = model.messages[index]
        check(model.isPastRetention(message, on.now) && model.isAvailable(message, on.now), "dropped too early")
        model.messages[index].hold = .leaving
        held.append((handle, true))
        return message.group
    }

    /// One group's part of a receive: the longest deliverable run, cut only by the limit or by a move.
    private func serve(
        _ group: Int, _ rest: inout ArraySlice<ReceivedEntry>, limit: Int, _ seconds: Int64,
        _ moves: inout [ReceivedEntry]
    ) {
        for (place, message) in (runs[group] ?? []).prefix(limit).enumerated() {
            if isSpent(message) {
                check(place > 0, "a run began with a spent message")
                guard let position = moves.firstIndex(where: { $0.sequence == message.sequence }) else {
                    return check(false, "a spent message was not moved")
                }
                take(moves.remove(at: position))
                return
            }
            guard let entry = rest.popFirst(), entry.sequence == message.sequence else {
                return check(false, "out of order or cut short (I2)")
            }
            guard let index = model.index(message.sequence) else { return }
            check(on.body(entry) == message.body, "another body")
            model.messages[index].receiveCount += 1
            model.messages[index].receivedAt = on.now
            model.messages[index].visibleAt = seconds > 0 ? on.now + seconds * 1_000 : nil
            check(entry.receiveCount == model.messages[index].receiveCount, "another receive count")
            model.messages[index].handle = entry.handle
            handles.append(entry.handle)
        }
    }

    private func isSpent(_ message: ModelMessage) -> Bool {
        model.attributes.redrive.map { Int(message.receiveCount) >= $0.maxReceiveCount } ?? false
    }

    /// A group of which the receive took nothing but a spent head.
    private func serveMove(_ move: ReceivedEntry, _ served: inout [Int]) {
        guard let index = model.index(move.sequence) else { return check(false, "moved what is not there") }
        let message = model.messages[index]
        check(runs[message.group]?.first?.sequence == message.sequence, "moved from the middle")
        check(isSpent(message), "moved too early")
        served.append(message.group)
        take(move)
    }

    private func take(_ move: ReceivedEntry) {
        guard let index = model.index(move.sequence) else { return }
        model.messages[index].hold = .leaving
        held.append((move.handle, false))
    }

    /// Nobody is served twice while another waits the whole time.
    private func noteTurns(_ waiting: Set<Int>, _ served: [Int]) {
        for group in waiting {
            for other in served {
                check(passedBy[group]?.contains(other) != true, "a group was served twice while another waited (I5)")
                passedBy[group, default: []].insert(other)
            }
        }
    }

    private func delete() {
        guard !handles.isEmpty else { return }
        let isRecent = random.chance(70)
        let handle =
            isRecent
            ? handles[handles.count - 1 - random.below(min(12, handles.count))]
            : handles[random.below(handles.count)]
        model.advance(on.now)
        on.queue.advance(to: on.now)
        let decision = on.queue.beginDelete(handle)
        check(decision == model.deletion(handle), "delete came to \(decision)")
        guard case .write = decision, let index = model.index(handle.sequence) else { return }
        model.messages[index].hold = .deletion
        held.append((handle, false))
        if random.chance(80) { finishHeld() }
    }

    private func finishHeld() {
        guard !held.isEmpty else { return }
        model.advance(on.now)
        let isDurable = random.chance(85)
        let some = held.prefix(1 + random.below(held.count))
        held.removeFirst(some.count)
        for isExpiry in [false, true] {
            let part = some.filter { $0.isExpiry == isExpiry }.map(\.handle)
            if !part.isEmpty { on.finish(part, isDurable: isDurable, isExpiry: isExpiry) }
        }
        for (handle, _) in some {
            guard let index = model.index(handle.sequence) else { continue }
            model.messages[index].hold = nil
            if isDurable { model.messages.remove(at: index) }
        }
        model.advance(on.now)
    }

    private func change() {
        guard !handles.isEmpty else { return }
        let handle = handles[handles.count - 1 - random.below(min(12, handles.count))]
        let milliseconds = [0, 0, 10_000, 60_000, 43_200_000][random.below(5)] as Int64
        model.advance(on.now)
        on.queue.advance(to: on.now)
        let decision = on.queue.changeVisibility(handle, milliseconds: milliseconds, now: on.now)
        check(decision == model.change(handle, milliseconds, on.now), "change of visibility came to \(decision)")
        guard decision == .changed, let index = model.index(handle.sequence) else { return }
        model.messages[index].visibleAt = milliseconds > 0 ? on.now + milliseconds : nil
    }

    private func pass(_ milliseconds: Int64) {
        on.now = on.now + milliseconds
        on.queue.advance(to: on.now)
        model.advance(on.now)
    }

    private func expire() {
        model.advance(on.now)
        on.queue.advance(to: on.now)
        let limit = 1 + random.below(20)
        let old = model.messages.filter { model.isPastRetention($0, on.now) && $0.visibleAt == nil && $0.hold == nil }
        let taken = on.queue.takeExpired(now: on.now, limit: limit)
        check(taken.map(\.sequence) == old.prefix(limit).map(\.sequence), "retention took others")
        for handle in taken {
            guard let index = model.index(handle.sequence) else { continue }
            model.messages[index].hold = .leaving
            held.append((handle, true))
        }
    }

    private func restart() {
        let isClean = random.chance(50)
        if isClean { while !held.isEmpty { finishHeld() } }
        held = []
        on.restart(isClean: isClean)
        for index in model.messages.indices where !isClean {
            model.messages[index].hold = nil
            model.messages[index].visibleAt = nil
            model.messages[index].receiveCount = 0
            model.messages[index].handle = nil
        }
        passedBy = [:]
        on.queue.advance(to: on.now)
        model.advance(on.now)
    }

    private func purge() {
        while !held.isEmpty { finishHeld() }
        check(on.queue.removeAll() == model.messages.count, "a purge counted wrongly")
        on.rows = [:]
        on.bodies = [:]
        on.keys = []
        model.messages = []
        model.accepted = [:]
        passedBy = [:]
    }

    private func redelay() {
        guard random.chance(20) else { return }
        model.attributes.delaySeconds = [0, 0, 3, 40][random.below(4)]
        on.queue.setAttributes(model.attributes, now: on.now)
        on.queue.advance(to: on.now)
        passedBy = [:]
    }

    // MARK: - What must hold

    private func compare() {
        model.advance(on.now)
        on.queue.advance(to: on.now)
        let queue = on.queue
        check(queue.messageCount == model.messages.count, "\(queue.messageCount) messages, not \(model.messages.count)")
        check(queue.inFlightCount == model.inFlight, "\(queue.inFlightCount) in flight, not \(model.inFlight)")
        check(queue.delayedCount(on.now) == model.delayed(on.now), "delayed messages miscounted")
        check(queue.oldestAge(on.now) == model.messages.first.map { on.now - $0.sentAt }, "another oldest age")
        let ready = model.groups.contains { !model.deliverable($0, on.now).isEmpty }
        check(queue.hasReadyGroup == ready, "readiness \(queue.hasReadyGroup)")
        check(queue.entries.liveCount == model.messages.count, "entries leak")
        check(
            queue.groups.liveCount == model.groups.count && queue.groupPlaces.count == model.groups.count, "groups leak"
        )
        check(queue.deliveries.liveCount <= model.messages.count, "deliveries leak")
        check(queue.blocks.liveCount <= 2 * model.messages.count + 1_026, "blocks leak")
        // Groups that are not ready start their turn anew.
        for group in passedBy.keys where model.deliverable(group, on.now).isEmpty { passedBy[group] = nil }
    }

    /// Whatever is left can be received and deleted, in order (I7).
    func drain() {
        while !held.isEmpty { finishHeld() }
        model.attributes.redrive = nil
        on.queue.setAttributes(model.attributes, now: on.now)
        for _ in 0..<10_000 where !model.messages.isEmpty && fault == nil {
            operations += 1
            pass(100_000)
            let before = handles.count
            receive(10, seconds: 30)
            while !held.isEmpty { finishHeld() }
            for handle in handles[before...] {
                check(on.delete(handle) == .write(handle.sequence), "a fresh handle was refused")
                if let index = model.index(handle.sequence) { model.messages.remove(at: index) }
            }
            compare()
        }
        on.sweep()
        check(model.messages.isEmpty, "messages that nobody can receive")
        check(on.bodies.isEmpty && on.rows.isEmpty, "the log keeps rows of nothing")
        check(on.queue.entries.liveCount == 0 && on.queue.deliveries.liveCount == 0, "memory of nothing is kept")
        check(on.queue.cache.bytes == 0 && on.queue.cache.blockCount == 0, "the cache keeps bodies of nothing")
    }
}
