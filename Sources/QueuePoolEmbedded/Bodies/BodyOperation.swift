// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// A body that is to be stored.
struct BodyPut: Sendable {
    let body: [UInt8]
    let key: String
    let pool: String
    let lifetimeMilliseconds: Int64?
    let completion: @Sendable (Result<Void, BodyStoreError>) -> Void
}

/// The removal of many bodies, which goes in steps.
struct BodyRemoval: Sendable {
    enum Scope: Sendable {
        /// `last` is the highest number to remove; `nil` until the removal's turn has come.
        case pool(String, madeBefore: Timestamp, last: Int64?)
        case expired(Timestamp)
    }

    var scope: Scope
    var removed = 0
}

/// What the thread that writes bodies is asked for.
enum BodyOperation: Sendable {
    case put(BodyPut)
    case remove(key: String, @Sendable (Result<Void, BodyStoreError>) -> Void)
    case removeMany(BodyRemoval, @Sendable (Result<Int, BodyStoreError>) -> Void)

    /// Bytes of a body that waits.
    var bytes: Int { if case .put(let put) = self { put.body.count } else { 0 } }

    func fail(_ error: BodyStoreError) {
        switch self {
        case .put(let put): put.completion(.failure(error))
        case .remove(_, let completion): completion(.failure(error))
        case .removeMany(_, let completion): completion(.failure(error))
        }
    }
}
