// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Hummingbird
import QueuePoolCore
import QueuePoolRuntime

// What became of messages: asked for by id, told in batches.

extension Routes {
    func addTracking(_ router: Hummingbird.Router<Context>) {
        router.get("/v1/pools/:pool/messages/:id") { _, context in
            try await tracking().show(pool(context), id: context.parameters.get("id") ?? "").response
        }
        router.post("/v1/pools/:pool/outcomes") { request, context in
            let pool = try pool(context)
            let tracking = try tracking()
            guard Routes.mediaType(request) == "application/json" else { throw Routes.unsupported("application/json") }
            return try await tracking.take(pool, collect(request)).response
        }
    }

    private func tracking() throws(Problem) -> TrackingService {
        guard let tracking = service.registry.tracking else {
            throw Problem(
                "tracking-off", status: 404, title: "Messages are not tracked",
                detail: "The server was started with the setting 'tracking.hours' at 0.")
        }
        return TrackingService(tracking: tracking, clock: service.registry.clock)
    }
}
