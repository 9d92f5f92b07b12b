// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import Testing

@testable import QueuePoolWorker

@Suite struct `A server's table of leases` {
    private func table(owner: String) throws -> LeaseTable {
        let text = """
            {"workers":[{"worker":"a.1","beat":3,"renewedAt":5,"isLeaving":true}],
            "leases":[{"shard":2,"owner":\(owner),"next":null,"acquiredAt":7,"version":9}]}
            """
        return try HTTPLeaseStore.table(Array(text.utf8))
    }

    @Test func `is read whole`() throws {
        let worker = try #require(WorkerID("a.1"))
        let time = { Timestamp(milliseconds: $0) }
        let expected = LeaseTable(
            heartbeats: [WorkerHeartbeat(worker: worker, beat: 3, renewedAt: time(5), isLeaving: true)],
            leases: [ShardLease(shard: ShardIndex(2), owner: worker, acquiredAt: time(7), version: 9)])
        #expect(try table(owner: "\"a.1\"") == expected)
        #expect(try table(owner: "null").leases.first?.owner == nil)
    }

    @Test func `with an owner that cannot be read is an error: the shard is not free`() {
        #expect(throws: LeaseStoreError.failed(code: "no-answer-of-leases")) { try table(owner: "\"a b\"") }
    }
}
