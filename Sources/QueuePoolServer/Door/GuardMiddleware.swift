// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore

/// Judges every request that the front door passes on before a route sees it, and every answer before a browser does.
struct GuardMiddleware: RouterMiddleware {
    let browsers: BrowserGuard

    private static let fetchSite = HTTPField.Name("Sec-Fetch-Site")
    private static let target = HTTPField.Name("X-Amz-Target")
    private static let nosniff = HTTPField.Name("X-Content-Type-Options")
    private static let requestNumber = HTTPField.Name(RequestNumber.header)
    private static let requestNumberOfSQS = HTTPField.Name("x-amzn-RequestId")
    private static let ofPages: [(HTTPField.Name?, String)] = [
        (HTTPField.Name("X-Frame-Options"), "DENY"),
        (HTTPField.Name("Referrer-Policy"), "no-referrer"),
        (.contentSecurityPolicy, ConsolePage.contentSecurityPolicy),
    ]

    @concurrent func handle(
        _ request: Request, context: RouteContext,
        next: @concurrent (Request, RouteContext) async throws -> Response
    ) async throws -> Response {
        let refusal = browsers.refusal(
            host: request.head.authority, origin: request.headers[.origin],
            fetchSite: GuardMiddleware.fetchSite.flatMap { request.headers[$0] })
        var response =
            if let problem = refusal?.problem ?? GuardMiddleware.misplaced(request) ?? GuardMiddleware.encoded(request)
            {
                problem.answer.response
            } else {
                try await next(request, context)
            }
        if let name = GuardMiddleware.nosniff { response.headers[name] = "nosniff" }
        if let name = GuardMiddleware.requestNumber, let ofSQS = GuardMiddleware.requestNumberOfSQS,
            response.headers[ofSQS] == nil, response.headers[name] == nil
        {
            response.headers[name] = RequestNumber.next()
        }
        guard response.headers[.contentType]?.hasPrefix("text/html") == true else { return response }
        for case (let name?, let value) in GuardMiddleware.ofPages { response.headers[name] = value }
        return response
    }

    /// A proxy that lets some paths pass must not let every action pass with them.
    private static func misplaced(_ request: Request) -> Problem? {
        guard let target, request.headers[target] != nil, !SQSPath.isOne(request.uri.path.utf8) else { return nil }
        return Problem(
            "target-at-wrong-path", status: 400, title: "The header X-Amz-Target has no meaning at this path",
            detail: "The SQS protocol is spoken at / and at the paths of queue URLs, /ACCOUNT/QUEUE.")
    }

    /// A body that is encoded would be taken for what it is not.
    private static func encoded(_ request: Request) -> Problem? {
        guard let encoding = request.headers[.contentEncoding]?.lowercased(), !encoding.isEmpty, encoding != "identity"
        else { return nil }
        return Problem(
            "unsupported-encoding", status: 415, title: "The Content-Encoding is not supported",
            detail: "Send the body as it is, without Content-Encoding or with identity.")
    }
}
