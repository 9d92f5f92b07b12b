// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// What is kept of an action for whoever asks later who did it. Every part is a word of few letters, so that a line can
// hold no body, no mail address and no subject, whatever a caller sends, and needs no escapes.

/// A text that is safe in a line: 1...64 of `A`-`Z`, `a`-`z`, `0`-`9`, `-`, `_`, `.` and `:`.
public struct AuditWord: Hashable, Sendable, CustomStringConvertible {
    public let text: String
    public var description: String { text }

    /// - Returns: `nil` for a text of other letters, or of none or too many.
    public init?(_ text: some StringProtocol) {
        guard (1...64).contains(text.utf8.count),
            text.utf8.allSatisfy({
                PoolName.isAllowed($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: ":")
            })
        else { return nil }
        self.text = String(text)
    }

    private init(known text: String) { self.text = text }

    /// Of what has no name that may be written.
    public static let unknown = AuditWord(known: "unknown")
    /// Why somebody who is known was kept from something.
    public static let accessDenied = AuditWord(known: "access-denied")
}

/// What came of an action.
public enum AuditOutcome: Hashable, Sendable {
    /// It is about to be taken. Written before it is, so that none can be taken that is not written down.
    case begun
    /// It was taken.
    case done
    /// It was not taken, or nobody knows: an answer of this status was given.
    case failed(status: Int)
    /// Who asked for it may not, or is not known.
    case refused(AuditWord)
    /// Its key is over a limit.
    case overLimit(CallerLimit)

    /// As it is written.
    public var text: String {
        switch self {
        case .begun: "begun"
        case .done: "done"
        case .failed: "failed"
        case .refused, .overLimit: "refused"
        }
    }

    /// Of a refusal.
    fileprivate var reason: String? {
        switch self {
        case .refused(let reason): reason.text
        case .overLimit(let limit): "over-limit-" + limit.rawValue
        case .begun, .done, .failed: nil
        }
    }
}

/// How a request came.
public enum AuditProtocol: String, Hashable, Sendable {
    /// AWS JSON.
    case sqs
    /// The SQS protocol as forms.
    case query
    case rest
    /// None: a command changed the control store itself.
    case command
}

/// When an entry has to be on stable storage.
public enum AuditUrgency: Hashable, Sendable {
    /// It is not kept.
    case never
    /// Within a second.
    case soon
    /// Before whoever recorded it goes on.
    case before
}

/// One thing that somebody did, or was kept from.
public struct AuditEntry: Hashable, Sendable {
    public let time: Timestamp
    /// The id of a key; `nil` for somebody who is not known.
    public let caller: String?
    /// The network address it came from, as far as it is known.
    public let address: AuditWord?
    /// `nil`: not known.
    public let via: AuditProtocol?
    public let action: AccessActions
    /// Which one of the action's operations, such as `DeleteQueue`.
    public let operation: AuditWord
    public let pool: PoolName?
    /// The one message that it was done to, or that was read; `nil` for what is about none or many.
    public let message: MessageID?
    /// The id of the key that it was done to; `nil` for what is not done to a key.
    public let key: String?
    public let outcome: AuditOutcome
    /// The request's id, as its answer has it.
    public let request: AuditWord?
    /// Those that it stands for, with those of the same kind that came after it.
    public fileprivate(set) var count = 1

    /// - Parameters:
    ///   - caller: left out if it is no key's id.
    ///   - key: left out if it is no key's id.
    public init(
        time: Timestamp, caller: String?, address: AuditWord? = nil, via: AuditProtocol? = nil, action: AccessActions,
        operation: AuditWord, pool: PoolName?, message: MessageID? = nil, key: String? = nil, outcome: AuditOutcome,
        request: AuditWord?
    ) {
        self.time = time
        self.caller = caller.flatMap { AccessKey.isID($0) ? $0 : nil }
        self.address = address
        self.via = via
        self.key = key.flatMap { AccessKey.isID($0) ? $0 : nil }
        self.action = action
        self.operation = operation
        self.pool = pool
        self.message = message
        self.outcome = outcome
        self.request = request
    }

    /// Takes another one in, if the two need no lines of their own: a key that is over a limit is so often.
    /// - Returns: whether it did.
    mutating func takeIn(_ other: AuditEntry) -> Bool {
        guard case .overLimit = outcome, outcome == other.outcome, caller == other.caller else { return false }
        count += other.count
        return true
    }

    /// Every admin action is kept before it is taken and before it is answered, a body that an admin reads before it is
    /// shown, every refusal soon. What is sent and received is not kept: the pool itself is the record of that, and a line
    /// for each would cost more than a message.
    public var urgency: AuditUrgency {
        if outcome.reason != nil { return .soon }
        return action.contains(.admin) ? .before : .never
    }

    /// The members of its line that follow the time, without braces: `"caller":"QP...","action":"admin",...`.
    public var members: String {
        var members: [(String, String)] = []
        if let caller { members.append(("caller", caller)) }
        if let address { members.append(("address", address.text)) }
        if let via { members.append(("protocol", via.rawValue)) }
        // What an unknown caller wanted may be unknown too.
        if !action.isEmpty { members.append(("action", action.text)) }
        members.append(("operation", operation.text))
        if let pool { members.append(("pool", pool.text)) }
        if let message { members.append(("message", message.description)) }
        if let key { members.append(("key", key)) }
        members.append(("outcome", outcome.text))
        if let reason = outcome.reason { members.append(("reason", reason)) }
        var text = members.map { "\"\($0)\":\"\($1)\"" }.joined(separator: ",")
        if case .failed(let status) = outcome { text += ",\"status\":\(status)" }
        if case .overLimit = outcome { text += ",\"count\":\(count)" }
        if let request { text += ",\"request\":\"\(request.text)\"" }
        return text
    }
}
