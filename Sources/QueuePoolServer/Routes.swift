// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import QueuePoolCore
import QueuePoolRuntime
import QueuePoolSQS
import Synchronization

// Every request that the front door passes on. The routes are those of the OpenAPI document, and no others.

/// A request's context: the usual one, and the channel that it came by.
struct RouteContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// Who asks, once that is known.
    var caller = Caller.anybody

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        channel = source.channel
    }
}

struct Routes: Sendable {
    typealias Context = RouteContext

    let service: QueueService
    let limits: DoorLimits
    let browsers: BrowserGuard
    let lives: ConnectionLives
    /// What the bodies of all requests that have not arrived whole may take.
    let budget: ByteBudget
    let metrics: MetricsPage
    let rates: ShardRates
    let whyNotReady: @Sendable () -> String?

    func router() -> Hummingbird.Router<Context> {
        let router = Hummingbird.Router(context: Context.self)
        router.add(middleware: GuardMiddleware(browsers: browsers))
        if let access = service.access { router.add(middleware: AccessMiddleware(gate: access, routes: self)) }
        if let audit = service.audit { router.add(middleware: AuditMiddleware(desk: audit, routes: self)) }
        router.add(middleware: ProblemMiddleware())
        addOperations(router)
        addPools(router)
        addLeases(router)
        addMessages(router)
        addDeadLetters(router)
        addTracking(router)
        for path in ["/", "/:queue", "/:queue/:name"] as [RouterPath] {
            router.post(path) { request, context in try await sqs(request, context) }
        }
        for path in ["/:queue", "/:queue/:name"] as [RouterPath] {
            router.get(path) { request, context in try await query(request, context) }
        }
        return router
    }

    private func addOperations(_ router: Hummingbird.Router<Context>) {
        router.get("/") { request, context in
            guard QueryService.takes(request) else {
                return Routes.text(ConsolePage.html, "text/html; charset=utf-8")
            }
            return try await query(request, context)
        }
        router.get("/openapi.json") { _, _ in Routes.text(OpenAPIDocument.json, "application/json") }
        router.get("/healthz") { _, _ in Routes.text("ok\n", "text/plain; charset=utf-8") }
        router.get("/readyz") { _, _ in
            whyNotReady().map { reason in
                Problem(
                    "not-ready", status: 503, title: "The server is not ready", detail: reason, retryAfterSeconds: 1
                ).answer.response
            } ?? Routes.text("ready\n", "text/plain; charset=utf-8")
        }
        router.get("/metrics") { _, _ in
            Routes.text(metrics.text(), "text/plain; version=0.0.4; charset=utf-8")
        }
    }

    private func addPools(_ router: Hummingbird.Router<Context>) {
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

    private func addLeases(_ router: Hummingbird.Router<Context>) {
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

    private func addMessages(_ router: Hummingbird.Router<Context>) {
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
    private func query(_ request: Request, _ context: Context) async throws -> Response {
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

    // MARK: - Parts

    func pool(_ context: Context) throws -> Pool {
        let name = context.parameters.get("pool") ?? ""
        guard let pool = service.registry.pool(name) else { throw service.registry.absence(of: name) }
        return pool
    }

    /// - Parameter limit: bytes; `nil`: those of a request of any protocol but Query.
    func collect(_ request: Request, limit: Int? = nil) async throws -> [UInt8] {
        let limit = limit ?? limits.requestBytesMax
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit {
            throw Problem.tooLarge(limit: limit)
        }
        var body: [UInt8] = []
        var held = HeldBytes(of: budget)
        for try await piece in request.body {
            guard body.count + piece.readableBytes <= limit else { throw Problem.tooLarge(limit: limit) }
            guard held.set(body.count + piece.readableBytes) else { throw Problem.noRoom }
            body.append(contentsOf: piece.readableBytesView)
        }
        return body
    }

    static func reply(_ body: (@escaping Reply) -> Void) async -> Response {
        await withCheckedContinuation { continuation in body { continuation.resume(returning: $0) } }.response
    }

    private static func throwingReply(_ body: (@escaping Reply) throws(Problem) -> Void) async throws -> Response {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Answer, any Error>) in
            do throws(Problem) { try body { continuation.resume(returning: $0) } } catch {
                continuation.resume(throwing: error)
            }
        }.response
    }

    private static func idempotencyKey(_ request: Request) throws -> IdempotencyKey? {
        try IdempotencyKey(HTTPField.Name(IdempotencyKey.name).map { request.headers[values: $0] } ?? [])
    }

    /// The Content-Type without its parameters, in lower case.
    static func mediaType(_ request: Request) -> String {
        let type = request.headers[.contentType] ?? ""
        return type.prefix { $0 != ";" }.lowercased().filter { $0 != " " }
    }

    static func unsupported(_ allowed: String) -> Problem {
        Problem(
            "unsupported-media-type", status: 415, title: "The Content-Type is not supported",
            detail: "Allowed is \(allowed).")
    }

    private static func text(_ text: String, _ type: String) -> Response {
        Response(status: .ok, headers: [.contentType: type], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

extension Answer {
    var response: Response {
        var fields = HTTPFields()
        fields[.contentType] = "\(contentType)"
        for (name, value) in headers { if let name = HTTPField.Name(name) { fields[name] = value } }
        return Response(
            status: HTTPResponse.Status(code: status), headers: fields,
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: body)))
    }
}
