// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// "Where is my email?" A record says what became of one message, as far as somebody told. Records are told after the
// fact and may be lost with the process that was about to tell (a second's worth): the queue itself does not rest on them.

/// How far a message has come.
public enum TrackingState: String, Hashable, Sendable, CaseIterable {
    /// In its shard, and nobody has it.
    case queued
    /// A worker holds it.
    case inFlight = "in-flight"
    /// An attempt failed, and another follows.
    case retrying
    /// A target took it. What the target does with it is not known.
    case sent
    /// An event says that it arrived.
    case delivered
    /// In the dead-letter queue.
    case dead
    /// It was in its shard for longer than the pool keeps messages.
    case expired

    /// What the queue does with it is over.
    public var isFinal: Bool { rank >= 2 }

    /// A later record does not replace one of a higher rank: a second delivery, whose first was not deleted in time, does
    /// not make a message unsent; and an event about a message knows more than who sent it.
    var rank: Int {
        switch self {
        case .queued: 0
        case .inFlight, .retrying: 1
        case .expired, .dead: 2
        case .sent: 3
        case .delivered: 4
        }
    }
}

/// What is known of one message.
public struct TrackingRecord: Hashable, Sendable {
    /// Bytes that an id may have.
    public static let idBytesMax = 100
    /// Bytes of any other text but the tags.
    public static let textBytesMax = 256
    /// Bytes of the tags' JSON.
    public static let tagsBytesMax = 1_024
    /// Places of recipients that a record has at most.
    public static let recipientsMax = 100

    /// As the sender was told.
    public var id: String
    public var state: TrackingState
    /// When it came to that, by the clock of who told it.
    public var at: Timestamp
    /// When the queue took it; `nil`: not known to who told it.
    public var acceptedAt: Timestamp?
    /// The number of the latest attempt, from 1.
    public var attempt: Int?
    /// When the next attempt may begin.
    public var nextAttemptAt: Timestamp?
    /// Label of the latest attempt's target.
    public var target: String?
    /// Why it is dead, as its dead letter says.
    public var reason: String?
    /// The latest attempt's kind of failure.
    public var errorClass: String?
    /// Recipients that did not get it although others did, by their places in the email's list.
    public var recipients: [Int]?
    /// A JSON object of texts, as its sender gave it.
    public var tags: String?

    public init(id: String, state: TrackingState, at: Timestamp) {
        self.id = id
        self.state = state
        self.at = at
    }

    /// This one, told later than `earlier` or at the same time, in its place; what only the earlier one knows is kept.
    /// - Returns: `nil` if the earlier one stays.
    public func replacing(_ earlier: TrackingRecord) -> TrackingRecord? {
        guard state.rank > earlier.state.rank || state.rank == earlier.state.rank && at >= earlier.at
        else { return nil }
        var record = self
        record.acceptedAt = acceptedAt ?? earlier.acceptedAt
        record.tags = tags ?? earlier.tags
        record.attempt = attempt ?? earlier.attempt
        if state == .delivered { record.target = target ?? earlier.target }
        return record
    }

    /// The later of two records of a message, with what only the other one knows.
    public func joined(with other: TrackingRecord) -> TrackingRecord {
        replacing(other) ?? other.replacing(self) ?? other
    }
}
