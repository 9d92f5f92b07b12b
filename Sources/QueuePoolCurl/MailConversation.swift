// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What an SMTP server has said, in the order of the commands that it answers. libcurl hands over every line of every
// reply, but not the commands: it sends them one by one, each after the reply to the one before (no pipelining), so that
// the reply's place says which command it is for. It tells when a connection is ready (greeted, encrypted, logged in)
// and MAIL comes next; a connection that is used again is ready at once. RFC 5321, 4.2: a reply is lines of a code and a
// hyphen, and a last one of the code and a space, or of the code alone.

/// What became of a mail at one server.
package enum MailResult: Hashable, Sendable {
    /// The server took the mail. The code that it gave to each recipient in the order of `MailTransfer.recipients`; those
    /// of 2xx get it, and there is one at least.
    case taken(codes: [Int])
    /// The server answered that nobody gets it: 4xx now, 5xx ever.
    case rejected(code: Int)
    /// Nothing of the mail was handed over; the server is away, or does not talk with us.
    case unavailable(CurlError)
    /// The mail was handed over at least in part, and there was no answer.
    case unknown(CurlError)
    /// An address or URL with a line break or NUL, or no recipient: nothing was sent.
    case invalid
}

/// One mail's commands and replies.
struct MailConversation {
    enum Phase: Hashable {
        /// Until the connection is ready for a mail.
        case connecting
        case mail
        case recipients
        case data
        /// The mail itself, up to the reply to the dot at its end.
        case payload
        case over
    }

    private let recipientCount: Int
    private(set) var phase = Phase.connecting
    /// The reply to each recipient, as far as they have come.
    private(set) var codes: [Int] = []
    /// The last refusal before the connection was ready, or the reply that ended the mail.
    private var refusal: Int?
    private var isTaken = false

    init(recipientCount: Int) { self.recipientCount = recipientCount }

    /// The connection is ready: MAIL goes out.
    mutating func isReady() {
        guard phase == .connecting else { return }
        refusal = nil
        phase = .mail
    }

    /// A line of a reply.
    mutating func take(line: some Collection<UInt8>) {
        guard let code = MailConversation.finalCode(line) else { return }
        let isGood = (200..<300).contains(code)
        switch phase {
        case .connecting:
            if code >= 400 { refusal = code }
        case .mail:
            if isGood { phase = .recipients } else { end(refusal: code) }
        case .recipients:
            codes.append(MailConversation.recipientCode(code, isFirst: !codes.contains { $0 < 300 }))
            guard codes.count == recipientCount else { return }
            if codes.contains(where: { $0 < 300 }) {
                phase = .data
            } else {
                // One that may be taken later makes the mail worth another try.
                end(refusal: codes.first { $0 < 500 } ?? codes[0])
            }
        case .data:
            if code == 354 { phase = .payload } else { end(refusal: code) }
        case .payload:
            isTaken = isGood
            end(refusal: code)
        // The answer to QUIT.
        case .over: break
        }
    }

    private mutating func end(refusal code: Int) {
        refusal = code
        phase = .over
    }

    /// What became of the mail when the transfer has ended.
    /// - Parameter error: why it ended, unless by itself.
    func result(_ error: CurlError?) -> MailResult {
        switch phase {
        case .over where isTaken: .taken(codes: codes)
        case .over: refusal.map { verdict($0) } ?? .unavailable(error ?? .other(code: 0))
        case .payload: .unknown(error ?? .other(code: 0))
        case .connecting: .unavailable(MailConversation.told(error, refusal))
        case .mail, .recipients, .data: .unavailable(error ?? .other(code: 0))
        }
    }

    /// The server ended the conversation before the mail was under way, as it may with a connection that was idle: the
    /// same on a new connection is another story.
    var endedEarly: Bool { phase == .mail || phase == .over && codes.isEmpty && refusal == 421 }

    private func verdict(_ code: Int) -> MailResult {
        // About who we are and not about the mail (RFC 4954, 6), whichever command it answers.
        if codes.isEmpty, [530, 534, 535, 538].contains(code) { return .unavailable(.refused(code: code)) }
        return .rejected(code: code)
    }

    /// What went wrong before the connection was ready: a refusal in words, unless it is known better.
    private static func told(_ error: CurlError?, _ refusal: Int?) -> CurlError {
        switch error {
        case .unreachable, .tls, .timeout, .cancelled, .closed: error ?? .other(code: 0)
        default: refusal.map { .refused(code: $0) } ?? error ?? .other(code: 0)
        }
    }

    /// RFC 5321, 4.5.3.1.10: servers that have enough recipients say 552 where they mean 452.
    private static func recipientCode(_ code: Int, isFirst: Bool) -> Int { code == 552 && !isFirst ? 452 : code }

    /// The code of a reply's last line; `nil` for the lines before it.
    private static func finalCode(_ line: some Collection<UInt8>) -> Int? {
        let digits = line.prefix(3)
        guard digits.count == 3, digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
        guard let next = line.dropFirst(3).first, next != 32, next != 13, next != 10 else {
            return digits.reduce(0) { $0 * 10 + Int($1 - 48) }
        }
        return nil
    }
}
