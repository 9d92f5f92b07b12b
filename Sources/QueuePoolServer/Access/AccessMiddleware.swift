// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore
import QueuePoolCore
import QueuePoolSQS
import QueuePoolSigning

// What the front door passed on is judged here, once and before any route: who sent it, and what the route needs of
// him. A signature covers the body: one that is signed is read whole before anything is done with it. A stream of lines
// is not read whole by anybody, so it comes with a bearer token, or over TLS with a signature that leaves the body out.

/// Knows who sent a request, and refuses what he may not.
struct AccessMiddleware: RouterMiddleware {
    let gate: AccessGate
    let routes: Routes

    @concurrent func handle(
        _ request: Request, context: RouteContext,
        next: @concurrent (Request, RouteContext) async throws -> Response
    ) async throws -> Response {
        let path = context.endpointPath
        let need = path.map { RequiredRights.of(method: request.method.rawValue, path: $0) }
        if need == .some(.nothing), !QueryService.takes(request) { return try await next(request, context) }
        var request = request
        var context = context
        do throws(AccessFault) {
            context.caller = try await caller(&request, context)
            try admit(&request, context)
            try check(need ?? nil, hasRoute: path != nil, context)
        } catch { return response(error, to: request, context) }
        var response = try await next(request, context)
        if let pass = context.caller.pass, pass.account.countsBytes { response.meter(pass, clock: gate.clock) }
        return response
    }

    /// Counts a request of a caller who is known.
    private func admit(_ request: inout Request, _ context: RouteContext) throws(AccessFault) {
        guard let pass = context.caller.pass else { return }
        let isStream = Routes.mediaType(request) == "application/x-ndjson"
        let length = isStream ? nil : request.headers[.contentLength].flatMap { Int($0) }
        // Lives are looked for in one place for all connections, so only if they are counted.
        let life = pass.account.countsConnections ? routes.lives.life(of: context.channel) : nil
        try gate.admit(context.caller, bytes: length ?? 0, life: life)
        guard length == nil, request.method != .get, pass.account.countsBytes else { return }
        request.meter(pass, clock: gate.clock, isPaced: isStream)
    }

    private func response(_ fault: AccessFault, to request: Request, _ context: RouteContext) -> Response {
        let answer = routes.refused(AccessMiddleware.answer(fault, to: request), fault, request, context)
        guard answer.closes else { return answer.response }
        // What is behind the door ends a connection only if its client asks for that.
        var response = answer.response
        response.headers[.connection] = "close"
        response.body = ResponseBody(contentLength: answer.body.count) { [channel = context.channel] writer in
            try await writer.write(ByteBuffer(bytes: answer.body))
            try await writer.finish(nil)
            channel.close(mode: .output, promise: nil)
        }
        return response
    }

    private func check(_ need: RequiredRight?, hasRoute: Bool, _ context: RouteContext) throws(AccessFault) {
        // What has no route does nothing, and is told so.
        guard hasRoute else { return }
        let caller = context.caller
        switch need {
        // Their handlers ask, or show only what he may see.
        case .nothing, .filtered, .ofAction, .oneOfInBody: return
        case .oneOf(let actions):
            let name = context.parameters.get("pool") ?? ""
            if let denial = caller.denial(actions, named: name, in: routes.service.registry) { throw denial }
        case .everywhere(let actions):
            guard !caller.mayAnyEverywhere(of: actions), let pass = caller.pass else { return }
            throw .denied(AccessDenial(keyID: pass.keyID, actions: actions, pool: nil))
        case nil:
            guard let pass = caller.pass else { return }
            throw .denied(AccessDenial(keyID: pass.keyID, actions: .admin, pool: nil))
        }
    }

    private func caller(_ request: inout Request, _ context: RouteContext) async throws(AccessFault) -> Caller {
        let authorizations = request.headers[values: .authorization]
        if authorizations.count == 1 {
            var value = authorizations[0]
            let found: Result<Caller, AccessFault>? = value.withUTF8 { bytes in
                guard let token = AccessGate.token(UnsafeRawBufferPointer(bytes)) else { return nil }
                do throws(AccessFault) { return .success(try gate.caller(token: token)) } catch {
                    return .failure(error)
                }
            }
            if let found { return try found.get() }
        }
        let signed = SignedRequest(request)
        let claim: SignatureClaim
        do throws(SignatureFault) {
            guard let found = try gate.verifier.claim(in: signed) else { throw .missingAuthenticationToken }
            claim = found
            // Nobody's body is read.
            if gate.current.passes(ofKey: claim.accessKeyID).isEmpty { throw .invalidClientTokenId }
            if Routes.mediaType(request) == "application/x-ndjson" {
                guard claim.payload == .unsigned else {
                    throw .incompleteSignature(
                        "A stream of lines needs a bearer token, or over TLS the body UNSIGNED-PAYLOAD.")
                }
                return try gate.caller(claim, signed, .later, isEncrypted: routes.service.isEncrypted)
            }
        } catch {
            guard error == .missingAuthenticationToken, authorizations.isEmpty, gate.takesCertificates else {
                throw .unauthenticated(error)
            }
            return try gate.caller(byCertificateOf: routes.lives.life(of: context.channel))
        }
        // Most bytes of a text may take three in a form.
        let limit = routes.limits.requestBytesMax * (QueryService.takes(request) ? 2 : 1)
        let body: [UInt8]
        do { body = try await routes.collect(request, limit: limit) } catch {
            throw .unread((error as? Problem) ?? .noRoom, limit: limit)
        }
        request.body = RequestBody(buffer: ByteBuffer(bytes: body))
        let result: Result<Caller, AccessFault> = body.withUnsafeBytes { bytes in
            do throws(SignatureFault) {
                return .success(try gate.caller(claim, signed, .bytes(bytes), isEncrypted: routes.service.isEncrypted))
            } catch { return .failure(.unauthenticated(error)) }
        }
        return try result.get()
    }

    /// In the words of the protocol that the request speaks.
    private static func answer(_ fault: AccessFault, to request: Request) -> Answer {
        if HTTPField.Name("X-Amz-Target").map({ request.headers[$0] != nil }) == true {
            return fault.sqsAnswer
        }
        return QueryService.takes(request) ? fault.queryAnswer : fault.answer
    }
}
