// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore
import QueuePoolCore
import QueuePoolSQS

// The SQS protocol, as JSON and as forms: at the root, and below the path of a queue.

extension Routes {
    func addSQS(_ router: Hummingbird.Router<Context>) {
        for path in ["/", "/:queue", "/:queue/:name"] as [RouterPath] {
            router.post(path) { request, context in try await sqs(request, context) }
        }
        for path in ["/:queue", "/:queue/:name"] as [RouterPath] {
            router.get(path) { request, context in try await query(request, context) }
        }
    }

    /// The SQS protocol for requests that are not plain: chunked bodies, expectations, connections turned over before.
    private func sqs(_ request: Request, _ context: Context) async throws -> Response {
        guard let target = HTTPField.Name("X-Amz-Target").flatMap({ request.headers[$0] }) else {
            return try await query(request, context)
        }
        let trace = HTTPField.Name("X-Amzn-Trace-Id").flatMap { request.headers[$0] }
        let body: [UInt8]
        do {
            body = try await collect(request)
        } catch let problem as Problem {
            return SQSService.answer(.refusedBody(problem, limit: limits.requestBytesMax)).response
        }
        let life = lives.life(of: context.channel) ?? ConnectionLife()
        return await Routes.reply { reply in
            body.withUnsafeBytes {
                service.sqs.handle(
                    target: target, body: $0, trace: trace.map { Array($0.utf8) }, life: life, caller: context.caller
                ) { answer in
                    if life.isClosed, let takeBack = answer.takeBack {
                        context.channel.eventLoop.execute(takeBack)
                    }
                    reply(answer)
                }
            }
        }
    }

    /// The SQS protocol as forms and XML.
    func query(_ request: Request, _ context: Context) async throws -> Response {
        let isGet = request.method == .get
        let path = request.uri.path
        guard QueryService.takes(request) || isGet && SQSPath.isOne(path.utf8) else { throw Problem.noSuchResource }
        // Most bytes of a text may take three in a form.
        let limit = limits.requestBytesMax * 2
        let body: [UInt8]
        do {
            body = isGet ? [] : try await collect(request, limit: limit)
        } catch let problem as Problem {
            return QueryService.answer(.refusedBody(problem, limit: limit)).response
        }
        let trace = HTTPField.Name("X-Amzn-Trace-Id").flatMap { request.headers[$0] }.map { Array($0.utf8) }
        let life = lives.life(of: context.channel) ?? ConnectionLife()
        return await Routes.reply { reply in
            QueryService(sqs: service.sqs).handle(
                path: path, query: request.uri.query, body: body, trace: trace, life: life, caller: context.caller
            ) { answer in
                if life.isClosed, let takeBack = answer.takeBack { context.channel.eventLoop.execute(takeBack) }
                reply(answer)
            }
        }
    }
}
