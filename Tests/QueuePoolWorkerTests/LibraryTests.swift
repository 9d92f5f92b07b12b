// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Logging
import QueuePoolCore
import QueuePoolTestSupport
import ServiceLifecycleTestKit
import Synchronization
import Testing

@testable import QueuePoolWorker

private struct Broken: Error, CustomStringConvertible {
    let description = "text of the message"
}

@Suite struct `A worker in a program of one's own` {
    @Test func `delivers a group in order, one after another, and deletes what was delivered`() async throws {
        let stage = LibraryStage()
        for number in 0..<25 { stage.queue.put("\(number)", group: "g") }
        let underWay = Atomic(0)
        let together = Atomic(0)
        try await stage.run { message in
            if underWay.add(1, ordering: .relaxed).newValue > 1 { together.add(1, ordering: .relaxed) }
            await Task.yield()
            stage.note(message)
            underWay.subtract(1, ordering: .relaxed)
        } until: {
            stage.queue.count == 0
        }
        #expect(stage.delivered.map(\.id) == (0..<25).map(String.init))
        let togetherCount = together.load(ordering: .relaxed)
        #expect(togetherCount == 0)
        #expect(stage.queue.deleted == (0..<25).map(String.init))
    }

    @Test func `delivers groups and shards side by side`() async throws {
        let stage = LibraryStage()
        for number in 0..<8 { stage.queue.put("\(number)", group: "g\(number)", shard: number % 2) }
        let waiting = Atomic(0)
        // Each waits for all: they end only if they are under way together.
        try await stage.run { _ in
            waiting.add(1, ordering: .relaxed)
            while waiting.load(ordering: .relaxed) < 8 { try await Task.sleep(for: .milliseconds(1)) }
        } until: {
            stage.queue.count == 0
        }
        #expect(Set(stage.queue.deleted) == Set((0..<8).map(String.init)))
    }

    @Test func `shows a handler all of a message`() async throws {
        let stage = LibraryStage()
        stage.queue.put(
            "a", group: "g", shard: 1,
            attributes: [
                "kind": Message.Attribute("welcome"),
                "key": Message.Attribute(dataType: "Binary.key", value: [0, 255]),
            ])
        try await stage.run {
            stage.note($0)
        } until: {
            stage.queue.count == 0
        }
        let message = try #require(stage.delivered.first)
        #expect(message.id == "a" && message.group == "g" && message.shard == "p-0001.fifo")
        #expect(message.body == Array("body of a".utf8))
        #expect(message.attempt == 1 && message.receiveCount == 1)
        #expect(message.attributes["kind"]?.text == "welcome" && message.attributes["kind"]?.dataType == "String")
        #expect(message.attributes["key"]?.value == [0, 255] && message.attributes["key"]?.text == nil)
    }

    @Test func `tries a message again after an error, and what follows it waits`() async throws {
        let stage = LibraryStage()
        for id in ["a", "b"] { stage.queue.put(id, group: "g") }
        try await stage.run { message in
            stage.note(message)
            if message.id == "a", message.attempt < 3 { throw Broken() }
        } until: {
            stage.queue.count == 0
        }
        #expect(stage.delivered.map(\.id) == ["a", "a", "a", "b"])
        #expect(stage.delivered.map(\.attempt) == [1, 2, 3, 1])
        #expect(stage.queue.deleted == ["a", "b"] && stage.queue.letters.isEmpty)
    }

    @Test func `gives a message up by the name of the error, never its text`() async throws {
        let stage = LibraryStage()
        stage.options.budget = WorkerBudget(maxAttempts: 2)
        for id in ["a", "b"] { stage.queue.put(id, group: "g") }
        try await stage.run { message in
            if message.id == "a" { throw Broken() }
            stage.note(message)
        } until: {
            stage.queue.count == 0
        }
        let letter = try #require(stage.queue.letters.first)
        #expect(stage.queue.letters.count == 1 && letter.id == "a" && letter.shard == "p-0000.fifo")
        #expect(letter.group == "g" && letter.body == Array("body of a".utf8))
        #expect(letter.attributes["queuepool.reason"]?.text == "attempts-exhausted")
        #expect(letter.attributes["queuepool.error-class"]?.text == "Broken")
        #expect(letter.attributes["queuepool.attempts"]?.text == "2")
        #expect(stage.delivered.map(\.id) == ["b"])
        #expect(stage.log.contains("Broken") && !stage.log.contains("text of the message"))
    }

    @Test func `sends a message that is refused to the dead letters at once`() async throws {
        let stage = LibraryStage()
        stage.queue.put("a", group: "g", attributes: ["kind": Message.Attribute("welcome")])
        try await stage.run { message in
            stage.note(message)
            throw DeliveryRefused(errorClass: "no such\ncustomer")
        } until: {
            stage.queue.count == 0
        }
        let letter = try #require(stage.queue.letters.first)
        #expect(stage.delivered.count == 1)
        #expect(letter.attributes["queuepool.reason"]?.text == "permanent-failure")
        #expect(letter.attributes["queuepool.error-class"]?.text == "no-such-customer")
        #expect(letter.attributes["kind"]?.text == "welcome")
    }

    @Test func `waits as long as a handler asks for`() async throws {
        let stage = LibraryStage()
        stage.queue.put("a", group: "g")
        let times = Mutex<[Timestamp]>([])
        try await stage.run { message in
            times.withLock { $0.append(stage.clock.now()) }
            if message.attempt == 1 { throw RetryAfter(seconds: 20) }
        } until: {
            stage.queue.count == 0
        }
        let all = times.withLock { $0 }
        try #require(all.count == 2)
        #expect(all[1] - all[0] >= 20_000)
    }

    @Test func `asks a queue again that failed`() async throws {
        let stage = LibraryStage()
        stage.queue.put("a", group: "g")
        stage.queue.fail("shards", "receive", "receive", "delete", "sendToDeadLetters")
        try await stage.run { message in
            stage.note(message)
            throw DeliveryRefused(errorClass: "no")
        } until: {
            stage.queue.count == 0
        }
        #expect(stage.delivered.count == 1 && stage.queue.letters.count == 1 && stage.queue.deleted == ["a"])
        #expect(stage.log.contains("Gone"))
    }

    @Test func `works on the shards alone that it was told`() async throws {
        let stage = LibraryStage()
        stage.options.shards = [1]
        stage.queue.put("a", group: "g", shard: 0)
        stage.queue.put("b", group: "g", shard: 1)
        try await stage.run {
            stage.note($0)
        } until: {
            stage.queue.deleted.count == 1
        }
        #expect(stage.delivered.map(\.id) == ["b"] && stage.queue.count == 1)
    }
}

@Suite struct `A worker in a program of one's own, told to stop,` {
    @Test func `lets deliveries under way end, and gives back the rest`() async throws {
        let stage = LibraryStage()
        for id in ["a", "b", "c"] { stage.queue.put(id, group: "g") }
        let mayEnd = Atomic(false)
        try await stage.runGracefully { message in
            stage.note(message)
            while !mayEnd.load(ordering: .acquiring) { try await Task.sleep(for: .milliseconds(1)) }
        } until: {
            stage.delivered.count == 1
        } then: {
            // Followers are given back before the delivery has ended.
            await stage.eventually { stage.queue.givenBack == ["c", "b"] }
            mayEnd.store(true, ordering: .releasing)
        }
        #expect(stage.delivered.map(\.id) == ["a"])
        #expect(stage.queue.deleted == ["a"] && stage.queue.givenBack == ["c", "b"])
        #expect(stage.queue.receivesOut == 0)
    }

    @Test func `cancels deliveries when the grace period is over, which spends no attempt`() async throws {
        let stage = LibraryStage()
        stage.options.graceSeconds = 5
        stage.options.budget = WorkerBudget(maxAttempts: 1)
        stage.queue.put("a", group: "g")
        let isCancelled = Atomic(false)
        try await stage.runGracefully { message in
            stage.note(message)
            do { try await Task.sleep(for: .seconds(3_600)) } catch {
                isCancelled.store(true, ordering: .relaxed)
                throw Broken()
            }
        } until: {
            stage.delivered.count == 1
        } then: {
        }
        let wasCancelled = isCancelled.load(ordering: .relaxed)
        #expect(wasCancelled)
        #expect(stage.queue.givenBack == ["a"] && stage.queue.deleted.isEmpty && stage.queue.letters.isEmpty)
    }

    @Test func `gives back what it holds and ends when its task is cancelled`() async throws {
        let stage = LibraryStage()
        for id in ["a", "b"] { stage.queue.put(id, group: "g") }
        let worker = try stage.worker { message in
            stage.note(message)
            try await Task.sleep(for: .seconds(3_600))
        }
        let isOver = Atomic(false)
        let running = Task {
            defer { isOver.store(true, ordering: .releasing) }
            try await worker.run()
        }
        await stage.eventually { stage.delivered.count == 1 }
        running.cancel()
        // Far less than a queue is given that does not answer.
        await stage.eventually(upTo: 1_000) { isOver.load(ordering: .acquiring) }
        await stage.eventually { isOver.load(ordering: .acquiring) }
        try await running.value
        #expect(stage.queue.givenBack == ["b", "a"])
        #expect(stage.queue.deleted.isEmpty && stage.queue.letters.isEmpty && stage.queue.receivesOut == 0)
    }
}

@Suite struct `A handler's delivery` {
    private let message = WorkMessage(id: "a", handle: "h", group: "g")

    @Test func `is cancelled with its shard, and no other`() async {
        let begun = Atomic(0)
        let target = HandlerTarget(
            ClosureTarget { message in
                begun.add(1, ordering: .relaxed)
                if message.id == "a" { try await Task.sleep(for: .seconds(3_600)) }
                while !Task.isCancelled && begun.load(ordering: .relaxed) < 3 { await Task.yield() }
            })
        var other = WorkMessage(id: "b", handle: "h", group: "g")
        other.shard = 1
        async let first = target.deliver(message, attempt: 1)
        async let second = target.deliver(other, attempt: 1)
        while begun.load(ordering: .relaxed) < 2 { await Task.yield() }
        target.cancel { $0 == 0 }
        #expect(await first == .cancelled)
        begun.add(1, ordering: .relaxed)
        #expect(await second == .delivered)
    }

    @Test func `counts as delivered when it returns, cancelled or not`() async {
        let target = HandlerTarget(ClosureTarget { _ in withUnsafeCurrentTask { $0?.cancel() } })
        #expect(await target.deliver(message, attempt: 1) == .delivered)
    }

    @Test func `that throws CancellationError without being cancelled has failed`() async {
        let target = HandlerTarget(ClosureTarget { _ in throw CancellationError() })
        #expect(await target.deliver(message, attempt: 1) == .failed(errorClass: "CancellationError"))
    }

    @Test func `may say more than failed, cancelled or not`() async {
        let refusing = HandlerTarget(ClosureTarget { _ in throw DeliveryRefused(errorClass: "") })
        #expect(await refusing.deliver(message, attempt: 1) == .refused(errorClass: "unnamed"))
        let later = HandlerTarget(ClosureTarget { _ in throw RetryAfter(seconds: .max) })
        #expect(
            await later.deliver(message, attempt: 1)
                == .failed(errorClass: "retry-after", retryAfterMilliseconds: 86_400_000))
        let never = HandlerTarget(ClosureTarget { _ in throw RetryAfter(seconds: .min) })
        #expect(
            await never.deliver(message, attempt: 1) == .failed(errorClass: "retry-after", retryAfterMilliseconds: 0))
    }
}

@Suite struct `Options of a worker` {
    @Test func `that cannot be are refused by their names`() {
        func error(
            endpoint: String = "http://h:1", pool: String = "p.fifo", _ change: (inout Worker.Options) -> Void
        ) -> String? {
            var options = Worker.Options()
            change(&options)
            do {
                _ = try Worker(pool: pool, endpoint: endpoint, options: options) { _ in }
                return nil
            } catch { return "\(error)" }
        }
        #expect(error { $0.concurrency = 0 } == "concurrency is 0; allowed are 1 to 10000")
        #expect(error { $0.visibilitySeconds = 9 } == "visibilitySeconds is 9; allowed are 10 to 43200")
        #expect(error { $0.graceSeconds = -1 } == "graceSeconds is -1; allowed are 0 to 3600")
        #expect(error { $0.shards = [] }?.hasPrefix("shards is empty") == true)
        #expect(error { $0.shards = [0, -4] } == "shards is -4; allowed are 0 to 9999")
        #expect(error { $0.budget = WorkerBudget(maxAttempts: 0) } == "budget.maxAttempts is 0; allowed are 1 to 1000")
        #expect(error(pool: "p") { _ in }?.hasPrefix("pool is no name of a pool") == true)
        for endpoint in ["", "h:1", "ftp://h", "http://", "http://h/path", "http://user:secret@h/x"] {
            let text = error(endpoint: endpoint) { _ in }
            #expect(text?.hasPrefix("endpoint is no address") == true && text?.contains("secret") == false)
        }
    }
}
