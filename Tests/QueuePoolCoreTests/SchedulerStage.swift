// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

@testable import QueuePoolCore

/// A scheduler on a virtual clock, whose effects a test reads as short texts.
final class SchedulerStage {
    private var scheduler: GroupScheduler
    var now = Timestamp(milliseconds: 1_000_000)
    /// Since the last `told()`.
    private var effects: [GroupScheduler.Effect] = []
    private var latest: [String: WorkMessage] = [:]
    let limits: SchedulerLimits

    init(
        shards: Int = 1, ownsAll: Bool = true, targets: Int = 1, concurrency: Int = 64, maxAttempts: Int = 5,
        targetLimits: [TargetLimits] = [], seed: UInt64 = 7, _ change: (inout SchedulerLimits) -> Void = { _ in }
    ) {
        var limits = SchedulerLimits()
        limits.concurrency = concurrency
        limits.maxAttempts = maxAttempts
        limits.visibilityMilliseconds = 60_000
        change(&limits)
        self.limits = limits
        scheduler = GroupScheduler(
            shardCount: shards, ownsAll: ownsAll, targetCount: targets, targetLimits: targetLimits, limits: limits,
            seed: seed)
        tick()
        _ = told()
    }

    var lapsed: Int { scheduler.lapsedCount }
    var undeleted: Int { scheduler.undeletedCount }
    var failedDeletes: Int { scheduler.failedDeleteCount }
    var delivered: Int { scheduler.deliveredCount }
    var deadLettered: Int { scheduler.deadLetterCount }

    /// Names are `group-id`; a handle is new with each receive.
    func receive(_ names: String..., shard: Int = 0, handle: String = "h", receiveCount: Int = 1) {
        receive(names, shard: shard, handle: handle, receiveCount: receiveCount)
    }

    /// - Parameters:
    ///   - number: of the receive; `nil`: the first of those that are out.
    ///   - isStale: others hold these by now, or did, so that their handles are not those of the test's later events.
    func receive(
        _ names: [String], shard: Int = 0, number: Int? = nil, handle: String = "h", receiveCount: Int = 1,
        bytes: Int = 0, storedBytes: Int? = nil, isStale: Bool = false
    ) {
        let messages = names.map { name in
            let group = name.split(separator: "-").first.map(String.init) ?? name
            var message = WorkMessage(
                id: name, handle: handle + name, group: group, body: Array(repeating: 0, count: bytes), shard: shard,
                receiveCount: receiveCount)
            message.storedBody = storedBytes.map {
                StoredBody(BodyPointer(bucket: "b", key: name), byteCount: $0, in: NoBodies())
            }
            return message
        }
        if !isStale { for message in messages { latest[message.id] = message } }
        let visibleAt = now + limits.visibilityMilliseconds
        effects += scheduler.received(messages, from: shard, number: number, visibleAt: visibleAt, now: now)
    }

    func end(_ name: String, _ outcome: DeliveryOutcome = .delivered, target: Int = 0) {
        guard let message = latest[name] else { return }
        effects += scheduler.attempted(message, target: target, outcome, now: now)
    }

    func notBegun(_ name: String, target: Int = 0) {
        guard let message = latest[name] else { return }
        effects += scheduler.notBegun(message, target: target, now: now)
    }

    func moved(_ name: String, isStored: Bool = true) {
        guard let message = latest[name] else { return }
        effects += scheduler.moved(message, isStored: isStored, now: now)
    }

    /// - Parameter names: of the request's messages; `nil`: the request that left first.
    func deleted(
        _ names: [String]? = nil, lost: [String] = [], failed: [String] = [], isRequestLost: Bool = false,
        shard: Int = 0
    ) {
        func messages(_ names: [String]) -> [WorkMessage] { names.compactMap { latest[$0] } }
        effects += scheduler.deleted(
            shard: shard, of: names.map(messages), lost: messages(lost), failed: messages(failed),
            isRequestLost: isRequestLost, now: now)
    }

    /// Answers a batch of deletes that began with an earlier handle.
    func answerDelete(handle: String, isLost: Bool) {
        let request = scheduler.shards[0].deletesUnderWay.map(\.messages).first { $0.contains { $0.handle == handle } }
        let lost = request?.filter { isLost && $0.handle == handle } ?? []
        effects += scheduler.deleted(shard: 0, of: request, lost: lost, failed: [], now: now)
    }

    var deletedHandles: [String] { scheduler.shards[0].deletesUnderWay.flatMap { $0.messages.map(\.handle) } }
    var heldBytes: Int { scheduler.heldBytes }

    func extended(_ names: [String], lost: [String] = []) {
        effects += scheduler.extended(
            shard: 0, names.compactMap { latest[$0] }, lost: lost.compactMap { latest[$0] },
            visibleAt: now + limits.visibilityMilliseconds, now: now)
    }

    func receiveFailed(shard: Int = 0, number: Int? = nil) {
        effects += scheduler.receiveFailed(from: shard, number: number, now: now)
    }

    /// Numbers of the receives that are out, oldest first.
    func out(_ shard: Int = 0) -> [Int] { scheduler.shards[shard].receives.map(\.number) }
    /// Whether nothing is remembered of answers that overtook others.
    var isForgetful: Bool { scheduler.shards.allSatisfy { $0.arrivals.isEmpty } }

    func begin(_ shard: Int = 0) { effects += scheduler.begin(shard: shard, now: now) }

    func drain(_ shard: Int = 0, seconds: Int64 = 25) {
        effects += scheduler.drain(shard: shard, deadline: now + seconds * 1_000, now: now)
    }

    func drop(_ shard: Int = 0) { effects += scheduler.drop(shard: shard, now: now) }

    func grow(to count: Int) { scheduler.grow(shardCount: count) }

    func stop(graceSeconds: Int64 = 25) { effects += scheduler.stop(deadline: now + graceSeconds * 1_000, now: now) }

    func tick() { effects += scheduler.tick(now: now) }

    func wait(_ milliseconds: Int64) {
        now = now + milliseconds
        tick()
    }

    private func to(_ message: WorkMessage) -> String {
        message.recipients.map { " to " + $0.map(String.init).joined(separator: ",") } ?? ""
    }

    var figures: SchedulerFigures { scheduler.figures }

    /// Messages that are held.
    var held: Int { scheduler.shards.reduce(0) { $0 + $1.held } }

    /// Answers every extension that is out.
    func extendAll() {
        for line in scheduler.lines.values where line.isExtending { extended(line.messages.map(\.id)) }
    }

    /// What was decided since the last call, polls left out.
    func told(withPolls: Bool = false) -> [String] {
        defer { effects = [] }
        return effects.compactMap { effect in
            switch effect {
            case .receive(let shard, let number, let waits):
                withPolls ? "receive \(shard)" + (waits ? "" : " #\(number)") : nil
            case .deliver(let message, let attempt, let target):
                "deliver \(message.id) \(attempt)" + (target == 0 ? "" : " at \(target)") + to(message)
            case .moveToDeadLetter(let message, let reason):
                "move \(message.id) \(reason.reason) \(reason.errorClass) \(reason.attempts)" + to(message)
            case .delete(_, let messages): "delete " + messages.map(\.id).joined(separator: " ")
            case .extend(_, let messages): "extend " + messages.map(\.id).joined(separator: " ")
            case .release(_, let messages): "release " + messages.map(\.id).joined(separator: " ")
            case .deletesFail(let shard, let isFailing): "deletes of \(shard) \(isFailing ? "fail" : "work")"
            case .targetFails(let target, let errorClass): "target \(target) " + (errorClass ?? "answers")
            case .targetEnded(let target, let errorClass): "target \(target) ended \(errorClass)"
            case .cancelReceives(let shard): "cancel receives" + (shard.map { " of \($0)" } ?? "")
            case .drained(let shard): "drained \(shard)"
            case .finished: "finished"
            }
        }
    }
}

/// A scheduler knows how large a body is, and never asks for it.
private final class NoBodies: BodyStore {
    let bucket = "b"

    func newKey() -> String { "k" }

    func put(_ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {}

    func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void
    ) {}

    func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void) {}
}
