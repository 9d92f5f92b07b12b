// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore

// What the queues of a pool should be, what is there, and what follows from the difference. Nothing here calls anything,
// so that a repetition after an interruption at any point is decided, and tested, in one place: whatever is there as it
// should be is taken, what is missing is made, and what is there and different is told and never changed silently.
//
// `DeduplicationScope` is `messageGroup`, because a pool promises no duplicates within a group: with `queue`, equal ids
// of two groups that share a shard would swallow each other. `FifoThroughputLimit` stays `perQueue`: the pool's own shards
// are what multiplies the quota, and high throughput is a choice of its own.

/// A queue as it should be.
package struct QueueSpecification: Hashable, Sendable {
    package let name: String
    package let attributes: [String: String]
    package let tags: [String: String]
}

/// A queue as it is.
package struct FoundQueue: Hashable, Sendable {
    package let url: String
    package let attributes: [String: String]
    package let tags: [String: String]

    package init(url: String, attributes: [String: String], tags: [String: String]) {
        self.url = url
        self.attributes = attributes
        self.tags = tags
    }

    package var arn: String? { attributes["QueueArn"] }
}

/// One way in which a queue is not what it should be.
package enum QueueDifference: Hashable, Sendable, CustomStringConvertible {
    case missing(queue: String)
    /// `found` is `nil` where the queue has none.
    case attribute(queue: String, name: String, found: String?, wanted: String)
    case tag(queue: String, name: String, found: String?, wanted: String)

    package var description: String {
        switch self {
        case .missing(let queue): "\(queue): is missing"
        case .attribute(let queue, let name, let found, let wanted):
            "\(queue): \(name) is \(found.map { "'\($0)'" } ?? "not set"), should be '\(wanted)'"
        case .tag(let queue, let name, let found, let wanted):
            "\(queue): tag \(name) is \(found.map { "'\($0)'" } ?? "not set"), should be '\(wanted)'"
        }
    }
}

/// What `pool create` is asked for beside names.
package struct PoolQueueOptions: Hashable, Sendable {
    /// 0...43,200
    package var visibilityTimeoutSeconds = Defaults.visibilitySeconds
    /// 60...1,209,600
    package var retentionSeconds = Defaults.retentionSeconds
    /// 1...1,000
    package var maxReceiveCount = 10
    /// Whether each message group has a quota of its own instead of the queue.
    package var isHighThroughput = false
    /// Bytes of the largest message: those of the shard that takes least.
    package var messageBytesMax = QueueLimits.messageBytesMax

    package init() {}
}

/// The queues of one pool.
package struct PoolQueuePlan: Sendable {
    package static let poolTag = "queuepool:pool"
    package static let shardTag = "queuepool:shard"
    package static let epochTag = "queuepool:epoch"
    /// Every message there is a failure somebody should look at: kept as long as SQS allows.
    static let deadLetterRetentionSeconds = 1_209_600

    private let pool: PoolName
    private let options: PoolQueueOptions
    private let epoch: Epoch

    package init(pool: PoolName, options: PoolQueueOptions, epoch: Epoch = Epoch(1)) {
        self.pool = pool
        self.options = options
        self.epoch = epoch
    }

    package var deadLetterQueue: QueueSpecification {
        var attributes = attributes(retentionSeconds: PoolQueuePlan.deadLetterRetentionSeconds)
        // A shard that was taken over may hold messages from before that are larger than the pool's may be.
        attributes["MaximumMessageSize"] = String(QueueLimits.messageBytesMax)
        return QueueSpecification(
            name: pool.deadLetterQueueName, attributes: attributes,
            tags: [PoolQueuePlan.poolTag: pool.deadLetterQueueName])
    }

    /// - Parameters:
    ///   - name: the physical queue's, if it does not go by the pool's rule.
    ///   - deadLetterARN: of the queue that takes what was received too often.
    package func shard(_ index: ShardIndex, name: String? = nil, deadLetterARN: String) -> QueueSpecification {
        var attributes = attributes(retentionSeconds: options.retentionSeconds)
        attributes["RedrivePolicy"] = PoolQueuePlan.redrivePolicy(deadLetterARN, options.maxReceiveCount)
        return QueueSpecification(
            name: name ?? pool.shardName(index.number), attributes: attributes,
            tags: [
                PoolQueuePlan.poolTag: pool.text, PoolQueuePlan.shardTag: String(index.number),
                PoolQueuePlan.epochTag: String(epoch.number),
            ])
    }

    private func attributes(retentionSeconds: Int) -> [String: String] {
        [
            "FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": options.isHighThroughput ? "perMessageGroupId" : "perQueue",
            "VisibilityTimeout": String(options.visibilityTimeoutSeconds),
            "MessageRetentionPeriod": String(retentionSeconds),
            "MaximumMessageSize": String(options.messageBytesMax),
            // Not how they are encrypted: SQS encrypts new queues unless told otherwise, and a key is the operator's choice.
        ]
    }

    static func redrivePolicy(_ arn: String, _ maxReceiveCount: Int) -> String {
        #"{"deadLetterTargetArn":"\#(arn)","maxReceiveCount":"\#(maxReceiveCount)"}"#
    }
}

/// What makes a queue as it is the queue that it should be.
package struct QueueComparison: Sendable {
    /// Everything that is different, in the order of names.
    package let differences: [QueueDifference]

    package init(_ wanted: QueueSpecification, _ found: FoundQueue?) {
        guard let found else {
            differences = [.missing(queue: wanted.name)]
            return
        }
        var differences: [QueueDifference] = []
        for (name, value) in wanted.attributes.sorted(by: { $0.key < $1.key })
        where !QueueComparison.equal(name, found.attributes[name], value) {
            differences.append(
                .attribute(queue: wanted.name, name: name, found: found.attributes[name], wanted: value))
        }
        for (name, value) in wanted.tags.sorted(by: { $0.key < $1.key }) where found.tags[name] != value {
            differences.append(.tag(queue: wanted.name, name: name, found: found.tags[name], wanted: value))
        }
        self.differences = differences
    }

    /// Policies are texts of JSON: members in any order, numbers as texts or not. A queue may take larger messages than
    /// the pool, which is held to the least of its shards.
    private static func equal(_ name: String, _ found: String?, _ wanted: String) -> Bool {
        switch name {
        case "RedrivePolicy": return found.flatMap(RedriveText.init) == RedriveText(wanted)
        case "MaximumMessageSize":
            guard let has = found.flatMap({ Int($0) }), let needs = Int(wanted) else { return found == wanted }
            return has >= needs
        default: return found == wanted
        }
    }

    /// Differences that may not be mended without a word from the operator: attributes that are set otherwise, and tags
    /// of another pool.
    package var conflicts: [QueueDifference] {
        differences.filter { difference in
            switch difference {
            case .missing: false
            case .attribute(_, let name, let found, _): !(name == "RedrivePolicy" && found == nil)
            case .tag(_, let name, let found, _): found != nil && name != PoolQueuePlan.epochTag
            }
        }
    }

    package var isMissing: Bool { if case .missing? = differences.first { true } else { false } }

    /// Attributes to set: only what was not set at all.
    package var attributesToSet: [String: String] {
        differences.reduce(into: [:]) { texts, difference in
            if case .attribute(_, let name, nil, let wanted) = difference { texts[name] = wanted }
        }
    }

    package var tagsToSet: [String: String] {
        differences.reduce(into: [:]) { texts, difference in
            if case .tag(_, let name, _, let wanted) = difference { texts[name] = wanted }
        }
    }
}

/// A redrive policy's two values.
package struct RedriveText: Hashable, Sendable {
    package let arn: String
    package let maxReceiveCount: Int

    package init?(_ text: String) {
        guard let tree = try? JSONTree([UInt8](text.utf8)), let arn = tree["deadLetterTargetArn"]?.text,
            let count = tree["maxReceiveCount"], let number = count.number ?? count.text.flatMap({ Int($0) })
        else { return nil }
        self.arn = arn
        maxReceiveCount = number
    }

    /// The last part of the ARN.
    package var queueName: String { arn.split(separator: ":").last.map(String.init) ?? arn }
}
