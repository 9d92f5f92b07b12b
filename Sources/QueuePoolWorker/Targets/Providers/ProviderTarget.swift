// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolEmail

/// An email a message, as a request to an email service. A message that is no email is refused. The service takes a
/// mail
/// for all of its recipients or for none.
struct ProviderTarget: DeliveryTarget {
    let provider: EmailProvider
    let url: ProviderURL
    private let key: String
    private let timeoutMilliseconds: Int
    private let signer: RequestSigner?
    private let engine: CurlEngine
    private let clock: any Clock
    private let pause = TargetPause()

    /// - Throws: `DeliveryURLError` if there is no key where it should be.
    init(
        _ provider: EmailProvider, url: ProviderURL, signer: RequestSigner?, timeoutMilliseconds: Int = 30_000,
        engine: CurlEngine, clock: any Clock
    ) throws(DeliveryURLError) {
        if case .signature = provider.authorization, signer == nil {
            throw .refused("\(provider.scheme): is a target of the program queuepool only")
        }
        self.provider = provider
        self.url = url
        self.signer = signer
        self.timeoutMilliseconds = timeoutMilliseconds
        self.engine = engine
        self.clock = clock
        key = try url.readKey()
    }

    var kind: String { provider.scheme }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        await deliver(message, attempt: attempt, mayBegin: { true })
    }

    func deliver(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome {
        if let refusal = pause.refusal(now: clock.now()) { return refusal }
        guard let email = MailTarget.email(message) else { return .refused(errorClass: "not-an-email") }
        let places = MailTarget.places(message, count: email.recipients.count)
        let whole = ProviderMail(email, id: message.id, places: places, url: url)
        guard let mail = provider.needsTo ? whole.withTo() : whole else {
            // Another target may take what is left of a mail of which others got their part.
            return whole.isNarrowed ? .failed(errorClass: "nobody-in-to") : .refused(errorClass: "nobody-in-to")
        }
        var request = request(mail)
        var signature: RequestSignature?
        if case .signature(let service) = provider.authorization {
            guard let signed = await signer?(request, service, url.name) else {
                return .unavailable(errorClass: "credentials")
            }
            request.headers += signed.headers
            signature = signed
        }
        request.mayBegin = mayBegin
        switch await engine.outcome(request) {
        case .success(let response):
            signature?.answered(response)
            return outcome(response)
        case .failure(let failure): return WebhookTarget.outcome(failure)
        }
    }

    /// Without a signature.
    func request(_ mail: ProviderMail) -> HTTPRequest {
        let (type, body) = provider.body(mail)
        var headers: [(name: String, value: String)] = [("Content-Type", type), ("Accept", "application/json")]
        if case .key(let header) = provider.authorization { headers.append(header(key)) }
        if let name = provider.idempotencyHeader { headers.append((name, mail.key)) }
        return HTTPRequest(
            method: "POST", url: (url.endpoint ?? provider.base(url)) + provider.path(url), headers: headers,
            body: body,
            timeoutMilliseconds: timeoutMilliseconds, lane: .deliveries, answerBytesMax: ProviderTarget.answerBytesMax)
    }

    private static let answerBytesMax = 1 << 20

    /// What an answer says of the message, and of the service: of its text only the code is kept, because the rest may
    /// name people.
    func outcome(_ response: HTTPResponse) -> DeliveryOutcome {
        let status = response.status
        guard !(200..<300).contains(status) else { return .delivered }
        let code = provider.code(response).flatMap(ProviderTarget.checked)
        let errorClass = "\(provider.scheme)-\(status)" + (code.map { "-\($0)" } ?? "")
        let verdict = code.flatMap { provider.verdicts[EmailProvider.Answer(status: status, code: $0)] }
        switch verdict ?? ProviderTarget.verdict(status) {
        case .refused: return .refused(errorClass: errorClass)
        case .unavailable: return .unavailable(errorClass: errorClass)
        case .again:
            let milliseconds = RetryAfterHeader.milliseconds(response, wall: clock.wallTime())
            pause.note(status: status, milliseconds: milliseconds, now: clock.now())
            return .failed(errorClass: errorClass, retryAfterMilliseconds: milliseconds)
        }
    }

    /// A path that is not there and an account that may not send are no message's fault.
    private static func verdict(_ status: Int) -> EmailProvider.Verdict {
        switch status {
        case 401...405, 407: .unavailable
        case 408, 425, 429: .again
        case 400..<500: .refused
        default: .again
        }
    }

    /// A code is a few letters, digits and `_.-`; anything else may be a sentence.
    private static func checked(_ code: String) -> String? {
        let isCode = code.utf8.allSatisfy { ProviderURL.isAlphanumeric($0) || "_.-".utf8.contains($0) }
        return isCode && (1...48).contains(code.utf8.count) ? code : nil
    }
}
