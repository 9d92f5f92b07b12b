// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore
import QueuePoolCurl
import QueuePoolEmail

/// An email a message, over SMTP. A message that is no email is refused, as is one that the server refuses for good.
struct MailTarget: DeliveryTarget {
    let url: String
    let user: String?
    let password: String?
    let requiresTLS: Bool
    let engine: CurlEngine

    var kind: String { "smtp" }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        guard let email = MailTarget.email(message) else { return .refused(errorClass: "not-an-email") }
        let mail = MailTransfer(
            url: url, user: user, password: password, requiresTLS: requiresTLS, from: email.from.address,
            recipients: email.recipients, payload: email.rendered(messageID: message.id, date: MailTarget.date()))
        do throws(CurlError) {
            try await engine.sendMail(mail)
            return .delivered
        } catch {
            let errorClass = MailTarget.errorClass(error)
            return error.isRetryable ? .failed(errorClass: errorClass) : .refused(errorClass: errorClass)
        }
    }

    private static func email(_ message: WorkMessage) -> EmailMessage? {
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
    private static func date() -> String {
        var moment = time(nil)
        var parts = tm()
        gmtime_r(&moment, &parts)
        var text = [CChar](repeating: 0, count: 64)
        // The C locale, which a process has unless it asks for another, writes English names.
        let count = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S +0000", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
