// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import QueuePoolCore
import QueuePoolRuntime

// `/v1/pools/{pool}/leases` and `/v1/pools/{pool}/workers`: workers share the shards of a pool.

extension Routes {
    func addLeases(_ router: Hummingbird.Router<Context>) {
        guard let store = service.registry.leases else { return }
        let leases = LeaseService(leases: store)
        router.get("/v1/pools/:pool/leases") { _, context in
            let pool = try pool(context)
            return await Routes.reply { leases.table(pool, reply: $0) }
        }
        router.put("/v1/pools/:pool/leases/:shard") { request, context in
            let pool = try pool(context)
            let shard = context.parameters.get("shard") ?? ""
            let body = try await collect(request)
            return try await Routes.throwingReply { (reply) throws(Problem) in
                try leases.write(pool, shard, body, reply: reply)
            }
        }
        router.put("/v1/pools/:pool/workers/:worker") { request, context in
            let pool = try pool(context)
            let worker = context.parameters.get("worker") ?? ""
            let body = try await collect(request)
            return try await Routes.throwingReply { (reply) throws(Problem) in
                try leases.renew(pool, worker, body, reply: reply)
            }
        }
        router.delete("/v1/pools/:pool/workers/:worker") { request, context in
            let pool = try pool(context)
            let worker = context.parameters.get("worker") ?? ""
            let beat = request.uri.queryParameters["beat"].map(String.init)
            return try await Routes.throwingReply { (reply) throws(Problem) in
                try leases.remove(pool, worker, beat: beat, reply: reply)
            }
        }
    }

    private static func throwingReply(_ body: (@escaping Reply) throws(Problem) -> Void) async throws -> Response {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Answer, any Error>) in
            do throws(Problem) { try body { continuation.resume(returning: $0) } } catch {
                continuation.resume(throwing: error)
            }
        }.response
    }
}
