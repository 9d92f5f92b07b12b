// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore
import QueuePoolCore
import QueuePoolRuntime

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
        addSQS(router)
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
