// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl

/// A POST a message: 2xx is delivered; 4xx is never, but for 408, 425 and 429; anything else is again.
struct WebhookTarget: DeliveryTarget {
    let url: String
    /// `nil`: requests are not signed.
    var secrets: WebhookSecrets?
    let timeoutMilliseconds: Int
    let engine: CurlEngine
    let clock: any Clock
    private let pause = TargetPause()

    init(
        url: String, secrets: WebhookSecrets? = nil, timeoutMilliseconds: Int = 30_000, engine: CurlEngine,
        clock: any Clock
    ) {
        self.url = url
        self.timeoutMilliseconds = timeoutMilliseconds
        self.secrets = secrets
        self.engine = engine
        self.clock = clock
    }

    var kind: String { "http" }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        await deliver(message, attempt: attempt, mayBegin: { true })
    }

    func deliver(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome {
        if let refusal = pause.refusal(now: clock.now()) { return refusal }
        let type =
            message.attributes.first { $0.name == "Content-Type" && !$0.isBinary }
            .map { String(decoding: $0.value, as: UTF8.self) } ?? "text/plain; charset=utf-8"
        // A header that came in as an attribute must not bring another one along.
        var headers: [(name: String, value: String)] = [
            ("Content-Type", String(type.unicodeScalars.filter { (32..<127).contains($0.value) })),
            ("Idempotency-Key", message.id),
            ("X-Queuepool-Message-Id", message.id), ("X-Queuepool-Group", message.group),
            ("X-Queuepool-Attempt", String(attempt)),
        ]
        if let secrets {
            headers += secrets.headers(
                id: message.id, seconds: clock.wallTime().milliseconds / 1_000, body: message.body)
        }
        var request = HTTPRequest(
            method: "POST", url: url, headers: headers, body: message.body,
            timeoutMilliseconds: timeoutMilliseconds, lane: .deliveries)
        request.mayBegin = mayBegin
        switch await engine.outcome(request) {
        case .success(let response): return outcome(response)
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

    /// What an answer says of the message, and of the target.
    func outcome(_ response: HTTPResponse) -> DeliveryOutcome {
        let errorClass = "http-\(response.status)"
        switch response.status {
        case 200..<300: return .delivered
        case 400..<500 where ![408, 425, 429].contains(response.status): return .refused(errorClass: errorClass)
        default:
            let milliseconds = RetryAfterHeader.milliseconds(response, wall: clock.wallTime())
            pause.note(status: response.status, milliseconds: milliseconds, now: clock.now())
            return .failed(errorClass: errorClass, retryAfterMilliseconds: milliseconds)
        }
    }
}
