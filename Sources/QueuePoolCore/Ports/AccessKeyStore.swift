// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Where keys live: beside the pools, so that every server that shares a control store knows the same callers. A server
// asks for the revision every half second and reads the keys when it has changed, so a revoked key ends within a second.
// The use of a key changes no revision: otherwise every server would read all keys again whenever one is used.

/// Why the store of keys did not do what it was asked.
public enum AccessKeyStoreError: Error, Hashable, Sendable {
    /// What is stored is not what the write was made from; nothing was written.
    case conflict
    /// Another key has the name, or the id; nothing was written.
    case taken
    /// The table is not there.
    case noTable
    /// The store failed, or did not answer: a write may have been done. `code` is a code of the store's own, without
    /// secrets.
    case failed(code: String)
}

/// Everything that is stored, as far as it can be read.
public struct StoredAccessKeys: Hashable, Sendable {
    /// Sorted by name.
    public var keys: [AccessKey]
    /// Ids under which something is stored that does not parse. Nobody comes in by them.
    public var unreadable: [String]

    public init(keys: [AccessKey] = [], unreadable: [String] = []) {
        self.keys = keys
        self.unreadable = unreadable
    }
}

/// Where keys are kept. Calls may block, for some seconds at most; they are never made from an event loop. Reads see every
/// write that was answered before they began.
public protocol AccessKeyStore: Sendable {
    /// A number that `create`, `replace` and `remove` change and `touch` does not; never goes back. Cheap.
    func revision() throws(AccessKeyStoreError) -> Int
    /// One key that cannot be read hides no other.
    func contents() throws(AccessKeyStoreError) -> StoredAccessKeys
    /// Stores a new key. Its `revision` and its last use do not matter.
    /// - Returns: the key's revision that is stored now, which is 1.
    /// - Throws: `AccessKeyStoreError.taken` if a key has its name or its id.
    func create(_ key: AccessKey) throws(AccessKeyStoreError) -> Int
    /// Replaces rights, secrets and revocation of a key, if what is stored has this revision. Its last use stays.
    /// - Returns: the key's revision that is stored now.
    /// - Throws: `AccessKeyStoreError.conflict` if it has another one, or if the key is not there under this name.
    func replace(_ key: AccessKey, ifRevision revision: Int) throws(AccessKeyStoreError) -> Int
    /// Removes a key, so that its name is free, if what is stored has the key's revision. Nothing happens if it is not there.
    /// - Throws: `AccessKeyStoreError.conflict` if it has another revision.
    func remove(_ key: AccessKey) throws(AccessKeyStoreError)
    /// Writes down that a key was used, if it is there and no use within the minute before is written down.
    func touch(_ id: String, at time: Timestamp) throws(AccessKeyStoreError)
}

extension AccessKeyStore {
    /// Keys that can be read, sorted by name. Nobody comes in by one that cannot.
    public func keys() throws(AccessKeyStoreError) -> [AccessKey] { try contents().keys }
}
