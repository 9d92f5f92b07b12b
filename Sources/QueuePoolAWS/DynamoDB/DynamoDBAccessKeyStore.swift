// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QueuePoolCore

// Keys, in the table of the control store.
//
// Items (`pk`, `sk` -> attributes):
//   KEYS, KEY#id -> name, rights, secrets (L of M: version, secret, tokenHash (B), createdAt, expiresAt?), createdAt,
//       revokedAt?, lastUsedAt? (milliseconds since 1970), limits?, revision, written (the write's own token)
//   KEYS, NAME#name -> id, so that no two keys have one name
//   KEYS, REVISION -> number, which every write but that of a use adds one to
//
// Keys are in a partition of their own: whoever works on shards needs the partitions of pools, and may be kept from this
// one by a condition on `dynamodb:LeadingKeys`. A secret is stored as it is, because a signature can be recomputed only
// from it; who may read this partition may sign as anybody.
//
// An attempt that is repeated because its answer was lost does no harm: what is stored then carries this write's token.
//
// Units: a look at the revision is one read unit; a read of the keys one for each 4 KB, about ten keys. A change is a
// transaction of two or three items of less than 1 KB, two write units each. A use is one write unit.
//
// Calls block the thread (see JSONService).

/// Keys in the control store's table.
package struct DynamoDBAccessKeyStore: AccessKeyStore {
    private static let revisionKey = ItemKey(AccessKeyItem.partition, "REVISION")
    private static let nextRevision = ItemWrite.update(
        revisionKey, WriteCondition("ADD #number :one", names: ["#number": "number"], values: [":one": .number(1)]),
        if: nil)

    private let table: DynamoDBTable
    private let makeToken: @Sendable () -> String

    /// - Parameter makeToken: a fresh text of at most 36 characters for each write.
    package init(table: DynamoDBTable, makeToken: @escaping @Sendable () -> String = { UUID().uuidString }) {
        self.table = table
        self.makeToken = makeToken
    }

    package func revision() throws(AccessKeyStoreError) -> Int {
        try store { () throws(AWSError) in try table.get(DynamoDBAccessKeyStore.revisionKey) }?["number"]?.number ?? 0
    }

    package func contents() throws(AccessKeyStoreError) -> StoredAccessKeys {
        let items = try store { () throws(AWSError) in
            try table.query(AccessKeyItem.partition, sortPrefix: AccessKeyItem.keyPrefix)
        }
        var contents = StoredAccessKeys()
        for item in items {
            if let key = AccessKeyItem.key(item) {
                contents.keys.append(key)
            } else {
                contents.unreadable.append(AccessKeyItem.id(item))
            }
        }
        contents.keys.sort { $0.name < $1.name }
        return contents
    }

    package func create(_ key: AccessKey) throws(AccessKeyStoreError) -> Int {
        let token = makeToken()
        var name = AccessKeyItem.place(ofName: key.name).item
        name["id"] = .text(key.id)
        let isDone = try write(
            [
                .put(AccessKeyItem.item(key, revision: 1, token: token), if: .isNew), .put(name, if: .isNew),
                DynamoDBAccessKeyStore.nextRevision,
            ], of: key, token: token)
        guard isDone else { throw .taken }
        return 1
    }

    package func replace(_ key: AccessKey, ifRevision revision: Int) throws(AccessKeyStoreError) -> Int {
        let token = makeToken()
        let isDone = try write(
            [
                AccessKeyItem.update(key, from: revision, token: token), DynamoDBAccessKeyStore.nextRevision,
            ], of: key, token: token)
        guard isDone else { throw .conflict }
        return revision + 1
    }

    package func remove(_ key: AccessKey) throws(AccessKeyStoreError) {
        let isOurs = WriteCondition(
            "attribute_not_exists(pk) OR #revision = :revision", names: ["#revision": "revision"],
            values: [":revision": .number(key.revision)])
        let isItsName = WriteCondition(
            "attribute_not_exists(pk) OR #id = :id", names: ["#id": "id"], values: [":id": .text(key.id)])
        do throws(AWSError) {
            try table.write(
                [
                    .delete(AccessKeyItem.place(of: key.id), if: isOurs),
                    .delete(AccessKeyItem.place(ofName: key.name), if: isItsName),
                    DynamoDBAccessKeyStore.nextRevision,
                ], token: makeToken())
        } catch {
            guard error.code == DynamoDBAccessKeyStore.refusal else { throw DynamoDBAccessKeyStore.error(error) }
            // Gone already is well, and its name may be another's by now.
            let isThere = try store { () throws(AWSError) in try table.has(AccessKeyItem.place(of: key.id)) }
            if isThere { throw .conflict }
        }
    }

    package func touch(_ id: String, at time: Timestamp) throws(AccessKeyStoreError) {
        do throws(AWSError) { try table.write(AccessKeyItem.use(of: id, at: time)) } catch {
            guard error.code == LeaseItem.refusal else { throw DynamoDBAccessKeyStore.error(error) }
        }
    }

    /// The code of a transaction in which a condition does not hold.
    private static let refusal = "ConditionalCheckFailed"

    /// - Returns: whether the key is stored as this write has it.
    private func write(
        _ writes: [ItemWrite], of key: AccessKey, token: String
    ) throws(AccessKeyStoreError) -> Bool {
        do throws(AWSError) {
            try table.write(writes, token: token)
            return true
        } catch {
            guard error.code == DynamoDBAccessKeyStore.refusal else { throw DynamoDBAccessKeyStore.error(error) }
            // An attempt whose answer was lost may have done it.
            let stored = try store { () throws(AWSError) in try table.get(AccessKeyItem.place(of: key.id)) }
            return stored?["written"] == .text(token)
        }
    }

    private func store<R>(_ body: () throws(AWSError) -> R) throws(AccessKeyStoreError) -> R {
        do throws(AWSError) { return try body() } catch { throw DynamoDBAccessKeyStore.error(error) }
    }

    private static func error(_ error: AWSError) -> AccessKeyStoreError {
        error.code == "ResourceNotFoundException" ? .noTable : .failed(code: error.code)
    }
}

/// How a key is written as an item.
enum AccessKeyItem {
    static let partition = "KEYS"
    static let keyPrefix = "KEY#"

    static func place(of id: String) -> ItemKey { ItemKey(partition, keyPrefix + id) }
    static func place(ofName name: String) -> ItemKey { ItemKey(partition, "NAME#" + name) }
    static func id(_ item: Item) -> String { String((item["sk"]?.text ?? "").dropFirst(keyPrefix.count)) }

    static func item(_ key: AccessKey, revision: Int, token: String) -> Item {
        var item = place(of: key.id).item
        item["name"] = .text(key.name)
        item["rights"] = .text(key.rights.text)
        item["secrets"] = .list(key.secrets.map { .map(map($0)) })
        item["createdAt"] = number(key.createdAt)
        item["revokedAt"] = key.revokedAt.map(number)
        item["limits"] = key.limits == .none ? nil : .text(key.limits.text)
        item["revision"] = .number(revision)
        item["written"] = .text(token)
        return item
    }

    /// Sets what a change may change, and so leaves the key's last use as it is.
    static func update(_ key: AccessKey, from revision: Int, token: String) -> ItemWrite {
        let item = item(key, revision: revision + 1, token: token)
        var change = WriteCondition("SET ")
        let names = ["rights", "secrets", "revokedAt", "limits", "revision", "written"]
        change.expression += names.filter { item[$0] != nil }.map { "#\($0) = :\($0)" }.joined(separator: ", ")
        let gone = names.filter { item[$0] == nil }.map { "#" + $0 }
        if !gone.isEmpty { change.expression += " REMOVE " + gone.joined(separator: ", ") }
        for name in names {
            change.names["#" + name] = name
            change.values[":" + name] = item[name]
        }
        let isOurs = WriteCondition(
            "#revision = :held AND #name = :name", names: ["#revision": "revision", "#name": "name"],
            values: [":held": .number(revision), ":name": .text(key.name)])
        return .update(place(of: key.id), change, if: isOurs)
    }

    static func use(of id: String, at time: Timestamp) -> ItemWrite {
        let change = WriteCondition(
            "SET #used = :at", names: ["#used": "lastUsedAt"], values: [":at": number(time)])
        let isWorthIt = WriteCondition(
            "attribute_exists(pk) AND (attribute_not_exists(#used) OR #used <= :before)",
            names: ["#used": "lastUsedAt"], values: [":before": number(time + -AccessKey.touchMilliseconds)])
        return .update(place(of: id), change, if: isWorthIt)
    }

    /// - Returns: `nil` if anything that must be there is not.
    static func key(_ item: Item) -> AccessKey? {
        guard let name = item["name"]?.text, let rights = (item["rights"]?.text).flatMap(AccessRights.init(text:)),
            let list = item["secrets"]?.list, let createdAt = time(item["createdAt"]),
            let revision = item["revision"]?.number
        else { return nil }
        let secrets = list.compactMap { $0.map.flatMap(secret) }
        guard secrets.count == list.count else { return nil }
        var limits = CallerLimits.none
        if let stored = item["limits"] {
            guard let read = stored.text.flatMap(CallerLimits.init(text:)) else { return nil }
            limits = read
        }
        return AccessKey(
            id: id(item), name: name, rights: rights, limits: limits, secrets: secrets, createdAt: createdAt,
            revokedAt: time(item["revokedAt"]), lastUsedAt: time(item["lastUsedAt"]), revision: revision)
    }

    private static func map(_ secret: AccessSecret) -> Item {
        var map: Item = [
            "version": .number(secret.version), "secret": .text(secret.secret), "tokenHash": .bytes(secret.tokenHash),
            "createdAt": number(secret.createdAt),
        ]
        map["expiresAt"] = secret.expiresAt.map(number)
        return map
    }

    private static func secret(_ map: Item) -> AccessSecret? {
        // An empty secret would let everybody in who signs with none.
        guard let version = map["version"]?.number, let secret = map["secret"]?.text, !secret.isEmpty,
            let hash = map["tokenHash"]?.bytes, hash.count == AccessKey.tokenHashBytes,
            let createdAt = time(map["createdAt"])
        else { return nil }
        return AccessSecret(
            version: version, secret: secret, tokenHash: hash, createdAt: createdAt,
            expiresAt: time(map["expiresAt"]))
    }

    private static func number(_ time: Timestamp) -> AttributeValue { .number(Int(time.milliseconds)) }

    private static func time(_ value: AttributeValue?) -> Timestamp? {
        value?.number.map { Timestamp(milliseconds: Int64($0)) }
    }
}
