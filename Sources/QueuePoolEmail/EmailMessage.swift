// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto

// An email as a value: what `POST /v1/pools/{pool}/emails` takes, what is stored as a message's body, and what a worker
// renders for SMTP. It is checked once, when it comes in, so that whoever holds one can send it: addresses are addresses,
// no header can be smuggled in by a line break, sizes are bounded. Source: RFC 5322, RFC 2045-2047, RFC 2231.

/// A file that goes with an email.
package struct EmailAttachment: Hashable, Sendable {
    package var filename: String
    /// `type/subtype`
    package var contentType: String
    package var content: [UInt8]
    /// For parts that the HTML refers to as `cid:`.
    package var contentID: String?
}

/// One email.
package struct EmailMessage: Hashable, Sendable {
    package var from: EmailAddress
    /// Empty if all get a copy, blind or not.
    package var to: [EmailAddress]
    package var cc: [EmailAddress] = []
    package var bcc: [EmailAddress] = []
    package var replyTo: [EmailAddress] = []
    package var subject = ""
    package var text: String?
    package var html: String?
    /// Further headers in the order in which they came.
    package var headers: [(name: String, value: String)] {
        get { headerPairs.map { ($0.name, $0.value) } }
        set { headerPairs = newValue.map { HeaderPair(name: $0.name, value: $0.value) } }
    }
    package var attachments: [EmailAttachment] = []

    struct HeaderPair: Hashable, Sendable {
        var name: String
        var value: String
    }
    var headerPairs: [HeaderPair] = []

    package static let contentType = "application/vnd.queuepool.email+json"
    static let recipientsMax = 50
    static let attachmentsMax = 20
    static let headersMax = 50
    static let headerBytesMax = 2_000

    /// Everybody who gets it, in the order to, cc, bcc; each address once.
    package var recipients: [String] {
        var seen: Set<String> = []
        return (to + cc + bcc).map(\.address).filter { seen.insert($0.lowercased()).inserted }
    }

    /// The message group of an email that names none: a hash of its first recipient in the order to, cc, bcc, so that each recipient's emails
    /// keep their order and no address becomes a group id.
    package var defaultGroup: String { (to + cc + bcc).first.map(EmailMessage.defaultGroup) ?? "rcpt-" }

    static func defaultGroup(of recipient: EmailAddress) -> String {
        let digest = SHA256.hash(data: Array(recipient.address.lowercased().utf8))
        return "rcpt-"
            + digest.prefix(16).map { byte in String(byte >> 4, radix: 16) + String(byte & 15, radix: 16) }.joined()
    }
}
