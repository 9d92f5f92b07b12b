// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What is remembered of one idempotency key.
public struct IdempotencyRecord: Hashable, Sendable {
    /// Its place in the order of remembering; never given twice.
    public var number: Int64
    /// A digest of the pool and the key.
    public var key: Hash128
    /// A digest of the request that the key came with.
    public var fingerprint: Hash128
    /// When it was remembered.
    public var at: Timestamp
    /// The answer's body; `nil`: the request failed, and its message may be stored all the same.
    public var answer: [UInt8]?

    public init(number: Int64, key: Hash128, fingerprint: Hash128, at: Timestamp, answer: [UInt8]?) {
        self.number = number
        self.key = key
        self.fingerprint = fingerprint
        self.at = at
        self.answer = answer
    }
}

/// Where idempotency keys outlive the process.
public protocol IdempotencyStore: Sendable {
    /// What was there when the store was opened, in the order of numbers; given once.
    func takeRecords() -> [IdempotencyRecord]

    /// Writes a record. Records are written in the order of the calls.
    /// - Parameters:
    ///   - oldest: records with a lower number are of no more use.
    ///   - done: called later, on a thread of the store's, with whether the record is on stable storage.
    func save(_ record: IdempotencyRecord, oldest: Int64, done: @escaping @Sendable (_ isSaved: Bool) -> Void)
}
