// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore
import QueuePoolCurl
import QueuePoolEmail

/// An email a message, over SMTP. A message that is no email is refused, as is one that the server refuses for good. One
/// that some recipients get and others do not goes on to be tried for those who may get it later.
struct MailTarget: DeliveryTarget {
    /// Places in the email's list of recipients, e.g. `1,4`: on a message that is for those alone, because the others got
    /// it or never will.
    static let recipientsAttribute = WorkerAttributes.recipients

    let url: String
    let user: String?
    let password: String?
    let requiresTLS: Bool
    /// What signs each mail as it is sent; `nil` if they go unsigned.
    let signer: DKIMSigner?
    let engine: MailEngine

    var kind: String { "smtp" }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        await deliver(message, attempt: attempt, mayBegin: { true })
    }

    func deliver(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome {
        guard let email = MailTarget.email(message) else { return .refused(errorClass: "not-an-email") }
        let recipients = email.recipients
        let places = MailTarget.places(message, count: recipients.count)
        guard let payload = signed(email.rendered(messageID: message.id, date: MailTarget.date())) else {
            // Nothing was handed over, and the mail is not to blame.
            return .unavailable(errorClass: "dkim")
        }
        var mail = MailTransfer(
            url: url, user: user, password: password, requiresTLS: requiresTLS, from: email.from.address,
            recipients: places.map { recipients[$0] },
            payload: payload)
        mail.mayBegin = mayBegin
        return MailTarget.outcome(await engine.send(mail), places)
    }

    /// The mail behind its signatures; `nil` if a key does not sign.
    private func signed(_ mail: [UInt8]) -> [UInt8]? {
        guard let signer else { return mail }
        guard let header = try? signer.header(for: mail, now: Int64(time(nil))) else { return nil }
        return header + mail
    }

    /// The recipients that are still to get it, by their places in the email's list.
    static func places(_ message: WorkMessage, count: Int) -> [Int] {
        let attribute = message.attributes.first { $0.name == recipientsAttribute && !$0.isBinary }
        let wanted = message.recipients ?? attribute.flatMap { numbers(String(decoding: $0.value, as: UTF8.self)) }
        guard let wanted, !wanted.isEmpty, wanted.allSatisfy((0..<count).contains), Set(wanted).count == wanted.count
        else { return Array(0..<count) }
        return wanted
    }

    private static func numbers(_ text: String) -> [Int]? {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        let numbers = parts.compactMap { part in part.utf8.allSatisfy { (48...57).contains($0) } ? Int(part) : nil }
        return numbers.count == parts.count ? numbers : nil
    }

    /// - Parameter places: of those whom the mail was for.
    static func outcome(_ result: MailResult, _ places: [Int]) -> DeliveryOutcome {
        switch result {
        case .taken(let codes):
            let answers = Array(zip(places, codes))
            let refused = answers.filter { $0.1 >= 500 }
            let deferred = answers.filter { !(200..<300).contains($0.1) && $0.1 < 500 }
            guard let first = refused.first ?? deferred.first else { return .delivered }
            return .partial(
                PartialDelivery(
                    refused: refused.map(\.0), deferred: deferred.map(\.0), errorClass: "smtp-\(first.1)"))
        case .rejected(let code):
            return code >= 500 ? .refused(errorClass: "smtp-\(code)") : .failed(errorClass: "smtp-\(code)")
        case .unavailable(.cancelled), .unavailable(.closed): return .cancelled
        case .unavailable(let error): return .unavailable(errorClass: errorClass(error))
        case .unknown(let error): return .unknown(errorClass: errorClass(error))
        case .invalid: return .refused(errorClass: "invalid-request")
        }
    }

    static func email(_ message: WorkMessage) -> EmailMessage? {
        let type = message.attributes.first { $0.name == "Content-Type" }
        guard type.map({ String(decoding: $0.value, as: UTF8.self) }) == EmailMessage.contentType else { return nil }
        return message.body.withUnsafeBytes { bytes in try? EmailMessage.read(bytes).email }
    }

    static func errorClass(_ error: CurlError) -> String {
        switch error {
        case .unreachable: "unreachable"
        case .timeout: "timeout"
        case .tls: "tls"
        case .refused(let code): "smtp-\(code)"
        case .answerTooLarge: "answer-too-large"
        case .cancelled, .closed: "stopped"
        case .invalid: "invalid-request"
        case .other(let code): "curl-\(code)"
        }
    }

    /// RFC 5322's date-time, in UTC.
    static func date() -> String {
        var moment = time(nil)
        var parts = tm()
        gmtime_r(&moment, &parts)
        var text = [CChar](repeating: 0, count: 64)
        // The C locale, which a process has unless it asks for another, writes English names.
        let count = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S +0000", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
