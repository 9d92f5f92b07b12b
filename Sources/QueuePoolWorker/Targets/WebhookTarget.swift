// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl

/// A POST a message: 2xx is delivered; 4xx is never, but for 408, 425 and 429; anything else is again.
struct WebhookTarget: DeliveryTarget {
    let url: String
    let engine: CurlEngine

    var kind: String { "http" }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        await deliver(message, attempt: attempt, mayBegin: { true })
    }

    func deliver(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome {
        let type =
            message.attributes.first { $0.name == "Content-Type" && !$0.isBinary }
            .map { String(decoding: $0.value, as: UTF8.self) } ?? "text/plain; charset=utf-8"
        // A header that came in as an attribute must not bring another one along.
        var request = HTTPRequest(
            method: "POST", url: url,
            headers: [
                ("Content-Type", String(type.unicodeScalars.filter { (32..<127).contains($0.value) })),
                ("Idempotency-Key", message.id),
                ("X-Queuepool-Message-Id", message.id), ("X-Queuepool-Group", message.group),
                ("X-Queuepool-Attempt", String(attempt)),
            ], body: message.body, timeoutMilliseconds: 30_000, lane: .deliveries)
        request.mayBegin = mayBegin
        switch await engine.outcome(request) {
        case .success(let response): return WebhookTarget.outcome(response)
        case .failure(let failure): return WebhookTarget.outcome(failure)
        }
    }

    /// Without an answer, what counts is whether the other side may have seen the message.
    static func outcome(_ failure: CurlFailure) -> DeliveryOutcome {
        let errorClass = MailTarget.errorClass(failure.error)
        if failure.error == .invalid { return .refused(errorClass: errorClass) }
        if failure.wasSent { return .unknown(errorClass: errorClass) }
        switch failure.error {
        case .cancelled, .closed: return .cancelled
        default: return .unavailable(errorClass: errorClass)
        }
    }

    private static func outcome(_ response: HTTPResponse) -> DeliveryOutcome {
        let errorClass = "http-\(response.status)"
        switch response.status {
        case 200..<300: return .delivered
        case 408, 425, 429, 500...:
            let seconds = response.header("Retry-After").flatMap { Int64($0) }
            return .failed(
                errorClass: errorClass, retryAfterMilliseconds: seconds.map { min(max(0, $0), 3_600) * 1_000 })
        case 400..<500: return .refused(errorClass: errorClass)
        default: return .failed(errorClass: errorClass)
        }
    }
}
