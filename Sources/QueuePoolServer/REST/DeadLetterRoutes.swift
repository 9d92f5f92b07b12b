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
                letters.queue(of: pool(context)), limit: parameters["limit"].map(String.init),
                after: parameters["after"].map(String.init)
            ).response
        }
        router.get("/v1/pools/:pool/dead-letters/redrive") { _, context in
            try letters.progress(letters.queue(of: pool(context))).response
        }
        router.post("/v1/pools/:pool/dead-letters/redrive") { request, context in
            let queue = try letters.queue(of: pool(context))
            guard Routes.mediaType(request) == "application/json" else { throw Routes.unsupported("application/json") }
            return try await letters.redrive(queue, collect(request)).response
        }
        router.delete("/v1/pools/:pool/dead-letters/redrive") { _, context in
            try letters.cancel(letters.queue(of: pool(context))).response
        }
        router.get("/v1/pools/:pool/dead-letters/:id") { request, context in
            try await letters.show(
                letters.queue(of: pool(context)), id: context.parameters.get("id") ?? "",
                withBody: request.uri.queryParameters["body"] == "true"
            ).response
        }
        router.delete("/v1/pools/:pool/dead-letters/:id") { _, context in
            try await letters.remove(letters.queue(of: pool(context)), id: context.parameters.get("id") ?? "").response
        }
    }
}
