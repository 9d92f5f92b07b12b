// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import HTTPTypes
import Hummingbird
import NIOCore

/// Turns whatever a route throws into problem+json.
struct ProblemMiddleware: RouterMiddleware {
    @concurrent func handle(
        _ request: Request, context: RouteContext,
        next: @concurrent (Request, RouteContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let problem as Problem {
            return problem.answer.response
        } catch let fault as AccessFault {
            return fault.answer.response
        } catch let error as HTTPError {
            return ProblemMiddleware.problem(error, request)
        }
    }

    private static func problem(_ error: HTTPError, _ request: Request) -> Response {
        guard error.status == .notFound else {
            return Problem(
                "bad-request", status: error.status.code, title: error.status.reasonPhrase,
                detail: "The request was not understood."
            ).answer.response
        }
        let allowed = RouteTable.methods(of: request.uri.path)
        if allowed.isEmpty {
            guard QueryService.takes(request) else { return Problem.noSuchResource.answer.response }
            return QueryService.answer(.invalidAddress(request.uri.path)).response
        }
        let methods = allowed.joined(separator: ", ")
        var response = Problem(
            "method-not-allowed", status: 405, title: "The method is not allowed here", detail: "Allowed: \(methods)."
        ).answer.response
        response.headers[.allow] = methods
        return response
    }
}

extension Problem {
    static let noSuchResource = Problem(
        "no-such-resource", status: 404, title: "There is nothing here",
        detail: "GET /openapi.json describes what there is. "
            + "The SQS protocol needs the header X-Amz-Target or the parameter Action.")
}

/// Which methods a path has: the router does not tell.
enum RouteTable {
    static func methods(of path: String) -> [String] {
        let parts = path.split(separator: "/", omittingEmptySubsequences: true)
        switch (parts.count, parts.first, parts.last) {
        case (0, _, _): return ["GET", "POST"]
        case (1, "healthz", _), (1, "readyz", _), (1, "metrics", _), (1, "openapi.json", _): return ["GET"]
        case (2, "v1", "pools"): return ["GET", "POST"]
        case (3, "v1", _) where parts[1] == "pools": return ["GET", "DELETE"]
        case (4, "v1", "messages"), (4, "v1", "emails"), (4, "v1", "purge"), (4, "v1", "outcomes"):
            return parts[1] == "pools" ? ["POST"] : []
        case (5, "v1", _) where parts[1] == "pools" && parts[3] == "messages": return ["GET"]
        case (4, "v1", "leases") where parts[1] == "pools": return ["GET"]
        case (5, "v1", _) where parts[1] == "pools" && parts[3] == "leases": return ["PUT"]
        case (5, "v1", _) where parts[1] == "pools" && parts[3] == "workers": return ["PUT", "DELETE"]
        case (4, "v1", "dead-letters") where parts[1] == "pools": return ["GET"]
        case (5, "v1", "redrive") where parts[1] == "pools" && parts[3] == "dead-letters":
            return ["GET", "POST", "DELETE"]
        case (5, "v1", _) where parts[1] == "pools" && parts[3] == "dead-letters": return ["GET", "DELETE"]
        default: return []
        }
    }
}
