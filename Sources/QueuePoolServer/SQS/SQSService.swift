// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime
import QueuePoolSQS
import Synchronization

// The SQS protocol on pools and on their shards. Bytes become requests and answers become bytes in QueuePoolSQS; here
// requests meet pools. A pool of one shard without more behaves as one SQS queue does, its quota included: a request
// over it is refused at once with RequestThrottled. On a pool of several, sends wait in the batcher instead.

/// How queues are called from outside.
package struct QueueNaming: Sendable {
    /// `http://HOST:PORT`
    package var endpoint: String
    package var account = "000000000000"
    package var region = "us-east-1"

    package init(endpoint: String) { self.endpoint = endpoint }

    func url(_ queue: String) -> String { "\(endpoint)/\(account)/\(queue)" }
    func arn(_ queue: String) -> String { "arn:aws:sqs:\(region):\(account):\(queue)" }
}

final class SQSService: Sendable {
    let registry: PoolRegistry
    let naming: QueueNaming
    /// Shards of a queue that CreateQueue makes without saying how many.
    let defaultShards: Int
    let moves = MoveTasks()
    let purges = Mutex<[String: Timestamp]>([:])

    /// `nil`: nobody asks who did what.
    let audit: AuditDesk?

    init(registry: PoolRegistry, naming: QueueNaming, defaultShards: Int, audit: AuditDesk? = nil) {
        self.audit = audit
        self.registry = registry
        self.naming = naming
        self.defaultShards = defaultShards
    }

    /// Carries out one request.
    /// - Parameters:
    ///   - target: the header X-Amz-Target.
    ///   - body: valid during the call only.
    func handle(
        target: String, body: UnsafeRawBufferPointer, trace: [UInt8]?, life: ConnectionLife, caller: Caller,
        reply: @escaping Reply
    ) {
        guard let action = SQSAction(target: target) else { return reply(SQSService.answer(.unknownOperation(target))) }
        handle(action, body: body, trace: trace, life: life, caller: caller, reply: reply)
    }

    /// - Parameter body: the JSON request, valid during the call only.
    func handle(
        _ action: SQSAction, body: UnsafeRawBufferPointer, trace: [UInt8]?, life: ConnectionLife, caller: Caller,
        via: AuditProtocol = .sqs, reply: @escaping Reply
    ) {
        let access = SQSAccess(caller: caller, action: action)
        if audit != nil, audited(access, body, life, via, reply: reply) { return }
        do throws(SQSError) { try carryOut(access, body, trace, life, reply) } catch {
            let answer = SQSService.answer(error)
            reply(error.kind == .accessDenied ? refused(access, body, life, via, answer) : answer)
        }
    }

    /// - Parameters:
    ///   - body: the JSON request, valid during the call only.
    ///   - reply: called unless this throws.
    func carryOut(
        _ access: SQSAccess, _ body: UnsafeRawBufferPointer, _ trace: [UInt8]?, _ life: ConnectionLife,
        _ reply: @escaping Reply
    ) throws(SQSError) {
        switch access.action {
        case .sendMessage: try sendMessage(body, access, trace, reply)
        case .sendMessageBatch: try sendMessageBatch(body, access, trace, reply)
        case .receiveMessage: try receiveMessage(body, access, life, reply)
        case .deleteMessage: try deleteMessage(body, access, reply)
        case .deleteMessageBatch: try deleteMessageBatch(body, access, reply)
        case .changeMessageVisibility: try changeMessageVisibility(body, access, reply)
        case .changeMessageVisibilityBatch: try changeMessageVisibilityBatch(body, access, reply)
        case .getQueueUrl: try getQueueUrl(body, access, reply)
        case .listQueues: try listQueues(body, access, reply)
        case .getQueueAttributes: try getQueueAttributes(body, access, reply)
        case .purgeQueue: try purgeQueue(body, access, reply)
        case .listQueueTags: try listQueueTags(body, access, reply)
        case .listDeadLetterSourceQueues: try listDeadLetterSourceQueues(body, access, reply)
        case .startMessageMoveTask: try startMessageMoveTask(body, access, reply)
        case .listMessageMoveTasks: try listMessageMoveTasks(body, access, reply)
        case .cancelMessageMoveTask: try cancelMessageMoveTask(body, access, reply)
        case .createQueue: try createQueue(body, access, reply)
        case .deleteQueue: try deleteQueue(body, access, reply)
        case .setQueueAttributes: try setQueueAttributes(body, access, reply)
        case .tagQueue: try tagQueue(body, access, reply)
        case .untagQueue: try untagQueue(body, access, reply)
        case .addPermission, .removePermission:
            throw SQSError(.unsupportedOperation, "Queues of Amazon SQS take the attribute Policy instead.")
        }
    }

    // MARK: - Queues

    /// The pool, or the shard of one, that a queue name means, if who asks may do what he asks for. No action comes to
    /// a queue in another way.
    func target(_ queue: String, _ access: SQSAccess) throws(SQSError) -> QueueTarget {
        let target = registry.target(queue)
        if let target, access.isAllowed(on: target.pool) { return target }
        try access.check(queue, in: registry)
        guard let target else { throw registry.queueAbsence(of: queue) }
        return target
    }

    /// A pool by its own name, or, for one of a single shard, by its shard's.
    func pool(_ queue: String, _ access: SQSAccess) throws(SQSError) -> Pool {
        let target = try target(queue, access)
        guard target.shard == nil || target.pool.snapshot.isSingle else {
            throw SQSError(
                .unsupportedOperation, "This queue is a shard of a pool; the operation is for the pool as a whole.")
        }
        return target.pool
    }

    /// Runs what blocks on files away from the event loops.
    static func blocking(_ reply: @escaping Reply, _ body: @escaping @Sendable () throws(SQSError) -> Answer) {
        DispatchQueue.global().async {
            do throws(SQSError) { reply(try body()) } catch { reply(SQSService.answer(error)) }
        }
    }

    // MARK: - Answers

    static func answer(_ error: SQSError) -> Answer {
        var headers = [(name: "x-amzn-query-error", value: error.queryErrorHeader), requestID()]
        if let throttling = error.throttling {
            headers += throttling.quota.fields(retryAfterMilliseconds: throttling.retryAfterMilliseconds)
        } else if error.kind == .requestThrottled || error.kind == .serviceUnavailable {
            headers.append((name: "Retry-After", value: "1"))
        }
        return Answer(
            status: error.status, contentType: "application/x-amz-json-1.0", headers: headers, body: error.body())
    }

    static func answer(capacity: Int = 256, _ write: (inout JSONWriter) -> Void) -> Answer {
        var json = JSONWriter(capacity: capacity)
        write(&json)
        return Answer(
            status: 200, contentType: "application/x-amz-json-1.0", headers: [requestID()], body: json.take())
    }

    private static func requestID() -> (name: String, value: String) { ("x-amzn-RequestId", RequestNumber.next()) }
}
