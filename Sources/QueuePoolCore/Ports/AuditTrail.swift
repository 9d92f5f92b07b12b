// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why an entry is not kept.
public enum AuditError: Error, Hashable, Sendable {
    /// The write failed, with a code of the system's.
    case failed(code: Int32)
    /// Too many wait for a write that does not end.
    case full
    /// The log was closed.
    case closed
}

/// Where it is kept who did what. An admin action is recorded twice: as begun before it is taken, and not taken if that
/// fails (503); and with its outcome before it is answered. A body that somebody reads is recorded once, before it is shown.
public protocol AuditTrail: Sendable {
    /// Keeps an entry as its urgency says. Never blocks.
    /// - Parameter completion: called once, on a thread of the trail's or before this call ends: with success after the
    ///   entry is on stable storage, if its urgency is `before`; at once if it is not.
    func record(_ entry: AuditEntry, completion: @escaping @Sendable (Result<Void, AuditError>) -> Void)

    /// Writes and reopenings that failed so far.
    var failures: Int { get }
    /// Entries so far that are not kept, and will not be.
    var lost: Int { get }
}

extension AuditTrail {
    /// Keeps an entry, and comes back when it is kept as its urgency says.
    public func record(_ entry: AuditEntry) async throws(AuditError) {
        let result = await withCheckedContinuation { (done: CheckedContinuation<Result<Void, AuditError>, Never>) in
            record(entry) { done.resume(returning: $0) }
        }
        try result.get()
    }
}
