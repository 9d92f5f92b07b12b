// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolTestSupport
import Synchronization
import Testing

@testable import QueuePoolWorker

@Suite struct `The figures of a worker` {
    @Test func `count each delivery by its outcome, and what is tried again`() async {
        let stage = MetricsStage(outcomes: [
            .failed(errorClass: "http-503"), .delivered, .refused(errorClass: "http-400"),
            .unavailable(errorClass: "refused"), .unknown(errorClass: "timeout"), .ended(errorClass: "closed"),
            .cancelled,
            .partial(PartialDelivery(refused: [0], deferred: [], errorClass: "smtp-550")),
        ])
        for attempt in 1...8 { await stage.deliver(attempt: attempt) }
        for outcome in ["delivered", "failed", "refused", "unavailable", "unknown", "partial", "cancelled", "ended"] {
            #expect(stage.value("deliveries_total", #"target="stdout:",outcome="\#(outcome)""#) == "1", "\(outcome)")
        }
        #expect(stage.value("retries_total", #"target="stdout:""#) == "7")
        #expect(stage.value("deliveries_under_way", #"target="stdout:""#) == "0")
        #expect(stage.value("handler_seconds_count", #"target="stdout:""#) == "8")
        #expect(stage.value("target_up", #"target="stdout:""#) == "0", "it ended")
    }

    @Test func `show a delivery that is under way`() async {
        let stage = MetricsStage()
        let seen = Mutex("")
        stage.whileDelivering { page in seen.withLock { $0 = page } }
        await stage.deliver()
        #expect(seen.withLock { $0 }.contains(#"deliveries_under_way{pool="p.fifo",target="stdout:"} 1"#))
        #expect(stage.value("deliveries_under_way", #"target="stdout:""#) == "0")
    }

    @Test func `count received and deleted messages, without those whose delete failed`() async {
        let stage = MetricsStage()
        stage.queue.answer(receive: .success(stage.messages(5)))
        await stage.performer.perform(.receive(shard: 1))
        #expect(stage.value("received_messages_total", #"shard="p-0001.fifo""#) == "5")
        #expect(stage.value("received_messages_total", #"shard="p-0000.fifo""#) == "0")
        #expect(stage.value("held_messages", #"shard="p-0001.fifo""#) == "5")
        #expect(stage.value("held_bytes") == "15")
        let messages = stage.messages(5)
        stage.queue.answer(delete: .success((lost: [messages[0]], failed: [messages[1]])))
        await stage.performer.perform(.delete(shard: 1, messages))
        #expect(stage.value("deleted_messages_total", #"shard="p-0001.fifo""#) == "3")
        stage.queue.answer(delete: .failure(.unreachable("gone")))
        await stage.performer.perform(.delete(shard: 1, messages))
        #expect(stage.value("deleted_messages_total", #"shard="p-0001.fifo""#) == "3")
    }

    @Test func `say that a shard does not answer, until it does`() async {
        let stage = MetricsStage()
        stage.queue.answer(receive: .failure(.unreachable("gone")))
        await stage.performer.perform(.receive(shard: 0))
        #expect(stage.value("shard_up", #"shard="p-0000.fifo""#) == "0")
        #expect(stage.value("shard_up", #"shard="p-0001.fifo""#) == "1")
        stage.queue.answer(receive: .success([]))
        await stage.performer.perform(.receive(shard: 0))
        #expect(stage.value("shard_up", #"shard="p-0000.fifo""#) == "1")
    }

    @Test func `take a receive that was broken off for no failure of the shard`() async {
        let stage = MetricsStage()
        stage.queue.answer(receive: .failure(.unreachable("broken off")))
        let task = Task { [performer = stage.performer] in
            withUnsafeCurrentTask { $0?.cancel() }
            await performer.perform(.receive(shard: 0))
        }
        await task.value
        #expect(stage.value("shard_up", #"shard="p-0000.fifo""#) == "1")
    }

    @Test func `count the dead letters that were stored, and no others`() async {
        let stage = MetricsStage()
        let reason = DeadLetterReason(reason: "permanent-failure", errorClass: "http-400", attempts: 1)
        stage.queue.answer(send: .failure(.unreachable("gone")))
        await stage.performer.perform(.moveToDeadLetter(stage.messages(1)[0], reason))
        #expect(stage.value("dead_letters_total", #"reason="permanent-failure""#) == "0")
        stage.queue.answer(send: .success(()))
        await stage.performer.perform(.moveToDeadLetter(stage.messages(1)[0], reason))
        #expect(stage.value("dead_letters_total", #"reason="permanent-failure""#) == "1")
        #expect(stage.value("dead_letters_total", #"reason="attempts-exhausted""#) == "0")
    }

    @Test func `show a target as down while only probes begin there`() {
        let stage = MetricsStage(targets: ["http://a", "http://b"])
        func fail() {
            for message in stage.messages(3) {
                stage.desk.handle {
                    $0.attempted(message, target: 0, .unavailable(errorClass: "refused"), now: stage.now)
                }
            }
        }
        fail()
        #expect(stage.value("target_up", #"target="http://a""#) == "0")
        #expect(stage.value("target_up", #"target="http://b""#) == "1")
        #expect(stage.metrics.summary().down == ["http://a"])
        for (state, value) in [("closed", "0"), ("open", "1"), ("half-open", "0")] {
            #expect(stage.value("target_breaker_state", #"target="http://a",state="\#(state)""#) == value)
        }
        #expect(stage.value("target_breaker_opened_total", #"target="http://a""#) == "1")
        #expect(stage.value("target_limited_total", #"target="http://a",limit="rate""#) == "0")
        #expect(stage.value("target_waiting_groups", #"target="http://b""#) == "0")
        stage.desk.handle { $0.attempted(stage.messages(1)[0], target: 0, .delivered, now: stage.now) }
        #expect(stage.value("target_up", #"target="http://a""#) == "1")
    }
}

@Suite struct `The page of a worker's figures` {
    @Test func `has HELP and TYPE once for each series, however many workers there are`() {
        let page = WorkerMetrics.page([
            MetricsStage(pool: "p.fifo").metrics, MetricsStage(pool: "q.fifo").metrics,
        ])
        let lines = page.split(separator: "\n")
        for kind in ["# HELP", "# TYPE"] {
            let names = lines.filter { $0.hasPrefix(kind) }.map { $0.split(separator: " ")[2] }
            #expect(names.count == 22 && Set(names).count == 22)
        }
        for pool in ["p.fifo", "q.fifo"] {
            #expect(lines.contains { $0.hasPrefix(#"queuepool_worker_held_bytes{pool="\#(pool)"} "#) })
        }
        let series = lines.filter { !$0.hasPrefix("#") }.map { $0.prefix { $0 != " " } }
        #expect(Set(series).count == series.count, "no series has two samples")
    }

    @Test func `escapes labels, and tells targets of the same label apart`() {
        let stage = MetricsStage(targets: ["exec:", "exec:", "http://a\"b\\c\nd"])
        let up = stage.page.split(separator: "\n").filter { $0.hasPrefix("queuepool_worker_target_up") }
        #expect(
            up == [
                #"queuepool_worker_target_up{pool="p.fifo",target="exec:"} 1"#,
                #"queuepool_worker_target_up{pool="p.fifo",target="exec:#2"} 1"#,
                #"queuepool_worker_target_up{pool="p.fifo",target="http://a\"b\\c\nd"} 1"#,
            ])
    }

    @Test func `counts a duration in its bucket and all longer ones`() {
        let stage = MetricsStage()
        for milliseconds in [1, 2, 700_000] {
            stage.metrics.deliveryBegan(target: 0, attempt: 1)
            stage.metrics.deliveryEnded(target: 0, .delivered, after: .milliseconds(milliseconds))
        }
        func bucket(_ bound: String) -> String? {
            stage.value("handler_seconds_bucket", #"target="stdout:",le="\#(bound)""#)
        }
        #expect(bucket("0.001") == "1")
        #expect(bucket("0.0025") == "2")
        #expect(bucket("600.0") == "2")
        #expect(bucket("+Inf") == "3")
        #expect(stage.value("handler_seconds_count", #"target="stdout:""#) == "3")
        #expect(stage.value("handler_seconds_sum", #"target="stdout:""#).flatMap(Double.init).map { Int($0) } == 700)
    }

    @Test func `is there before the worker knows its shards`() {
        let page = WorkerMetrics.page([WorkerMetrics(pool: "p.fifo", targets: ["stdout:"])])
        #expect(page.contains(#"queuepool_worker_target_up{pool="p.fifo",target="stdout:"} 1"#))
        #expect(!page.contains("shard="))
    }

    @Test func `names no message, group or handle`() async {
        let stage = MetricsStage()
        stage.queue.answer(receive: .success(stage.messages(3)))
        await stage.performer.perform(.receive(shard: 0))
        await stage.deliver()
        for secret in ["group-of", "id-of", "handle-of"] { #expect(!stage.page.contains(secret)) }
    }
}

/// A worker's parts around a queue and targets that a test answers for.
private final class MetricsStage: Sendable {
    let queue = ScriptedQueue()
    let desk: WorkerDesk
    let metrics: WorkerMetrics
    let performer: EffectPerformer
    let now = Timestamp(milliseconds: 1_000_000)
    private let pool: String
    private let target: ScriptedTarget

    init(pool: String = "p.fifo", targets: [String] = ["stdout:"], outcomes: [DeliveryOutcome] = []) {
        self.pool = pool
        let shards = ["p-0000.fifo", "p-0001.fifo"]
        let target = ScriptedTarget(outcomes: outcomes)
        let now = now
        let scheduler = GroupScheduler(
            shardCount: shards.count, targetCount: targets.count, limits: SchedulerLimits(), seed: 7)
        let health = ShardHealth(count: shards.count)
        self.target = target
        desk = WorkerDesk(scheduler, EffectMailbox())
        metrics = WorkerMetrics(pool: pool, targets: targets)
        metrics.begin(shards: shards, desk: desk, health: health)
        performer = EffectPerformer(
            options: WorkerOptions(endpoint: "http://127.0.0.1:1", pool: pool, deliver: targets),
            source: WorkerSource(queue: queue, leases: nil, label: "a script"),
            targets: targets.map { _ in target }, labels: targets,
            shards: ShardList(
                shards.enumerated().map { WorkerShard(index: ShardIndex($0.offset), name: $0.element) }),
            desk: desk, ownership: nil, health: health, metrics: metrics, telling: nil,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }, clock: HastyClock(now))
    }

    var page: String { WorkerMetrics.page([metrics]) }

    /// The value of a series by its labels after the pool; `nil` if it has none.
    func value(_ name: String, _ labels: String? = nil) -> String? {
        let all = #"pool="\#(pool)""# + (labels.map { "," + $0 } ?? "")
        let start = "queuepool_worker_\(name){\(all)} "
        return page.split(separator: "\n").first { $0.hasPrefix(start) }.map { String($0.dropFirst(start.count)) }
    }

    func messages(_ count: Int) -> [WorkMessage] {
        (0..<count).map {
            WorkMessage(id: "id-of-\($0)", handle: "handle-of-\($0)", group: "group-of-\($0)", body: [1, 2, 3])
        }
    }

    func deliver(attempt: Int = 1) async {
        await performer.perform(.deliver(messages(1)[0], attempt: attempt, target: 0))
    }

    /// The page is handed over in the middle of each delivery.
    func whileDelivering(_ body: @escaping @Sendable (String) -> Void) {
        target.onDelivery { [metrics] in body(WorkerMetrics.page([metrics])) }
    }
}

private final class ScriptedTarget: DeliveryTarget {
    let kind = "scripted"
    private let state: Mutex<(outcomes: [DeliveryOutcome], onDelivery: (@Sendable () -> Void)?)>

    init(outcomes: [DeliveryOutcome]) { state = Mutex((outcomes, nil)) }

    func onDelivery(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onDelivery = body } }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        let (outcome, onDelivery) = state.withLock { state in
            (state.outcomes.isEmpty ? .delivered : state.outcomes.removeFirst(), state.onDelivery)
        }
        onDelivery?()
        return outcome
    }
}

/// Gives the last answer that it was given for each kind of request.
private final class ScriptedQueue: WorkerQueue {
    typealias Unfinished = (lost: [WorkMessage], failed: [WorkMessage])

    private struct Answers: Sendable {
        var receive = Result<[WorkMessage], WorkerQueueError>.success([])
        var delete = Result<Unfinished, WorkerQueueError>.success((lost: [], failed: []))
        var send = Result<Void, WorkerQueueError>.success(())
    }

    private let answers = Mutex(Answers())

    func answer(receive: Result<[WorkMessage], WorkerQueueError>) { answers.withLock { $0.receive = receive } }
    func answer(delete: Result<Unfinished, WorkerQueueError>) { answers.withLock { $0.delete = delete } }
    func answer(send: Result<Void, WorkerQueueError>) { answers.withLock { $0.send = send } }

    func shards(ofPool pool: String) async throws(WorkerQueueError) -> [WorkerShard] { [] }

    func receive(
        from queue: String, visibilitySeconds: Int, waitSeconds: Int
    ) async throws(WorkerQueueError) -> [WorkMessage] {
        try answers.withLock { $0.receive }.get()
    }

    func delete(_ messages: [WorkMessage], from queue: String) async throws(WorkerQueueError) -> Unfinished {
        try answers.withLock { $0.delete }.get()
    }

    func changeVisibility(
        _ messages: [WorkMessage], seconds: Int, in queue: String
    ) async throws(WorkerQueueError) -> Unfinished { (lost: [], failed: []) }

    func send(
        _ message: WorkMessage, attributes: [MessageAttribute], deduplicationID: String, to queue: String
    ) async throws(WorkerQueueError) { try answers.withLock { $0.send }.get() }
}
