// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import Logging
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS
import Testing

@testable import QueuePoolServer

/// The table of what a request needs.
struct RequiredRightsTests {
    /// Written by hand beside the table, so that a change of the table is one that somebody meant.
    private static let actions: [RequiredRight: Set<SQSAction>] = [
        .send: [.sendMessage, .sendMessageBatch],
        .receive: [
            .receiveMessage, .deleteMessage, .deleteMessageBatch, .changeMessageVisibility,
            .changeMessageVisibilityBatch,
        ],
        .any: [.getQueueUrl, .getQueueAttributes],
        .filtered: [.listQueues],
        .admin: [
            .createQueue, .deleteQueue, .setQueueAttributes, .purgeQueue, .tagQueue, .untagQueue, .listQueueTags,
            .listDeadLetterSourceQueues, .startMessageMoveTask, .listMessageMoveTasks, .cancelMessageMoveTask,
            .addPermission, .removePermission,
        ],
    ]

    @Test(arguments: SQSAction.allCases)
    func `an action needs what is written of it`(action: SQSAction) throws {
        let expected = try #require(Self.actions.first { $0.value.contains(action) })
        #expect(RequiredRights.of(action) == expected.key)
    }

    @Test func `every route is in the table, and the table has no other`() throws {
        let stage = try ServiceStage()
        let shared = DoorState(
            limits: DoorLimits(), browsers: BrowserGuard(isLoopback: true, allowedHosts: []), service: stage.service,
            counters: RequestCounters())
        let routes = Routes(
            service: stage.service, limits: shared.limits, browsers: shared.browsers, lives: shared.lives,
            budget: shared.budget,
            metrics: MetricsPage(
                registry: stage.registry, requests: shared.counters, door: shared, more: .ofProcess),
            rates: ShardRates(), whyNotReady: { nil })
        let found = Set(routes.router().routes.map { "\($0.method) \($0.path)" })
        // Routes that are there only beside a store of leases.
        let ofLeases = RequiredRights.routes.keys.filter { $0.contains("/leases") || $0.contains("/workers/") }
        #expect(found.union(ofLeases) == Set(RequiredRights.routes.keys))
        #expect(found.contains("POST /v1/pools/{pool}/messages"))
    }

    @Test func `what is not in the table is nobody's`() {
        #expect(RequiredRights.of(method: "PATCH", path: "/v1/pools/{pool}") == nil)
        #expect(RequiredRights.of(method: "GET", path: "/v1/pools/{pool}/purge") == nil)
    }

    @Test func `only what tells nothing of any pool is open`() {
        let open = RequiredRights.routes.filter { $0.value == .nothing }.keys
        #expect(Set(open) == ["GET /", "GET /openapi.json", "GET /healthz", "GET /readyz"])
    }

    @Test(arguments: [
        ("mail.fifo", ["mail.fifo"]), ("mail-0000.fifo", ["mail.fifo"]),
        ("mail-dlq.fifo", ["mail-dlq.fifo", "mail.fifo"]),
        // Not there: a shard that may have been, and what never was.
        ("mail-0099.fifo", ["mail-0099.fifo", "mail.fifo"]), ("none-0001.fifo", ["none-0001.fifo"]),
        ("mail-99.fifo", ["mail-99.fifo"]), ("none-dlq.fifo", ["none-dlq.fifo", "none.fifo"]), ("none", []),
    ])
    func `a queue belongs to its pool`(queue: String, owners: [String]) throws {
        let stage = try ServiceStage()
        #expect(QueueOwners(of: queue, in: stage.registry).names.map(\.text) == owners)
    }

    @Test func `a pool that is made with the name of a shard of another is no shard of it`() throws {
        let stage = try ServiceStage()
        let owners = QueueOwners(of: "mail-0099.fifo", in: stage.registry, isNew: true)
        #expect(owners.names.map(\.text) == ["mail-0099.fifo"])
        _ = try stage.registry.create(#require(PoolName("mail-0099.fifo")), shards: 1, attributes: "")
        #expect(QueueOwners(of: "mail-0099.fifo", in: stage.registry).names.map(\.text) == ["mail-0099.fifo"])
    }
}
