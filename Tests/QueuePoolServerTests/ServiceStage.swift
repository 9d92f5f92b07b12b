// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
import QueuePoolCore
import QueuePoolEmbedded
import QueuePoolRuntime
import QueuePoolSQS
import Testing

@testable import QueuePoolServer

/// The server's services over embedded shards in a directory of their own, without a socket.
final class ServiceStage {
    let registry: PoolRegistry
    let service: QueueService
    private let directory: String

    /// - Parameters:
    ///   - tracking: where what became of messages is kept; `nil`: nowhere.
    ///   - clock: of the pools; the shards go by the system's.
    init(shards: Int = 2, tracking: (any TrackingStore)? = nil, clock: any Clock = SystemClock()) throws {
        let base = FileManager.default.fileExists(atPath: "/dev/shm") ? "/dev/shm" : NSTemporaryDirectory()
        directory = "\(base)/queuepool-service-\(UInt64.random(in: 0...UInt64.max))"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        let options = EmbeddedShardOptions(clock: SystemClock())
        var poolOptions = PoolOptions()
        poolOptions.tracking = tracking.map { MessageTracking(store: $0, keepMilliseconds: 60_000, clock: clock) }
        registry = PoolRegistry(
            store: try SQLiteControlStore(path: directory + "/control.sqlite"),
            factories: [.embedded: try EmbeddedShardFactory(directory: directory, options: options)],
            options: poolOptions, clock: clock, meaning: { _ in QueueAttributes() })
        service = QueueService(
            registry: registry,
            sqs: SQSService(registry: registry, naming: QueueNaming(endpoint: "http://127.0.0.1:1"), defaultShards: 1))
        _ = try registry.create(#require(PoolName("mail.fifo")), shards: shards, attributes: "")
    }

    deinit {
        registry.close()
        try? FileManager.default.removeItem(atPath: directory)
    }

    /// Carries out an action of the SQS protocol.
    func sqs(
        _ action: String, _ body: String, as caller: Caller = .anybody
    ) async throws -> (status: Int, json: [String: Any]) {
        let answer = await withCheckedContinuation { (done: CheckedContinuation<Answer, Never>) in
            Array(body.utf8).withUnsafeBytes {
                service.sqs.handle(
                    target: "AmazonSQS." + action, body: $0, trace: nil, life: ConnectionLife(), caller: caller
                ) { done.resume(returning: $0) }
            }
        }
        let json = try JSONSerialization.jsonObject(with: Data(answer.body)) as? [String: Any]
        return (answer.status, json ?? [:])
    }
}
