// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Where bodies lie that are too large for a queue. A body is stored before its message is sent, and removed after its
// message was deleted: whoever stops between the two leaves a body without a message, never a message without a body.
// Completions are called later, on a thread of the store's, exactly once.

/// Why a body store did not do what it was asked. Holds no key and nothing of the body.
public enum BodyStoreError: Error, Hashable, Sendable {
    /// There is no such body: it was removed, or never stored.
    case missing
    /// Over the store's or the caller's limit.
    case tooLarge(bytes: Int, allowed: Int)
    /// Nothing was done, or it is not known; the same call may succeed later. `code` is the store's own.
    case unavailable(code: String)
    /// The same call will fail again. `code` is the store's own.
    case refused(code: String)
    /// The disk is full; nothing was stored.
    case full
}

/// Keeps bodies by key.
public protocol BodyStore: AnyObject, Sendable {
    /// What pointers call this store: a bucket's name, or `BodyPointer.embeddedBucket`.
    var bucket: String { get }

    /// A key that no body has yet, in this store's folder.
    func newKey() -> String

    /// Stores a body. Success means that it is on stable storage.
    func put(
        _ body: [UInt8], key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void)

    /// Reads a whole body.
    /// - Parameter bytesMax: a larger body is `tooLarge`, and is not read.
    func get(
        key: String, bytesMax: Int, completion: @escaping @Sendable (Result<[UInt8], BodyStoreError>) -> Void)

    /// Removes a body; one that is not there is removed already. One that is not in this store's folder is refused with the
    /// code `ForeignKey`: what says which body is to go may be made up by anybody.
    func remove(key: String, completion: @escaping @Sendable (Result<Void, BodyStoreError>) -> Void)
}
