// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Delays after failures: 0.25 s, doubled up to 16 s, some half a minute in all.
struct MovePatience: Hashable, Sendable {
    private var next: Int64 = 250
    private static let last: Int64 = 16_000

    /// - Returns: milliseconds until another try; `nil` if there is to be none.
    mutating func delay() -> Int64? {
        guard next <= MovePatience.last else { return nil }
        defer { next *= 2 }
        return next
    }
}

/// What one receive of a redrive brought, on its way to where it belongs.
struct MoveBatch: Sendable {
    struct Entry: Sendable {
        let message: ReceivedMessage
        let target: PoolName
        /// Why the last try did not store it.
        var error: ShardError?
    }

    /// Not stored yet, in the order in which they came.
    private(set) var left: [Entry]
    /// Stored, to be deleted in the source.
    private(set) var stored: [ReceiptHandle] = []
    /// Places in `left` that this round has not sent yet.
    private var unsent: [Int]
    /// Places in `left` whose answers are awaited.
    private var underWay: [Int] = []
    var patience = MovePatience()

    init(_ entries: [(message: ReceivedMessage, target: PoolName)]) {
        left = entries.map { Entry(message: $0.message, target: $0.target) }
        unsent = Array(left.indices)
    }

    /// The next request of this round: the messages for one pool, in order. `nil` when the round is over.
    mutating func nextRequest() -> (messages: [ReceivedMessage], target: PoolName)? {
        guard let first = unsent.first else { return nil }
        let target = left[first].target
        underWay = unsent.filter { left[$0].target == target }
        unsent.removeAll { left[$0].target == target }
        return (underWay.map { left[$0].message }, target)
    }

    /// Takes the answers to a request; what has no answer may be stored or not.
    mutating func answered(_ answers: [ShardError?]) {
        for (number, place) in underWay.enumerated() {
            left[place].error = number < answers.count ? answers[number] : .unknownOutcome
        }
        underWay = []
    }

    /// Ends a round: what was stored in it leaves.
    /// - Returns: why something was not; what fails for good comes first, even if the first of them failed only because
    ///   of another.
    mutating func endRound() -> ShardError? {
        stored += left.filter { $0.error == nil }.map(\.message.handle)
        left.removeAll { $0.error == nil }
        unsent = Array(left.indices)
        let roots = left.compactMap { $0.error?.root }
        return roots.first { !$0.isRetryable } ?? roots.first
    }
}

/// Messages that are to be visible again, the last first: the one in front of a group keeps it closed until all are back.
/// The other way round, what comes after a message that is still hidden could pass it.
struct MoveReturns: Sendable {
    private var left: [ReceiptHandle]

    /// - Parameter handles: in the order of their messages.
    init(_ handles: [ReceiptHandle]) { left = handles }

    /// What one request gives back, in its order; `nil` when nothing is left.
    mutating func next() -> [ReceiptHandle]? {
        guard !left.isEmpty else { return nil }
        let next = Array(left.suffix(QueueLimits.batchEntriesMax).reversed())
        left.removeLast(next.count)
        return next
    }
}

/// Messages of one shard that have nowhere to go. They stay hidden as long as the shard is read, or the same ones would
/// come again and again; one whose visibility timeout ended meanwhile is counted once.
struct MoveLeftovers: Sendable {
    private var order: [MessageID] = []
    private var handles: [MessageID: ReceiptHandle] = [:]

    var count: Int { order.count }
    /// In the order in which they came first.
    var inOrder: [ReceiptHandle] { order.compactMap { handles[$0] } }

    mutating func add(_ message: ReceivedMessage) {
        if handles.updateValue(message.handle, forKey: message.messageID) == nil { order.append(message.messageID) }
    }
}
