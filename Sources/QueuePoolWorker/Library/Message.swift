// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// A message that a worker holds and that is to be delivered.
public struct Message: Sendable {
    /// The message's id, the same at each of its deliveries: what a handler knows a repeated delivery by.
    public let id: String
    /// Its message group. Messages of one group are delivered one after another, in order.
    public let group: String
    /// Its body, byte by byte as it was sent.
    public let body: [UInt8]
    /// Its attributes by name.
    public let attributes: [String: Attribute]
    /// How often the queue gave it out so far, this time included.
    public let receiveCount: Int
    /// The number of this attempt, from 1. Deliveries by other workers count, as their outcomes are not known.
    public let attempt: Int
    /// The name of the shard that it comes from, e.g. `emails-0003.fifo`.
    public let shard: String

    /// A value that the sender gave a message beside its body.
    public struct Attribute: Hashable, Sendable {
        /// `String`, `Number` or `Binary`, and maybe a label of the sender's behind a dot.
        public let dataType: String
        /// The value; of a text in UTF-8.
        public let value: [UInt8]

        /// An attribute of any type.
        public init(dataType: String, value: [UInt8]) {
            self.dataType = dataType
            self.value = value
        }

        /// An attribute of the type `String`.
        public init(_ text: String) { self.init(dataType: "String", value: Array(text.utf8)) }

        /// The value of a `String` or a `Number`; `nil` for what is binary.
        public var text: String? { dataType.hasPrefix("Binary") ? nil : String(decoding: value, as: UTF8.self) }
    }

    init(_ message: WorkMessage, attempt: Int) {
        id = message.id
        group = message.group
        body = message.body
        attributes = Attribute.byName(message.attributes)
        receiveCount = message.receiveCount
        self.attempt = attempt
        shard = message.shardName
    }
}

extension Message.Attribute {
    static func byName(_ attributes: [MessageAttribute]) -> [String: Message.Attribute] {
        Dictionary(
            attributes.map { ($0.name, Message.Attribute(dataType: $0.dataType, value: $0.value)) },
            uniquingKeysWith: { first, _ in first })
    }

    /// In the order of their names, so that it is the same each time.
    static func list(_ attributes: [String: Message.Attribute]) -> [MessageAttribute] {
        attributes.sorted { $0.key < $1.key }.map {
            MessageAttribute(name: $0.key, dataType: $0.value.dataType, value: $0.value.value)
        }
    }
}
