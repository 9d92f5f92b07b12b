// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// The few actions of DynamoDB that control state needs, on one table with the string keys `pk` and `sk`. Reads are
// strongly consistent. Calls block (see JSONService). Source: DynamoDB API reference, version 2012-08-10.

/// The key of an item.
package struct ItemKey: Hashable, Sendable {
    package let partition: String
    package let sort: String

    package init(_ partition: String, _ sort: String) {
        self.partition = partition
        self.sort = sort
    }

    package var item: Item { ["pk": .text(partition), "sk": .text(sort)] }
}

/// When a write happens, in DynamoDB's expression language.
package struct WriteCondition: Hashable, Sendable {
    package var expression: String
    /// What `#name` stands for; needed for reserved words.
    package var names: [String: String]
    package var values: [String: AttributeValue]

    package init(_ expression: String, names: [String: String] = [:], values: [String: AttributeValue] = [:]) {
        self.expression = expression
        self.names = names
        self.values = values
    }

    package static let isNew = WriteCondition("attribute_not_exists(pk)")

    package static func equals(_ attribute: String, _ value: AttributeValue) -> WriteCondition {
        WriteCondition("#held = :held", names: ["#held": attribute], values: [":held": value])
    }
}

/// A write of one item, alone or as part of a transaction.
package enum ItemWrite: Hashable, Sendable {
    /// Replaces the item as a whole.
    case put(Item, if: WriteCondition?)
    case update(ItemKey, WriteCondition, if: WriteCondition?)
    case delete(ItemKey, if: WriteCondition?)
}

/// One table.
package struct DynamoDBTable: Sendable {
    package let name: String
    private let service: JSONService

    package init(name: String, service: JSONService) {
        self.name = name
        self.service = service
    }

    /// The service at an endpoint, for `init(name:service:)`.
    package static func service(
        caller: any AWSCaller, region: String, endpoint: String, clock: any Clock,
        attemptsMax: Int = JSONService.attemptsMax, timeoutMilliseconds: Int = 10_000
    ) -> JSONService {
        JSONService(
            caller: caller, service: "dynamodb", targetPrefix: "DynamoDB_20120810", region: region, endpoint: endpoint,
            clock: clock, attemptsMax: attemptsMax, timeoutMilliseconds: timeoutMilliseconds)
    }

    // MARK: - Items

    package func get(_ key: ItemKey) throws(AWSError) -> Item? {
        try service.call(
            "GetItem", ["TableName": .string(name), "Key": JSONTree(item: key.item), "ConsistentRead": true])["Item"]?
            .item
    }

    /// Whether there is such an item.
    package func has(_ key: ItemKey) throws(AWSError) -> Bool {
        try service.call(
            "GetItem",
            [
                "TableName": .string(name), "Key": JSONTree(item: key.item), "ConsistentRead": true,
                "ProjectionExpression": "pk",
            ])["Item"] != nil
    }

    /// Every item of a partition whose sort key begins so, in the order of their sort keys.
    package func query(_ partition: String, sortPrefix: String) throws(AWSError) -> [Item] {
        try query("pk = :pk AND begins_with(sk, :sk)", [":pk": .text(partition), ":sk": .text(sortPrefix)])
    }

    /// Every item of a partition whose sort key is one of the two or between them, in the order of their sort keys.
    package func query(_ partition: String, from first: String, through last: String) throws(AWSError) -> [Item] {
        try query(
            "pk = :pk AND sk BETWEEN :first AND :last",
            [":pk": .text(partition), ":first": .text(first), ":last": .text(last)])
    }

    private func query(_ condition: String, _ values: Item) throws(AWSError) -> [Item] {
        var found: [Item] = []
        var start: JSONTree?
        repeat {
            var body: [String: JSONTree] = [
                "TableName": .string(name), "ConsistentRead": true, "KeyConditionExpression": .string(condition),
                "ExpressionAttributeValues": JSONTree(item: values),
            ]
            body["ExclusiveStartKey"] = start
            let answer = try service.call("Query", .object(body))
            found += (answer["Items"]?.elements ?? []).map(\.item)
            start = answer["LastEvaluatedKey"]
            if start == .null || start?.members.isEmpty == true { start = nil }
        } while start != nil
        return found
    }

    /// Writes one item.
    /// - Throws: `AWSError.permanent(code: "ConditionalCheckFailedException")` if its condition does not hold.
    package func write(_ write: ItemWrite) throws(AWSError) {
        let (action, body) =
            switch write {
            case .put: ("PutItem", tree(write))
            case .update: ("UpdateItem", tree(write))
            case .delete: ("DeleteItem", tree(write))
            }
        _ = try service.call(action, .object(body))
    }

    /// Writes all of them or none.
    /// - Parameter token: the same for every attempt of the same transaction, at most 36 characters.
    /// - Throws: `AWSError.permanent(code: "ConditionalCheckFailed")` if a condition does not hold.
    package func write(_ writes: [ItemWrite], token: String) throws(AWSError) {
        let parts = writes.map { write -> JSONTree in
            switch write {
            case .put: ["Put": .object(tree(write))]
            case .update: ["Update": .object(tree(write))]
            case .delete: ["Delete": .object(tree(write))]
            }
        }
        _ = try service.call(
            "TransactWriteItems", ["TransactItems": .array(parts), "ClientRequestToken": .string(token)])
    }

    private func tree(_ write: ItemWrite) -> [String: JSONTree] {
        var body: [String: JSONTree] = ["TableName": .string(name)]
        var expressions: [WriteCondition] = []
        switch write {
        case .put(let item, let condition):
            body["Item"] = JSONTree(item: item)
            expressions = [condition].compactMap { $0 }
        case .update(let key, let change, let condition):
            body["Key"] = JSONTree(item: key.item)
            body["UpdateExpression"] = .string(change.expression)
            expressions = [change, condition].compactMap { $0 }
        case .delete(let key, let condition):
            body["Key"] = JSONTree(item: key.item)
            expressions = [condition].compactMap { $0 }
        }
        switch write {
        case .put(_, let condition), .update(_, _, let condition), .delete(_, let condition):
            body["ConditionExpression"] = condition.map { .string($0.expression) }
        }
        let names = expressions.reduce(into: [:]) { $0.merge($1.names) { $1 } }
        let values = expressions.reduce(into: Item()) { $0.merge($1.values) { $1 } }
        if !names.isEmpty { body["ExpressionAttributeNames"] = JSONTree(names) }
        if !values.isEmpty { body["ExpressionAttributeValues"] = JSONTree(item: values) }
        return body
    }

    // MARK: - The table itself

    /// `nil` if there is none.
    package func status() throws(AWSError) -> String? {
        do throws(AWSError) {
            return try service.call("DescribeTable", ["TableName": .string(name)])["Table"]?["TableStatus"]?.text
        } catch {
            if error.code == "ResourceNotFoundException" { return nil }
            throw error
        }
    }

    /// Makes the table, paid by request; nothing happens if it is there or on its way.
    package func create() throws(AWSError) {
        do throws(AWSError) {
            _ = try service.call(
                "CreateTable",
                [
                    "TableName": .string(name), "BillingMode": "PAY_PER_REQUEST",
                    "AttributeDefinitions": [
                        ["AttributeName": "pk", "AttributeType": "S"], ["AttributeName": "sk", "AttributeType": "S"],
                    ],
                    "KeySchema": [
                        ["AttributeName": "pk", "KeyType": "HASH"], ["AttributeName": "sk", "KeyType": "RANGE"],
                    ],
                ])
        } catch {
            if error.code != "ResourceInUseException" { throw error }
        }
    }

    /// Lets items expire by an attribute that holds seconds since 1970; nothing happens if they do already.
    package func expireItems(by attribute: String) throws(AWSError) {
        let held = try service.call("DescribeTimeToLive", ["TableName": .string(name)])["TimeToLiveDescription"]
        if let status = held?["TimeToLiveStatus"]?.text, status == "ENABLED" || status == "ENABLING" { return }
        _ = try service.call(
            "UpdateTimeToLive",
            [
                "TableName": .string(name),
                "TimeToLiveSpecification": ["AttributeName": .string(attribute), "Enabled": true],
            ])
    }
}
