// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolEmail
import QueuePoolSQS

/// An email for those who are still to get it.
struct ProviderMail: Sendable {
    /// The queue message's.
    let id: String
    let email: EmailMessage
    let url: ProviderURL
    private(set) var to: [EmailAddress] = []
    private(set) var cc: [EmailAddress] = []
    private(set) var bcc: [EmailAddress] = []
    /// Whether it is for some of its recipients only: the others got it, or never will.
    let isNarrowed: Bool
    /// The same for the same mail to the same recipients, and for nothing else.
    let key: String

    /// - Parameter places: of the recipients in `EmailMessage.recipients`.
    init(_ email: EmailMessage, id: String, places: [Int], url: ProviderURL) {
        self.id = id
        self.email = email
        self.url = url
        isNarrowed = places.count < email.recipients.count
        key = isNarrowed ? id + "/" + places.map(String.init).joined(separator: ",") : id
        // Services refuse a mail that names somebody twice.
        var place = 0
        var seen: Set<String> = []
        let wanted = Set(places)
        func chosen(_ list: [EmailAddress]) -> [EmailAddress] {
            list.filter { address in
                guard seen.insert(address.address.lowercased()).inserted else { return false }
                defer { place += 1 }
                return wanted.contains(place)
            }
        }
        to = chosen(email.to)
        cc = chosen(email.cc)
        bcc = chosen(email.bcc)
    }

    /// The same with somebody in To; `nil` if it cannot be: several blind copies would see each other there.
    func withTo() -> ProviderMail? {
        guard to.isEmpty else { return self }
        var mail = self
        if !cc.isEmpty {
            mail.to = cc
            mail.cc = []
        } else if bcc.count == 1 {
            mail.to = bcc
            mail.bcc = []
        } else {
            return nil
        }
        return mail
    }

    /// Everybody in To, Cc and Bcc, by the names that a service has for them; empty lists are left out.
    func lists(_ to: String, _ cc: String, _ bcc: String) -> [(name: String, list: [EmailAddress])] {
        [(to, self.to), (cc, self.cc), (bcc, self.bcc)].filter { !$0.1.isEmpty }
    }

    /// As it goes over SMTP.
    func rendered() -> [UInt8] { email.rendered(messageID: id, date: MailTarget.date()) }

    static func base64(_ bytes: [UInt8]) -> [UInt8] {
        var text: [UInt8] = []
        Base64.encode(bytes, to: &text)
        return text
    }
}

extension EmailAddress {
    /// `"Name" <local@domain>`
    var mailbox: String {
        if name.isEmpty { return address }
        let escaped = name.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
        return "\"\(escaped)\" <\(address)>"
    }
}
