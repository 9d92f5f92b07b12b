// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import QueuePoolCore
import QueuePoolRuntime

// `/v1/pools/{pool}/dead-letters`. `{pool}` is a pool with a dead-letter queue, or such a queue itself.

extension Routes {
    func addDeadLetters(_ router: Hummingbird.Router<Context>) {
        let letters = DeadLetterService(registry: service.registry, moves: service.sqs.moves)
        router.get("/v1/pools/:pool/dead-letters") { request, context in
            let parameters = request.uri.queryParameters
            return try await letters.list(
                letterQueue(letters, context), limit: parameters["limit"].map(String.init),
                after: parameters["after"].map(String.init)
            ).response
        }
        router.get("/v1/pools/:pool/dead-letters/redrive") { _, context in
            try letters.progress(letterQueue(letters, context)).response
        }
        router.post("/v1/pools/:pool/dead-letters/redrive") { request, context in
            let queue = try letterQueue(letters, context)
            guard Routes.mediaType(request) == "application/json" else { throw Routes.unsupported("application/json") }
            return try await letters.redrive(queue, collect(request)).response
        }
        router.delete("/v1/pools/:pool/dead-letters/redrive") { _, context in
            try letters.cancel(letterQueue(letters, context)).response
        }
        router.get("/v1/pools/:pool/dead-letters/:id") { request, context in
            try await letters.show(
                letterQueue(letters, context), id: context.parameters.get("id") ?? "",
                withBody: Routes.wantsBody(request)
            ).response
        }
        router.delete("/v1/pools/:pool/dead-letters/:id") { _, context in
            try await letters.remove(letterQueue(letters, context), id: context.parameters.get("id") ?? "").response
        }
    }

    /// Whether a dead letter is asked for with its body. The audit log asks here too, so that none is shown unwritten.
    static func wantsBody(_ request: Request) -> Bool { request.uri.queryParameters["body"] == "true" }

    /// Letters of several pools may be in one queue: who looks into it, or moves out of it, needs its own pool's right too,
    /// and that of each pool to which its letters go back.
    private func letterQueue(_ letters: DeadLetterService, _ context: Context) throws -> Pool {
        let queue = try letters.queue(of: pool(context))
        guard context.caller.pass != nil else { return queue }
        for pool in [queue] + service.registry.sources(of: queue) {
            if let denial = context.caller.denial(.admin, on: QueueOwners(of: pool), named: pool.name.text) {
                throw denial
            }
        }
        return queue
    }
}
