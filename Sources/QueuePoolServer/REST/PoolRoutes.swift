// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import QueuePoolCore
import QueuePoolRuntime

// `/v1/pools` and `/v1/pools/{pool}`: pools are listed, made, shown, purged and removed.

extension Routes {
    func addPools(_ router: Hummingbird.Router<Context>) {
        let admin = PoolAdministration(registry: service.registry)
        router.get("/v1/pools") { _, context in
            let pools = service.registry.pools.filter(context.caller.knows)
            return Answer(status: 200, contentType: "application/json", body: PoolDocuments.list(pools)).response
        }
        router.post("/v1/pools") { request, context in
            guard Routes.mediaType(request) == "application/json" else { throw Routes.unsupported("application/json") }
            let body = try await collect(request)
            return await Routes.reply { admin.create(body, caller: context.caller, reply: $0) }
        }
        router.get("/v1/pools/:pool") { _, context in
            let pool = try pool(context)
            let registry = service.registry
            return await Routes.reply {
                LeaseService.show(pool, registry.leases, rates: rates, clock: registry.clock, reply: $0)
            }
        }
        router.delete("/v1/pools/:pool") { _, context in
            let pool = try pool(context)
            return await Routes.reply { admin.remove(pool, reply: $0) }
        }
        router.post("/v1/pools/:pool/purge") { _, context in
            let pool = try pool(context)
            return await Routes.reply { admin.purge(pool, reply: $0) }
        }
    }
}
