// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolRuntime
import Testing

@testable import QueuePoolServer

@Suite struct `Order at the doors` {
    private func entry(_ id: String, _ group: String, _ body: String) -> String {
        "{\"Id\":\"\(id)\",\"MessageGroupId\":\"\(group)\",\"MessageDeduplicationId\":\"\(id)\",\"MessageBody\":\"\(body)\"}"
    }

    private func ids(_ json: [String: Any], _ list: String) -> [String] {
        (json[list] as? [[String: Any]] ?? []).compactMap { $0["Id"] as? String }
    }

    @Test func `a batch whose entry is refused stores no later entry of its group`() async throws {
        let stage = try ServiceStage()
        let entries = [entry("0", "a", "x"), entry("1", "a", ""), entry("2", "b", "x"), entry("3", "a", "x")]
        let (status, json) = try await stage.sqs(
            "SendMessageBatch", "{\"QueueUrl\":\"mail.fifo\",\"Entries\":[\(entries.joined(separator: ","))]}")
        #expect(status == 200)
        #expect(ids(json, "Successful") == ["0", "2"])
        #expect(ids(json, "Failed") == ["1", "3"])
        let failed = json["Failed"] as? [[String: Any]] ?? []
        #expect(failed.map { $0["Code"] as? String } == ["MissingParameter", "MissingParameter"])
    }

    @Test func `a shard refuses a group that is another's, alone and in a batch`() async throws {
        let stage = try ServiceStage()
        let pool = try #require(stage.registry.pool("mail.fifo"))
        let own = pool.router.shard(ofGroupHash: "g".withContiguousBytes { XXHash64.hash($0) }).name
        let other = try #require(pool.snapshot.shards.first { $0.name != own }?.name)
        let message = "\"MessageGroupId\":\"g\",\"MessageDeduplicationId\":\"1\",\"MessageBody\":\"x\""
        let refused = try await stage.sqs("SendMessage", "{\"QueueUrl\":\"\(other)\",\(message)}")
        #expect(refused.status == 400)
        #expect((refused.json["message"] as? String)?.contains(own) == true)
        let batch = try await stage.sqs(
            "SendMessageBatch", "{\"QueueUrl\":\"\(other)\",\"Entries\":[\(entry("0", "g", "x"))]}")
        #expect(ids(batch.json, "Failed") == ["0"])
        #expect(try await stage.sqs("SendMessage", "{\"QueueUrl\":\"\(own)\",\(message)}").status == 200)
    }
}

@Suite struct `Counters of answers` {
    @Test(
        arguments: [
            (202, nil, "success"), (429, nil, "throttled"), (403, "RequestThrottled;Sender", "throttled"),
            (403, "AccessDenied;Sender", "client-error"), (404, nil, "client-error"), (503, nil, "unavailable"),
            (500, nil, "server-error"),
        ] as [(Int, String?, String)])
    func `go by what happened`(status: Int, error: String?, outcome: String) {
        let counters = RequestCounters()
        counters.count(status: status, error: error)
        #expect(counters.rows().filter { $0.count > 0 }.map(\.outcome) == [outcome])
    }
}

extension String {
    fileprivate func withContiguousBytes<R>(_ body: (UnsafeRawBufferPointer) -> R) -> R {
        Array(utf8).withUnsafeBytes(body)
    }
}
