// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import QueuePoolCore
import QueuePoolRuntime

// `/v1/pools/{pool}/messages` and `/v1/pools/{pool}/emails`: one message, an array of emails, or a stream of lines.

extension Routes {
    func addMessages(_ router: Hummingbird.Router<Context>) {
        router.post("/v1/pools/:pool/messages") { request, context in
            let pool = try pool(context)
            let key = try Routes.idempotencyKey(request)
            switch Routes.mediaType(request) {
            case "application/x-ndjson" where key != nil: throw IdempotencyKey.isOfOneMessage
            case "application/x-ndjson":
                return MessageStream(pool: pool, ids: service.messages.ids, budget: budget).response(
                    request, caller: context.caller, channel: context.channel)
            case "application/json":
                let body = try await collect(request)
                return await Routes.reply { reply in
                    if let key { return service.messages.handle(pool, body, key: key, reply: reply) }
                    body.withUnsafeBytes { service.messages.handle(pool: pool.name.text, $0, reply: reply) }
                }
            default: throw Routes.unsupported("application/json or application/x-ndjson")
            }
        }
        router.post("/v1/pools/:pool/emails") { request, context in try await emails(request, context) }
    }

    private func emails(_ request: Request, _ context: Context) async throws -> Response {
        let pool = try pool(context)
        let key = try Routes.idempotencyKey(request)
        let mode = try EmailArray.Mode(request.uri.queryParameters["mode"])
        let messages = service.messages
        switch Routes.mediaType(request) {
        case "application/x-ndjson":
            guard key == nil else { throw IdempotencyKey.isOfOneMessage }
            guard mode == .each else {
                throw Problem.invalidField("mode", "'mode' is strict; that is for arrays only, not for streams.")
            }
            return MessageStream(pool: pool, ids: messages.ids, budget: budget, lines: .emails).response(
                request, caller: context.caller, channel: context.channel)
        case "application/json":
            let body = try await collect(request)
            guard EmailArray.isOne(body) else {
                return await Routes.reply { EmailSender(messages: messages).handle(pool, body, key: key, reply: $0) }
            }
            guard key == nil else { throw IdempotencyKey.isOfOneMessage }
            return await Routes.reply { EmailArray(pool: pool, ids: messages.ids).handle(body, mode, reply: $0) }
        default: throw Routes.unsupported("application/json or application/x-ndjson")
        }
    }

    private static func idempotencyKey(_ request: Request) throws -> IdempotencyKey? {
        try IdempotencyKey(HTTPField.Name(IdempotencyKey.name).map { request.headers[values: $0] } ?? [])
    }
}
