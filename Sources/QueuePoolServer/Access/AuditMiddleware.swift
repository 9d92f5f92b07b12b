// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore
import QueuePoolCore
import QueuePoolSQS

// What the audit log is told of REST, and of requests that the front door passed on.

/// Carries admin actions of REST out between their two entries of the audit log, and shows bodies after their one. It
/// stands behind what knows callers, and before what turns failures into answers.
struct AuditMiddleware: RouterMiddleware {
    let desk: AuditDesk
    let routes: Routes

    @concurrent func handle(
        _ request: Request, context: RouteContext,
        next: @concurrent (Request, RouteContext) async throws -> Response
    ) async throws -> Response {
        // The actions of the SQS protocol are told of where they are carried out.
        guard let path = context.endpointPath,
            let right = RequiredRights.of(method: request.method.rawValue, path: path), right.actions == .admin
        else { return try await next(request, context) }
        var audited = routes.audited(request, context)
        guard request.method != .get else {
            let response = try await next(request, context)
            if response.status == .forbidden { return desk.refuse(audited, .accessDenied, response) }
            // What changes nothing is worth no flush, unless it shows what somebody wrote to somebody.
            guard AuditedRoutes.readsBody(request, path: path) else { return response }
            do throws(AuditError) { try await desk.record(audited, status: response.status.code) } catch {
                return AuditDesk.unread.answer.numbered(audited.id).response
            }
            return response.numbered(audited.id)
        }
        var request = request
        if right == .oneOfInBody(.admin) {
            // It is not read again behind this: what is judged here is what is carried out.
            let body: [UInt8]
            do { body = try await routes.collect(request) } catch let problem as Problem {
                return problem.answer.response
            }
            request.body = RequestBody(buffer: ByteBuffer(bytes: body))
            audited.pool = PoolAdministration.name(in: body)
            guard isAllowed(audited.pool, context.caller) else {
                // Refusals are not worth a flush, and whoever is refused must not be able to ask for many.
                let response = try await next(request, context)
                return response.status == .forbidden ? desk.refuse(audited, .accessDenied, response) : response
            }
        }
        do throws(AuditError) { try await desk.begin(audited) } catch {
            return AuditDesk.refusal.answer.numbered(audited.id).response
        }
        let response: Response
        do { response = try await next(request, context) } catch {
            await desk.end(audited, status: HTTPResponse.Status.internalServerError.code)
            throw error
        }
        await desk.end(audited, status: response.status.code)
        return response.numbered(audited.id)
    }

    /// - Parameter pool: `nil`: the body names none, and does nothing.
    private func isAllowed(_ pool: PoolName?, _ caller: Caller) -> Bool {
        guard let pool else { return caller.pass == nil }
        return caller.denial(.admin, named: pool.text, in: routes.service.registry, isNew: true) == nil
    }
}

extension Routes {
    /// The answer to a request that is refused for who sent it, written down.
    func refused(_ answer: Answer, _ fault: AccessFault, _ request: Request, _ context: RouteContext) -> Answer {
        guard let audit = service.audit else { return answer }
        return audit.refuse(audited(request, context), fault, answer)
    }

    /// A request as the audit log sees it.
    func audited(_ request: Request, _ context: RouteContext) -> AuditedRequest {
        let path = context.endpointPath ?? ""
        let right = RequiredRights.of(method: request.method.rawValue, path: path)
        var audited = AuditedRequest(
            caller: context.caller.pass?.keyID,
            address: lives.life(of: context.channel)?.address.flatMap { AuditWord($0) }, via: .rest,
            pool: context.parameters.get("pool").flatMap { PoolName($0) },
            message: context.parameters.get("id").flatMap { MessageID($0) })
        let target = HTTPField.Name("X-Amz-Target").flatMap { request.headers[$0] }
        if target != nil || QueryService.takes(request) {
            // Which action a form's body names is not known before its sender is.
            let query = request.uri.queryParameters["Action"].flatMap { SQSAction(rawValue: String($0)) }
            let action = target == nil ? query : target.flatMap { SQSAction(target: $0) }
            audited.via = target == nil ? .query : .sqs
            audited.action = action.map { RequiredRights.of($0).actions } ?? []
            audited.operation = action?.rawValue
        } else {
            audited.action = right?.actions ?? []
            audited.operation = AuditedRoutes.operation(method: request.method.rawValue, path: path)
        }
        return audited
    }
}

/// The operations of REST by the names that they have in the OpenAPI document.
enum AuditedRoutes {
    /// - Returns: `nil` for a route that has none there.
    static func operation(method: String, path: String) -> String? { names["\(method) \(path)"] }

    /// Whether the answer has what is in a message, as somebody sent it.
    static func readsBody(_ request: Request, path: String) -> Bool {
        operation(method: request.method.rawValue, path: path) == "showDeadLetter" && Routes.wantsBody(request)
    }

    static let names: [String: String] = [
        "GET /metrics": "metrics",
        "GET /v1/pools": "listPools",
        "POST /v1/pools": "createPool",
        "GET /v1/pools/{pool}": "showPool",
        "DELETE /v1/pools/{pool}": "deletePool",
        "POST /v1/pools/{pool}/purge": "purgePool",
        "GET /v1/pools/{pool}/leases": "listLeases",
        "PUT /v1/pools/{pool}/leases/{shard}": "writeLease",
        "PUT /v1/pools/{pool}/workers/{worker}": "renewHeartbeat",
        "DELETE /v1/pools/{pool}/workers/{worker}": "removeHeartbeat",
        "POST /v1/pools/{pool}/messages": "sendMessages",
        "POST /v1/pools/{pool}/emails": "sendEmail",
        "GET /v1/pools/{pool}/messages/{id}": "trackMessage",
        "POST /v1/pools/{pool}/outcomes": "tellOutcomes",
        "GET /v1/pools/{pool}/dead-letters": "listDeadLetters",
        "GET /v1/pools/{pool}/dead-letters/redrive": "redriveProgress",
        "POST /v1/pools/{pool}/dead-letters/redrive": "startRedrive",
        "DELETE /v1/pools/{pool}/dead-letters/redrive": "cancelRedrive",
        "GET /v1/pools/{pool}/dead-letters/{id}": "showDeadLetter",
        "DELETE /v1/pools/{pool}/dead-letters/{id}": "deleteDeadLetter",
    ]
}

extension AuditDesk {
    fileprivate func refuse(_ request: AuditedRequest, _ reason: AuditWord, _ response: Response) -> Response {
        write(request, reason)
        return response.numbered(request.id)
    }
}

extension Response {
    /// With this id instead of one of its own.
    fileprivate func numbered(_ id: String) -> Response {
        var response = self
        if let name = HTTPField.Name(RequestNumber.header) { response.headers[name] = id }
        return response
    }
}
