// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS

// The one table of what a request needs. What is not in it is refused.

/// What a request needs of who sends it.
enum RequiredRight: Hashable, Sendable {
    /// Nothing: nobody is asked who he is.
    case nothing
    /// One of these rights on the pool that the request names.
    case oneOf(AccessActions)
    /// One of these rights on the pool that the request's body names: who reads the body asks.
    case oneOfInBody(AccessActions)
    /// To be known: the answer has only what he has a right on.
    case filtered
    /// One of these rights on every pool.
    case everywhere(AccessActions)
    /// What the action of the SQS protocol needs.
    case ofAction

    static let send = RequiredRight.oneOf(.send)
    static let receive = RequiredRight.oneOf(.receive)
    static let admin = RequiredRight.oneOf(.admin)
    static let any = RequiredRight.oneOf([.send, .receive, .admin, .metrics])
}

enum RequiredRights {
    /// What an action of the SQS protocol needs, on each queue that it names.
    static func of(_ action: SQSAction) -> RequiredRight {
        switch action {
        case .sendMessage, .sendMessageBatch: .send
        case .receiveMessage, .deleteMessage, .deleteMessageBatch, .changeMessageVisibility,
            .changeMessageVisibilityBatch:
            .receive
        case .getQueueUrl, .getQueueAttributes: .any
        case .listQueues: .filtered
        case .createQueue, .deleteQueue, .setQueueAttributes, .purgeQueue, .tagQueue, .untagQueue, .listQueueTags,
            .listDeadLetterSourceQueues, .startMessageMoveTask, .listMessageMoveTasks, .cancelMessageMoveTask,
            .addPermission, .removePermission:
            .admin
        }
    }

    /// Whether an action that needs a right to administrate changes nothing.
    static func onlyReads(_ action: SQSAction) -> Bool {
        switch action {
        case .listQueueTags, .listDeadLetterSourceQueues, .listMessageMoveTasks: true
        default: false
        }
    }

    /// What a route needs; `nil` if it is not known, and then nobody may have it.
    /// - Parameters:
    ///   - method: in upper case.
    ///   - path: as the router writes it: `/v1/pools/{pool}`.
    static func of(method: String, path: String) -> RequiredRight? { routes["\(method) \(path)"] }

    static let routes: [String: RequiredRight] = [
        // The console, or the SQS protocol.
        "GET /": .nothing,
        "GET /openapi.json": .nothing,
        "GET /healthz": .nothing,
        "GET /readyz": .nothing,
        // The page has figures of all pools.
        "GET /metrics": .everywhere(.metrics),
        "GET /v1/pools": .filtered,
        "POST /v1/pools": .oneOfInBody(.admin),
        "GET /v1/pools/{pool}": .any,
        "DELETE /v1/pools/{pool}": .admin,
        "POST /v1/pools/{pool}/purge": .admin,
        "GET /v1/pools/{pool}/leases": .receive,
        "PUT /v1/pools/{pool}/leases/{shard}": .receive,
        "PUT /v1/pools/{pool}/workers/{worker}": .receive,
        "DELETE /v1/pools/{pool}/workers/{worker}": .receive,
        "POST /v1/pools/{pool}/messages": .send,
        "POST /v1/pools/{pool}/emails": .send,
        // Who sent a message asks what became of it; who works on it, or operates, as well.
        "GET /v1/pools/{pool}/messages/{id}": .oneOf([.send, .receive, .admin]),
        "POST /v1/pools/{pool}/outcomes": .receive,
        "GET /v1/pools/{pool}/dead-letters": .admin,
        "GET /v1/pools/{pool}/dead-letters/redrive": .admin,
        "POST /v1/pools/{pool}/dead-letters/redrive": .admin,
        "DELETE /v1/pools/{pool}/dead-letters/redrive": .admin,
        "GET /v1/pools/{pool}/dead-letters/{id}": .admin,
        "DELETE /v1/pools/{pool}/dead-letters/{id}": .admin,
        // The SQS protocol.
        "POST /": .ofAction,
        "GET /{queue}": .ofAction,
        "POST /{queue}": .ofAction,
        "GET /{queue}/{name}": .ofAction,
        "POST /{queue}/{name}": .ofAction,
    ]
}
