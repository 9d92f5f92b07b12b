// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto

/// Signs mails in the name of a domain (RFC 6376): whoever gets one finds the public key in DNS under the selector, and
/// sees that the domain answers for the mail and that nobody changed it. Headers and body are signed in relaxed form.
package struct DKIMSigner: Sendable {
    /// A key and the name under which DNS has its public half.
    package struct Identity: Sendable {
        package let selector: String
        package let key: DKIMKey

        package init(selector: String, key: DKIMKey) {
            self.selector = selector
            self.key = key
        }
    }

    /// What a reader sees or a program acts on (RFC 6376, 5.4.1; RFC 8058, 4 for one-click unsubscription).
    package static let usualHeaders = [
        "From", "Sender", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "MIME-Version", "Content-Type",
        "Content-Transfer-Encoding", "List-Unsubscribe", "List-Unsubscribe-Post",
    ]

    private let domain: String
    private let identities: [Identity]
    private let headers: [String]
    private let expirySeconds: Int64?

    /// - Parameters:
    ///   - domain: the one that answers for the mails, in ASCII.
    ///   - headers: those to sign if a mail has them; From is signed in any case.
    ///   - expirySeconds: after how long the signatures are no longer good; `nil` for ever.
    package init(
        domain: String, selector: String, key: DKIMKey, headers: [String] = usualHeaders, expirySeconds: Int64? = nil
    ) throws(DKIMError) {
        try self.init(
            domain: domain, identities: [Identity(selector: selector, key: key)], headers: headers,
            expirySeconds: expirySeconds)
    }

    /// - Parameters:
    ///   - identities: each makes a signature, so that receivers that know one algorithm only can check it.
    ///   - headers: those to sign if a mail has them; From is signed in any case.
    ///   - expirySeconds: after how long the signatures are no longer good; `nil` for ever.
    package init(
        domain: String, identities: [Identity], headers: [String] = usualHeaders, expirySeconds: Int64? = nil
    ) throws(DKIMError) {
        guard DKIMSigner.isName(domain, labelsMin: 2, extra: []) else { throw .domain }
        for identity in identities {
            // The whole name in DNS is SELECTOR._domainkey.DOMAIN.
            guard DKIMSigner.isName(identity.selector, labelsMin: 1, extra: [UInt8(ascii: "_")]),
                identity.selector.utf8.count + "._domainkey.".utf8.count + domain.utf8.count <= 253
            else { throw .selector }
        }
        if let expirySeconds, expirySeconds <= 0 { throw .expiry }
        var names = ["From"]
        for name in headers where !names.contains(where: { $0.lowercased() == name.lowercased() }) {
            let isName = name.utf8.allSatisfy { (33...126).contains($0) && !";:".utf8.contains($0) }
            guard !name.isEmpty, isName else { throw .headerName }
            names.append(name)
        }
        self.domain = domain.lowercased()
        self.identities = identities
        self.headers = names
        self.expirySeconds = expirySeconds
    }

    /// Labels of letters, digits, hyphens within, and what else is allowed.
    private static func isName(_ name: String, labelsMin: Int, extra: [UInt8]) -> Bool {
        let labels = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return name.utf8.count <= 253 && labels.count >= labelsMin
            && labels.allSatisfy { label in
                (1...63).contains(label.count) && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
                    && label.allSatisfy {
                        switch $0 {
                        case 48...57, 65...90, 97...122, UInt8(ascii: "-"): true
                        default: extra.contains($0)
                        }
                    }
            }
    }

    /// The `DKIM-Signature:` headers of a mail, one for each key, folded and with their CR LF, to be put before it.
    /// - Parameters:
    ///   - message: the whole mail, lines ending in CR LF.
    ///   - now: seconds since 1970.
    package func header(for message: [UInt8], now: Int64) throws(DKIMError) -> [UInt8] {
        let mail = DKIMMail(message)
        let names = signedNames(mail)
        let bodyHash = Base64Text.encode(Array(SHA256.hash(data: DKIMCanonical.body(mail.body))))
        let fields = mail.canonicalFields(names)
        var out: [UInt8] = []
        for identity in identities {
            var header = unsigned(identity, names: names, bodyHash: bodyHash, now: now)
            // The signature is over its own header too, as it stands before its value is there (RFC 6376, 3.7).
            let bytes = fields + DKIMCanonical.field(Array(header.text.utf8)[...])
            let signature = Base64Text.encode(try identity.key.signature(of: bytes))
            header.appendPieces(String(decoding: signature, as: UTF8.self))
            out += Array(header.text.utf8) + [13, 10]
        }
        return out
    }

    /// What `h=` names: each header as often as it is there, so that none can be taken away; From once more, so that a
    /// second one, which a reader might be shown, cannot be added (RFC 6376, 5.4 and 8.15).
    private func signedNames(_ mail: DKIMMail) -> [String] {
        headers.flatMap { Array(repeating: $0, count: mail.count(of: $0)) } + ["From"]
    }

    /// The header up to `b=`.
    private func unsigned(_ identity: Identity, names: [String], bodyHash: [UInt8], now: Int64) -> FoldedTags {
        var tags = FoldedTags("DKIM-Signature: v=1;")
        tags.append("a=\(identity.key.algorithm.rawValue);")
        tags.append("c=relaxed/relaxed;")
        tags.append("d=\(domain);")
        tags.append("s=\(identity.selector);")
        tags.append("t=\(now);")
        if let expirySeconds { tags.append("x=\(now + expirySeconds);") }
        for (place, name) in names.enumerated() {
            let text = (place == 0 ? "h=" : "") + name + (place + 1 < names.count ? ":" : ";")
            tags.append(text, hasBlank: place == 0)
        }
        tags.append("bh=\(String(decoding: bodyHash, as: UTF8.self));")
        tags.append("b=")
        return tags
    }
}

/// A header of tags, folded between them where a line gets too long.
private struct FoldedTags {
    private static let lineMax = 76
    private(set) var text: String
    private var column: Int

    init(_ start: String) {
        text = start
        column = start.utf8.count
    }

    /// - Parameter hasBlank: whether there is a blank before it if it does not begin a line.
    mutating func append(_ piece: String, hasBlank: Bool = true) {
        let blank = hasBlank ? " " : ""
        if column + blank.utf8.count + piece.utf8.count > FoldedTags.lineMax {
            text += "\r\n " + piece
            column = 1 + piece.utf8.count
        } else {
            text += blank + piece
            column += blank.utf8.count + piece.utf8.count
        }
    }

    /// A long value that may be folded anywhere, from where the line is.
    mutating func appendPieces(_ value: String) {
        var rest = Substring(value)
        while !rest.isEmpty {
            if column >= FoldedTags.lineMax {
                text += "\r\n "
                column = 1
            }
            let piece = rest.prefix(FoldedTags.lineMax - column)
            text += piece
            column += piece.utf8.count
            rest = rest.dropFirst(piece.count)
        }
    }
}
