// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch
import QueuePoolCore
import QueuePoolSQS
import QueuePoolSigning

// Where the doors write down who did what. An admin action is taken only after it is on stable storage that it begins,
// and answered only after its outcome is. A body that somebody reads changes nothing, so it has one entry, which is on
// stable storage before the body leaves. Whoever is kept from something is written down without waiting. What is written
// of one request has one id, which its answer carries too.

/// One request as the audit log sees it.
struct AuditedRequest: Sendable {
    /// The id of a key; `nil` for somebody who is not known.
    var caller: String?
    var address: AuditWord?
    var via: AuditProtocol
    var action: AccessActions = []
    /// `nil`: it has no name that is known.
    var operation: String?
    var pool: PoolName?
    /// The one message that it is about.
    var message: MessageID?
    /// The one that its answer will carry.
    let id = RequestNumber.next()
}

/// Writes entries of requests.
struct AuditDesk: Sendable {
    private let trail: any AuditTrail
    private let clock: any Clock

    init(_ trail: any AuditTrail, clock: any Clock) {
        self.trail = trail
        self.clock = clock
    }

    /// Writes down that somebody was kept from something. It is not waited for: the refusal stands whatever becomes of it.
    /// - Returns: the answer, with the id that was written; as it was if it refuses for another reason.
    func refuse(_ request: AuditedRequest, _ fault: AccessFault, _ answer: Answer) -> Answer {
        if case .limited(let refusal) = fault {
            var request = request
            request.caller = refusal.keyID
            trail.record(entry(request, .overLimit(refusal.limit))) { _ in }
            return answer.numbered(request.id)
        }
        guard let reason = fault.auditReason else { return answer }
        var request = request
        if case .denied(let denial) = fault {
            request.caller = denial.keyID
            request.pool = request.pool ?? denial.pool.flatMap { PoolName($0) }
            if request.action.isEmpty { request.action = denial.actions }
        }
        return refuse(request, reason, answer)
    }

    /// The same, by a reason of its own.
    func refuse(_ request: AuditedRequest, _ reason: AuditWord, _ answer: Answer) -> Answer {
        write(request, reason)
        return answer.numbered(request.id)
    }

    /// Writes a refusal down.
    func write(_ request: AuditedRequest, _ reason: AuditWord) {
        trail.record(entry(request, .refused(reason))) { _ in }
    }

    /// Takes an admin action between its two entries, over the SQS protocol.
    /// - Parameter body: called on a thread that may block; not at all if it cannot be kept that it begins.
    func perform(
        _ request: AuditedRequest, reply: @escaping Reply, _ body: @escaping @Sendable (@escaping Reply) -> Void
    ) {
        trail.record(entry(request, .begun)) { begun in
            guard case .success = begun else {
                return reply(SQSService.answer(AuditDesk.refusalOfSQS).numbered(request.id))
            }
            // The trail's thread has others to serve.
            DispatchQueue.global().async {
                body { answer in
                    let error = answer.headers.first { $0.name == "x-amzn-query-error" }?.value
                    let outcome = AuditDesk.outcome(status: answer.status, error: error)
                    // What was done is answered as it is, whatever becomes of this entry: that it began is kept.
                    trail.record(entry(request, outcome)) { _ in reply(answer.numbered(request.id)) }
                }
            }
        }
    }

    /// Writes down that an admin action begins.
    /// - Throws: `AuditError`; then it must not be taken.
    func begin(_ request: AuditedRequest) async throws(AuditError) { try await trail.record(entry(request, .begun)) }

    /// Writes down what came of an admin action that began.
    func end(_ request: AuditedRequest, status: Int) async { try? await record(request, status: status) }

    /// Writes down that somebody reads what is in a message.
    /// - Parameter status: of the answer that waits.
    /// - Throws: `AuditError`; then the answer must not leave.
    func record(_ request: AuditedRequest, status: Int) async throws(AuditError) {
        try await trail.record(entry(request, AuditDesk.outcome(status: status, error: nil)))
    }

    private func entry(_ request: AuditedRequest, _ outcome: AuditOutcome) -> AuditEntry {
        AuditEntry(
            time: clock.wallTime(), caller: request.caller, address: request.address, via: request.via,
            action: request.action, operation: request.operation.flatMap { AuditWord($0) } ?? .unknown,
            pool: request.pool, message: request.message, outcome: outcome, request: AuditWord(request.id))
    }

    /// - Parameter error: as the SQS protocol names it; `nil` over REST.
    static func outcome(status: Int, error: String?) -> AuditOutcome {
        if (200..<300).contains(status) { return .done }
        // The SQS protocol answers 403 to other things as well.
        let isDenied = status == 403 && (error?.hasPrefix("AccessDenied") ?? true)
        return isDenied ? .refused(.accessDenied) : .failed(status: status)
    }

    private static let why = "The audit log cannot be written. Nothing was done."

    static let refusalOfSQS = SQSError(.serviceUnavailable, why)

    /// Over REST.
    static let refusal = problem(why)

    /// Of a body.
    static let unread = problem("The audit log cannot be written. The message is not shown.")

    private static func problem(_ why: String) -> Problem {
        Problem(
            "audit-log", status: 503, title: "The server cannot write down what is done", detail: why,
            retryAfterSeconds: 5)
    }
}

extension AccessFault {
    /// Why somebody is kept from something; `nil` if it is not for who he is.
    var auditReason: AuditWord? {
        switch self {
        case .unauthenticated(.missingAuthenticationToken): AuditWord("unauthenticated")
        case .unauthenticated(.incompleteSignature): AuditWord("incomplete-signature")
        case .unauthenticated(.invalidClientTokenId): AuditWord("unknown-key")
        case .unauthenticated(.signatureDoesNotMatch): AuditWord("signature-does-not-match")
        case .unauthenticated(.requestExpired): AuditWord("request-expired")
        case .unknownToken: AuditWord("unknown-token")
        case .denied: .accessDenied
        default: nil
        }
    }
}

extension Answer {
    /// With this id instead of one of its own.
    func numbered(_ id: String) -> Answer {
        var answer = self
        if let index = headers.firstIndex(where: { $0.name == "x-amzn-RequestId" }) {
            answer.headers[index].value = id
        } else {
            answer.headers.append((name: RequestNumber.header, value: id))
        }
        return answer
    }
}
