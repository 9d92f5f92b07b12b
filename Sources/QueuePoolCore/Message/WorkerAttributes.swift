// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Names of the message attributes that a worker writes on a message that it gives up.
public enum WorkerAttributes {
    /// What all of them begin with.
    public static let prefix = "queuepool."
    /// The pool that the message came from, to which a redrive takes it back.
    public static let pool = prefix + "pool"
    /// Why it was given up: `attempts-exhausted`, `body-missing`, `permanent-failure` or `recipients-refused`.
    public static let reason = prefix + "reason"
    public static let errorClass = prefix + "error-class"
    public static let attempts = prefix + "attempts"
    /// RFC 3339, in UTC.
    public static let failedAt = prefix + "failed-at"
    /// All of these in one, `name=value` with spaces between them, on a message whose own attributes leave room for one.
    public static let summary = prefix + "dead-letter"
    /// Places in an email's list of recipients, from 0, e.g. `1,4`: the mail is for those alone, because the others got
    /// it. A redrive keeps it.
    public static let recipients = prefix + "recipients"
}

/// The deduplication id under which a worker sends a message to the dead-letter queue. It also says where the message came
/// from: attributes may not fit on it, and a deduplication id counts neither as one of them nor in its size.
public enum DeadLetterMark {
    private static let prefix = "dead/"

    /// `dead/MESSAGE-ID/POOL`, or the message's id if that is too long to be one.
    public static func deduplicationID(message id: String, pool: String) -> String {
        let text = "\(prefix)\(id)/\(pool)"
        return text.utf8.count <= QueueLimits.identifierBytesMax ? text : id
    }

    /// The pool that such a deduplication id names; `nil` if it is another.
    public static func pool(ofDeduplicationID id: some Collection<UInt8>) -> String? {
        let text = String(decoding: id, as: UTF8.self)
        guard text.hasPrefix(prefix), let slash = text.lastIndex(of: "/"), slash > text.startIndex else { return nil }
        let pool = text[text.index(after: slash)...]
        return pool.isEmpty ? nil : String(pool)
    }

    /// The id that such a deduplication id names: the message's in the pool that it came from; `nil` if it is another.
    public static func messageID(ofDeduplicationID id: some Collection<UInt8>) -> String? {
        let text = String(decoding: id, as: UTF8.self)
        guard pool(ofDeduplicationID: id) != nil, let slash = text.lastIndex(of: "/") else { return nil }
        let name = text[..<slash].dropFirst(prefix.count)
        return name.isEmpty ? nil : String(name)
    }
}
