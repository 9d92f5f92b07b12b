// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// One mail for an SMTP server.
package struct MailTransfer: Sendable {
    /// `smtp://HOST:PORT` or `smtps://HOST:PORT`
    package var url: String
    package var user: String?
    package var password: String?
    /// Refuse to go on without TLS.
    package var requiresTLS: Bool
    package var from: String
    package var recipients: [String]
    /// The mail with lines ending in CR LF; dots are stuffed on the way.
    package var payload: [UInt8]
    /// Asked before MAIL, and just before the mail itself goes out; if it says no, the server gets no mail, and this one is
    /// cancelled. Called on a thread that waits for it.
    package var mayBegin: (@Sendable () -> Bool)?

    /// A mail from `from` to all `recipients`.
    package init(
        url: String, user: String? = nil, password: String? = nil, requiresTLS: Bool, from: String,
        recipients: [String], payload: [UInt8]
    ) {
        self.url = url
        self.user = user
        self.password = password
        self.requiresTLS = requiresTLS
        self.from = from
        self.recipients = recipients
        self.payload = payload
    }
}

/// How long a mail server may keep silent, in milliseconds. Source: RFC 5321, 4.5.3.2, which servers count on: one that
/// is given up too early has taken the mail all the same, and gets it twice.
package struct MailLimits: Sendable {
    /// Before its greeting, and before any reply that has no limit below.
    package var command: Int64 = 300_000
    /// Before it wants the mail itself.
    package var dataStart: Int64 = 120_000
    /// After the dot at the mail's end, and while it takes nothing of the mail.
    package var dataEnd: Int64 = 600_000
    /// The whole, without the time for the mail's bytes.
    package var total: Int64 = 1_200_000

    /// The limits of RFC 5321.
    package init() {}

    /// - Returns: the limit of a phase; once all is said, that of taking leave.
    func silence(in phase: MailConversation.Phase) -> Int64 {
        switch phase {
        case .connecting, .mail, .recipients: command
        case .data: dataStart
        case .payload: dataEnd
        case .over: 5_000
        }
    }

    /// The whole for a mail of that many bytes, at 10 bytes a millisecond.
    func total(bytes: Int) -> Int64 { total + Int64(bytes) / 10 }
}
