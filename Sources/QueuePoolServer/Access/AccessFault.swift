// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolSQS
import QueuePoolSigning

/// Why a request is not carried out for who sent it.
enum AccessFault: Error, Hashable, Sendable {
    /// Nobody knows who sent it.
    case unauthenticated(SignatureFault)
    /// Nobody has its bearer token, or no longer.
    case unknownToken
    /// Nobody has the name in its connection's certificate, or no longer.
    case unknownCertificate
    /// Its body, which its signature covers, was not read.
    case unread(Problem, limit: Int)
    /// Who sent it is known, and may not.
    case denied(AccessDenial)
    /// Who sent it is known, and uses as much as he may.
    case limited(CallerRefusal)

    /// Over the SQS protocol.
    var sqsError: SQSError {
        switch self {
        case .unauthenticated(let fault): SQSError(fault)
        case .unknownToken: SQSError(.invalidClientTokenId, AccessFault.unknownTokenText)
        case .unknownCertificate: SQSError(.invalidClientTokenId, AccessFault.unknownCertificateText)
        case .unread(let problem, let limit): .refusedBody(problem, limit: limit)
        case .denied(let denial): SQSError(.accessDenied, denial.text)
        case .limited(let refusal): SQSError(.requestThrottled, refusal.text)
        }
    }

    /// Over the SQS protocol in JSON.
    var sqsAnswer: Answer { complete(SQSService.answer(sqsError)) }

    /// Over the SQS protocol as forms and XML.
    var queryAnswer: Answer { complete(QueryService.answer(sqsError)) }

    private func complete(_ answer: Answer) -> Answer {
        guard case .limited(let refusal) = self else { return answer }
        return refusal.complete(answer)
    }

    /// Over REST.
    var answer: Answer {
        switch self {
        case .unauthenticated(.missingAuthenticationToken):
            AccessFault.answer(
                Problem(
                    "unauthenticated", status: 401, title: "Nobody knows who sent the request",
                    detail: "Send Authorization: Bearer and a key's token, or sign the request with its secret."),
                challenge: "Bearer realm=\"queuepool\"")
        case .unknownToken:
            AccessFault.answer(
                Problem(
                    "unknown-token", status: 401, title: "The bearer token is not accepted",
                    detail: AccessFault.unknownTokenText),
                challenge: "Bearer realm=\"queuepool\", error=\"invalid_token\"")
        case .unknownCertificate:
            Problem(
                "unknown-certificate", status: 403, title: "The client certificate is not accepted",
                detail: AccessFault.unknownCertificateText
            ).answer
        case .unread(let problem, _): problem.answer
        case .unauthenticated(let fault):
            Problem(
                AccessFault.kind(fault), status: fault.status, title: "The signature is not accepted",
                detail: fault.message
            ).answer
        case .denied(let denial):
            Problem("access-denied", status: 403, title: "The key may not do this", detail: denial.text).answer
        case .limited(let refusal): refusal.complete(refusal.problem.answer)
        }
    }

    private static let unknownCertificateText =
        "No key has the name in the client certificate, or it was revoked, or its time is over."
    private static let unknownTokenText = "No key has this token, or it was revoked, or its time is over."

    private static func answer(_ problem: Problem, challenge: String) -> Answer {
        var answer = problem.answer
        answer.headers.append((name: "WWW-Authenticate", value: challenge))
        return answer
    }

    private static func kind(_ fault: SignatureFault) -> String {
        switch fault {
        case .missingAuthenticationToken: "unauthenticated"
        case .incompleteSignature: "incomplete-signature"
        case .invalidClientTokenId: "unknown-key"
        case .signatureDoesNotMatch: "signature-does-not-match"
        case .requestExpired: "request-expired"
        }
    }
}

/// Whom what is denied.
struct AccessDenial: Hashable, Sendable {
    let keyID: String
    /// What would be enough.
    let actions: AccessActions
    /// `nil`: every pool.
    let pool: String?

    var text: String {
        // A name that no queue can have is not worth repeating.
        let place = pool.map { PoolName($0) == nil ? "a queue of this name" : "the pool of \($0)" } ?? "every pool"
        let words = actions.text.split(separator: ",").map { "'\($0)'" }.joined(separator: " or ")
        return "The key \(keyID) has no right \(words) on \(place)."
    }
}

extension SQSError {
    fileprivate init(_ fault: SignatureFault) {
        let kind: Kind =
            switch fault {
            case .missingAuthenticationToken: .missingAuthenticationToken
            case .incompleteSignature: .incompleteSignature
            case .invalidClientTokenId: .invalidClientTokenId
            case .signatureDoesNotMatch: .signatureDoesNotMatch
            case .requestExpired: .requestExpired
            }
        self.init(kind, fault.message)
    }
}
