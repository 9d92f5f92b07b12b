// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolRuntime
import QueuePoolTestSupport
import Testing

@Suite("Redrives")
struct MoveTaskTests {
    private let stage: MoveTaskStage

    init() throws { stage = try MoveTaskStage() }

    @Test func `all messages go home in their order`() async {
        stage.fill(String(repeating: "abc", count: 10))
        let all = stage.source.bodies
        let report = await stage.run()
        #expect(report.status == .completed && report.moved == 30 && report.toMove == 30)
        #expect(stage.home.bodies == all && stage.source.bodies.isEmpty)
    }

    @Test(arguments: [1, 2, 10])
    func `few messages take their time too`(rate: Int) async {
        stage.fill("abcabcabcabcabc")
        let all = stage.source.bodies
        let task = stage.task(perSecondMax: rate)
        let start = stage.clock.now()
        // The first second's worth may go at once.
        stage.source.onReceive { [clock = stage.clock] _ in
            #expect(task.report.moved <= rate + Int(clock.now() - start) * rate / 1_000)
        }
        await task.run()
        #expect(task.report.status == .completed && stage.home.bodies == all)
        #expect(stage.clock.now() - start >= Int64((all.count - rate) * 1_000 / rate))
    }

    @Test func `what the destination does not take for now is tried again, in order`() async {
        stage.fill("aabab")
        let all = stage.source.bodies
        stage.home.failSends(
            .unavailable(retryAfterMilliseconds: 1), .storageFull, .overloaded(retryAfterMilliseconds: 9))
        let start = stage.clock.now()
        let report = await stage.run()
        #expect(report.status == .completed && report.failureReason == nil && report.moved == 5)
        #expect(stage.home.bodies == all && stage.source.bodies.isEmpty)
        #expect(stage.clock.now() - start == 250 + 500 + 1_000)
    }

    @Test func `a destination that does not come back ends the task, and what it held goes back last first`() async {
        stage.fill("aabab")
        let all = stage.source.bodies
        stage.home.refuse("a0", .unavailable(retryAfterMilliseconds: 1))
        let start = stage.clock.now()
        let report = await stage.run()
        #expect(report.status == .failed && report.moved == 0)
        #expect(report.failureReason == "the destination did not take a message (unavailable)")
        #expect(stage.clock.now() - start == 31_750)
        #expect(stage.source.bodies == all && stage.source.inFlight == 0 && stage.home.bodies.isEmpty)
        #expect(stage.source.givenBack == all.reversed())
    }

    @Test func `a destination that refuses ends the task at once`() async {
        stage.fill(String(repeating: "ab", count: 8))
        let all = stage.source.bodies
        stage.home.refuse("a12", .refused(code: "AccessDenied"))
        let start = stage.clock.now()
        let report = await stage.run()
        #expect(report.status == .failed && report.moved == 10)
        #expect(report.failureReason == "the destination did not take a message (refused)")
        #expect(stage.clock.now() == start)
        #expect(stage.home.bodies == Array(all.prefix(10)) && stage.source.bodies == Array(all.suffix(6)))
        #expect(stage.source.givenBack == all.suffix(6).reversed())
    }

    @Test func `a source that fails for a while is read to its end`() async {
        stage.fill("abc")
        stage.source.failReceives(.unavailable(retryAfterMilliseconds: 1), .injected)
        let report = await stage.run()
        #expect(report.status == .completed && report.moved == 3)
    }

    @Test func `a source that goes on failing is not an empty one`() async {
        stage.fill("abc")
        let errors = Array(repeating: ShardError.unavailable(retryAfterMilliseconds: 1), count: 8)
        for error in errors { #expect(error.isRetryable) }
        stage.source.failReceives(
            errors[0], errors[1], errors[2], errors[3], errors[4], errors[5], errors[6], errors[7])
        let report = await stage.run()
        #expect(report.status == .failed && report.moved == 0)
        #expect(report.failureReason == "the source could not be read (unavailable)")
    }

    @Test func `what cannot be read stays with what follows it, and counts once in each redrive`() async {
        stage.fill("abcdabcdabcd")
        stage.source.damage("b1", "c6", "d3", "d11")
        for moved in [["a0", "c2", "a4", "a8"], []] {
            let before = stage.home.bodies
            let task = stage.task()
            #expect(task.unreadable == 0)
            await task.run()
            #expect(task.report.status == .completed && task.report.moved == moved.count)
            #expect(stage.home.bodies == before + moved && task.unreadable == 4)
        }
        #expect(stage.source.bodies.count == 8 && stage.source.inFlight == 0)
    }

    @Test func `a deletion that fails for a while is tried again, and the message is sent once`() async {
        stage.fill("aab")
        let all = stage.source.bodies
        stage.source.failDeletions(.unavailable(retryAfterMilliseconds: 1), .unknownOutcome)
        let report = await stage.run()
        #expect(report.status == .completed && report.moved == 3)
        #expect(stage.home.bodies == all && stage.source.bodies.isEmpty)
    }

    @Test func `a deletion that is refused is told`() async {
        stage.fill("a")
        stage.source.failDeletions(.refused(code: "AccessDenied"))
        let report = await stage.run()
        #expect(report.status == .failed)
        #expect(report.failureReason == "a moved message could not be deleted (refused)")
    }

    @Test func `a message without a home holds up its own group only, and goes back last of a group first`() async {
        stage.put("x0", group: "x", isHomeless: true)
        stage.put("x1", group: "x")
        for number in 0..<12 { stage.put("y\(number)", group: "y\(number)", isHomeless: true) }
        stage.fill("ababab")
        let report = await stage.run()
        #expect(report.status == .failed && report.moved == 6)
        #expect(report.failureReason == "14 messages do not say which queue they came from")
        #expect(stage.home.bodies == ["a0", "b1", "a2", "b3", "a4", "b5"])
        #expect(stage.source.inFlight == 0 && stage.source.bodies.count == 14)
        #expect(stage.source.givenBack == stage.source.bodies.reversed())
    }

    /// Homes by queue and by policy; `by` says which one finds the pool.
    private func moved(
        _ sourceARN: String?, isRemote: Bool = true, by way: String, noted: String? = nil
    ) async -> MoveTask.Report {
        stage.source.put(
            "a0", group: "a",
            attributes: noted.map { [MessageAttribute(name: WorkerAttributes.pool, text: $0)] } ?? [])
        if isRemote { stage.source.becomeRemote(sourceARN: sourceARN) }
        let task = MoveTask(
            handle: "1", source: stage.sourcePool, destination: nil, perSecondMax: nil, clock: stage.clock,
            homes: MoveTask.Homes(
                byTag: { _ in nil },
                byName: { [pool = stage.homePool] in way == "name" && $0 == "emails.fifo" ? pool : nil },
                byQueue: { [pool = stage.homePool] in way == "queue" && $0.name == "mine.fifo" ? pool : nil },
                byPolicy: { [pool = stage.homePool] in way == "policy" ? pool : nil }))
        await task.run()
        return task.report
    }

    @Test func `a remote queue's word comes before what a worker noted earlier`() async {
        #expect(await moved("arn:aws:sqs:us-east-1:1:mine.fifo", by: "queue", noted: "gone.fifo").moved == 1)
    }

    @Test func `what a worker noted counts where the queue is nobody's`() async {
        #expect(await moved("arn:aws:sqs:us-east-1:1:other.fifo", by: "name", noted: "emails.fifo").moved == 1)
    }

    @Test func `a remote queue that says nothing has the dead letters of the only pool`() async {
        #expect(await moved(nil, by: "policy").moved == 1)
    }

    @Test(arguments: [("arn:aws:sqs:us-east-1:1:other.fifo", nil), (nil, "gone.fifo")] as [(String?, String?)])
    func `nothing is guessed of a message that says where it came from`(sourceARN: String?, noted: String?) async {
        let report = await moved(sourceARN, by: "policy", noted: noted)
        #expect(report.status == .failed && report.moved == 0 && stage.source.bodies == ["a0"])
    }

    @Test func `a message that somebody sent into a dead-letter queue of the server's own stays`() async {
        let report = await moved(nil, isRemote: false, by: "policy")
        #expect(report.status == .failed && report.moved == 0 && stage.source.bodies == ["a0"])
    }

    @Test func `a cancelled task moves no more and holds nothing`() async {
        stage.fill(String(repeating: "ab", count: 20))
        let task = stage.task()
        stage.source.onReceive { call in
            if call == 2 { #expect(task.cancel() == 10) }
        }
        await task.run()
        #expect(task.report.status == .cancelled && task.report.moved == 20)
        #expect(stage.source.bodies.count == 20 && stage.source.inFlight == 0)
        #expect(task.cancel() == nil)
    }

    @Test func `a task that is cancelled while its destination is away gives back at once`() async {
        stage.fill("ab")
        stage.home.refuse("a0", .storageFull)
        let task = stage.task()
        stage.source.onReceive { _ in _ = task.cancel() }
        await task.run()
        #expect(task.report.status == .cancelled && task.report.moved == 0)
        #expect(stage.source.givenBack == ["b1", "a0"] && stage.source.inFlight == 0)
    }

    @Test func `one redrive of a source runs at a time, and its end is told once`() async {
        stage.fill("ab")
        let tasks = MoveTasks()
        let first = stage.task()
        let report = await withCheckedContinuation { continuation in
            let isStarted = tasks.start(first) { continuation.resume(returning: $0) }
            #expect(isStarted)
        }
        #expect(report.status == .completed && tasks.tasks(of: stage.sourcePool.name).count == 1)
        let second = await withCheckedContinuation { continuation in
            _ = tasks.start(stage.task()) { continuation.resume(returning: $0) }
        }
        #expect(second.moved == 0 && tasks.tasks(of: stage.sourcePool.name).count == 2)
    }
}
