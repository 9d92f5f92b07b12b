// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS
import Synchronization
import Testing

@testable import QueuePoolServer

/// A trail in memory, which answers when it is told to.
private final class Trail: AuditTrail {
    let entries = Mutex<[AuditEntry]>([])
    let result: Result<Void, AuditError>

    init(_ result: Result<Void, AuditError> = .success(())) { self.result = result }

    func record(_ entry: AuditEntry, completion: @escaping @Sendable (Result<Void, AuditError>) -> Void) {
        entries.withLock { $0.append(entry) }
        completion(result)
    }

    var failures: Int { 0 }
    var lost: Int { 0 }
    var outcomes: [AuditOutcome] { entries.withLock { $0.map(\.outcome) } }
}

@Suite(.timeLimit(.minutes(1))) struct `The audit log at the doors` {
    private let request = AuditedRequest(
        caller: "QPAAAAAAAAAAAAAAAAAA", address: AuditWord("::1"), via: .sqs, action: .admin, operation: "PurgeQueue",
        pool: PoolName("mail.fifo"))

    private func perform(_ trail: Trail, _ answer: Answer) async -> (answer: Answer, seen: [AuditOutcome]?) {
        let seen = Mutex<[AuditOutcome]?>(nil)
        let got = await withCheckedContinuation { (done: CheckedContinuation<Answer, Never>) in
            AuditDesk(trail, clock: SystemClock()).perform(request, reply: { done.resume(returning: $0) }) { reply in
                seen.withLock { $0 = trail.outcomes }
                reply(answer)
            }
        }
        return (got, seen.withLock { $0 })
    }

    private func ids(_ answer: Answer) -> [String] {
        answer.headers.filter { $0.name == "x-amzn-RequestId" || $0.name == RequestNumber.header }.map(\.value)
    }

    @Test func `an action is taken after its first entry and answered after its second, under one id`() async {
        let trail = Trail()
        let (answer, seen) = await perform(trail, SQSService.answer { SQSAnswer.empty(to: &$0) })
        #expect(seen == [.begun])
        #expect(trail.outcomes == [.begun, .done])
        #expect(answer.status == 200 && ids(answer) == [request.id])
        #expect(trail.entries.withLock { $0 }.allSatisfy { $0.request == AuditWord(request.id) })
    }

    @Test(arguments: [AuditError.failed(code: 28), .full, .closed])
    func `an action whose first entry is not kept is not taken`(error: AuditError) async {
        let trail = Trail(.failure(error))
        let (answer, seen) = await perform(trail, SQSService.answer { SQSAnswer.empty(to: &$0) })
        #expect(seen == nil)
        #expect(answer.status == 503 && ids(answer) == [request.id])
        #expect(answer.headers.contains { $0.name == "Retry-After" })
    }

    @Test func `an outcome is what the answer says`() {
        #expect(AuditDesk.outcome(status: 204, error: nil) == .done)
        #expect(AuditDesk.outcome(status: 404, error: nil) == .failed(status: 404))
        #expect(AuditDesk.outcome(status: 403, error: nil) == .refused(.accessDenied))
        #expect(AuditDesk.outcome(status: 403, error: "AccessDenied;Sender") == .refused(.accessDenied))
        #expect(AuditDesk.outcome(status: 403, error: "RequestThrottled;Sender") == .failed(status: 403))
    }

    @Test func `only what is for who somebody is counts as a refusal`() {
        let trail = Trail()
        let desk = AuditDesk(trail, clock: SystemClock())
        let answer = Problem.noRoom.answer
        #expect(ids(desk.refuse(request, .unread(.noRoom, limit: 1), answer)).isEmpty)
        #expect(trail.outcomes.isEmpty)
        let denial = AccessDenial(keyID: "QPBBBBBBBBBBBBBBBBBB", actions: .send, pool: "other.fifo")
        #expect(ids(desk.refuse(AuditedRequest(via: .rest), .denied(denial), answer)).count == 1)
        let entry = trail.entries.withLock { $0.first }
        #expect(entry?.caller == "QPBBBBBBBBBBBBBBBBBB" && entry?.pool == PoolName("other.fifo"))
        #expect(entry?.outcome == .refused(.accessDenied) && entry?.action == .send)
        #expect(entry?.operation == .unknown)
    }

    @Test(arguments: CallerLimit.allCases)
    func `a request over a limit of its key is a refusal too`(limit: CallerLimit) {
        let trail = Trail()
        let refusal = CallerRefusal(
            keyID: "QPBBBBBBBBBBBBBBBBBB", limit: limit, value: 1, left: 0, retryAfterMilliseconds: 1_000)
        let answer = AuditDesk(trail, clock: SystemClock()).refuse(
            AuditedRequest(via: .rest, action: .send), .limited(refusal), Problem.noRoom.answer)
        let entry = trail.entries.withLock { $0.first }
        #expect(entry?.caller == "QPBBBBBBBBBBBBBBBBBB" && entry?.outcome.text == "refused")
        #expect(entry?.members.contains("\"reason\":\"over-limit-\(limit.rawValue)\"") == true)
        #expect(ids(answer).count == 1)
    }

    @Test(arguments: [SQSAction.listQueueTags, .listDeadLetterSourceQueues, .listMessageMoveTasks])
    func `what an admin only reads is not written down`(action: SQSAction) async throws {
        let stage = try ServiceStage()
        let trail = Trail(.failure(.closed))
        let sqs = SQSService(
            registry: stage.registry, naming: QueueNaming(endpoint: "http://127.0.0.1:1"), defaultShards: 1,
            audit: AuditDesk(trail, clock: SystemClock()))
        let body = #"{"QueueUrl": "mail.fifo", "SourceArn": "arn:aws:sqs:eu-west-1:000000000000:mail.fifo"}"#
        let answer = await withCheckedContinuation { (done: CheckedContinuation<Answer, Never>) in
            Array(body.utf8).withUnsafeBytes {
                sqs.handle(action, body: $0, trace: nil, life: ConnectionLife(), caller: .anybody) {
                    done.resume(returning: $0)
                }
            }
        }
        #expect(answer.status != 503)
        #expect(trail.outcomes.isEmpty)
    }

    @Test(arguments: SQSAction.allCases.filter { RequiredRights.of($0) == .admin && !RequiredRights.onlyReads($0) })
    func `an admin action is not taken without its entry`(action: SQSAction) async throws {
        let stage = try ServiceStage()
        let trail = Trail(.failure(.closed))
        let sqs = SQSService(
            registry: stage.registry, naming: QueueNaming(endpoint: "http://127.0.0.1:1"), defaultShards: 1,
            audit: AuditDesk(trail, clock: SystemClock()))
        let body = #"{"QueueUrl": "mail.fifo", "QueueName": "new.fifo", "SourceArn": "a", "TaskHandle": "a"}"#
        let answer = await withCheckedContinuation { (done: CheckedContinuation<Answer, Never>) in
            Array(body.utf8).withUnsafeBytes {
                sqs.handle(action, body: $0, trace: nil, life: ConnectionLife(), caller: .anybody) {
                    done.resume(returning: $0)
                }
            }
        }
        #expect(answer.status == 503)
        #expect(trail.outcomes == [.begun])
        #expect(trail.entries.withLock { $0.first?.operation } == AuditWord(action.rawValue))
        #expect(stage.registry.pools.map(\.name.text) == ["mail.fifo"])
    }

    @Test func `routes are named as the OpenAPI document names them`() throws {
        let document = try #require(
            JSONSerialization.jsonObject(with: Data(OpenAPIDocument.json.utf8)) as? [String: Any])
        let paths = try #require(document["paths"] as? [String: [String: Any]])
        var named: [String: String] = [:]
        for (path, methods) in paths {
            for (method, operation) in methods {
                guard let id = (operation as? [String: Any])?["operationId"] as? String else { continue }
                named["\(method.uppercased()) \(path)"] = id
            }
        }
        for (route, right) in RequiredRights.routes where right != .nothing && right != .ofAction {
            #expect(AuditedRoutes.names[route] == named[route], "\(route)")
            #expect(AuditedRoutes.names[route] != nil, "\(route)")
        }
    }
}
