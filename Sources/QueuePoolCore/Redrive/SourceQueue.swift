// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A queue of SQS as its ARN names it.
public struct SourceQueue: Hashable, Sendable {
    public let region: String
    public let account: String
    public let name: String

    /// - Returns: `nil` if the text is no ARN of an SQS queue.
    public init?(arn: String) {
        let parts = arn.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6, parts[0] == "arn", parts[2] == "sqs", !parts[5].isEmpty else { return nil }
        region = String(parts[3])
        account = String(parts[4])
        name = String(parts[5])
    }

    /// Whether an address may be this queue's: by its name, and by its account where one is known.
    public func isNamed(by address: ShardAddress) -> Bool {
        address.queueName == name && (address.account.map { $0 == account } ?? true)
    }
}

extension ReceivedMessage {
    /// The queue whose redrive policy moved the message, if a remote queue said so.
    public var sourceQueue: SourceQueue? { remote?.sourceARN.flatMap { SourceQueue(arn: $0) } }
}
