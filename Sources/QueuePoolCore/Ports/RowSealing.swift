// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where a row of a store's log is. A sealed row opens there and nowhere else.
public struct RowPlace: Hashable, Sendable {
    /// The shard's number in its store.
    public let shard: Int64
    public let row: Int64
    /// What the row holds; 0...255.
    public let kind: UInt8

    public init(shard: Int64, row: Int64, kind: UInt8) {
        self.shard = shard
        self.row = row
        self.kind = kind
    }
}

/// A row as it is stored.
public struct SealedRow: Hashable, Sendable {
    public let head: [UInt8]
    public let body: [UInt8]?

    public init(head: [UInt8], body: [UInt8]?) {
        self.head = head
        self.body = body
    }
}

/// A sealed row does not open: it was changed, lies where it was not written, or was sealed with another key.
public struct RowFault: Error, Hashable, Sendable {
    public init() {}
}

/// Authenticated encryption of one store's rows, for as long as the store is open. Head and body open one by one, and a
/// body beside the head only that it was sealed with.
public protocol RowSealing: Sendable {
    /// Bytes by which a sealed head is longer.
    var headOverheadBytes: Int { get }
    /// Bytes by which a sealed body is longer.
    var bodyOverheadBytes: Int { get }

    /// Never seals two rows in a way that shows what they have in common.
    func seal(head: [UInt8], body: [UInt8]?, at place: RowPlace) throws(RowFault) -> SealedRow
    /// - Returns: the head, and where it says that it belongs, which was authenticated; of which `row` is as given.
    func open(head: [UInt8], row: Int64) throws(RowFault) -> (head: [UInt8], place: RowPlace)
    /// - Parameter head: of the same row, as it is stored.
    func open(body: [UInt8], besideSealed head: [UInt8], row: Int64) throws(RowFault) -> [UInt8]

    /// What stands for a text by which rows are found: the same for the same text, and it tells nothing of the text to
    /// whoever has no key of the store.
    /// - Returns: 32 bytes.
    func digest(of text: [UInt8]) -> [UInt8]
}

/// What seals a store.
public struct StoreSealing: Sendable {
    public let rows: any RowSealing
    /// The store was made before it was sealed, and may have rows that are not.
    public let mayHavePlainRows: Bool

    public init(rows: any RowSealing, mayHavePlainRows: Bool) {
        self.rows = rows
        self.mayHavePlainRows = mayHavePlainRows
    }
}

/// Gives each store what seals it. A store that gets its first key has it on stable storage before a row is sealed with it.
public protocol StoreKeys: Sendable {
    /// - Parameters:
    ///   - file: the name of the store's file.
    ///   - exists: whether the file is there already.
    /// - Throws: `StoreKeysFault` if there is no key and one cannot be made.
    func sealing(of file: String, exists: Bool) throws(StoreKeysFault) -> StoreSealing
}

/// A new data key cannot be stored.
public struct StoreKeysFault: Error, Hashable, Sendable {
    public init() {}
}
