// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
package import QueuePoolCore

// Judges the promises I1-I4 and I7 over a whole history. Whoever runs the history tells it what happens, in true time
// order; it says which promise broke. It knows nothing of how a pool works, so that it cannot share a pool's mistakes:
// it compares what senders were told with what workers handed over. Every event costs O(1), amortised: a group keeps
// what it accepted with a cursor on the first message that was not handed yet, and each message remembers how far the
// group was when the message began. Texts are made only for violations.
//
// The rules, where the promise alone does not say it:
// - A message is what one sender means to send once, with one deduplication id, however often it is tried.
// - A message that first began after another of its group was accepted is first handed after it.
// - If every try of a message had the same other message of its group as the nearest before it in the request, then it
//   is first handed after that one: wherever it was stored, the other was stored before. A try without it ends that.
// - One message of a group is worked on at a time. A worker may hand a message again, in place; another worker may once
//   the first one ended or the message's visibility ran out. Once a later message was handed, none before it is again.
// - A second copy is allowed only once the deduplication interval has passed since the message first began: then a
//   retry may be stored anew, and that copy is held to no order.
// - A redrive is a new passage through the group, perhaps under a new id, behind all that was accepted by then.
// - A group's shard is compared among requests that began and were answered in one epoch.

/// Told of a history, event by event, it finds the promises that the history breaks.
package struct PromiseChecker: Sendable {
    /// What was seen. A history in which nothing was handed breaks no order, so whoever judges one looks here too.
    package struct Counts: Hashable, Sendable {
        /// Messages that began.
        package var began = 0
        /// Messages that a sender was told to be stored.
        package var accepted = 0
        /// Messages that were handed to a target, each counted once.
        package var handed = 0
        /// Handed again before their end was known; allowed.
        package var handedAgain = 0
        /// First handed after every try so far was refused for certain. It is allowed: an error promises nothing.
        package var handedThoughRefused = 0
    }

    /// At most this many violations are kept: the first ones tell the story, the rest follow from them.
    package static let keptViolations = 20

    /// The first violations, in the order in which they were seen.
    package internal(set) var violations: [Violation] = []
    /// How many violations there were of each promise, kept or not: a flood of one hides no other.
    package internal(set) var broken: [Promise: Int] = [:]
    package internal(set) var counts = Counts()

    let deduplicationMilliseconds: Int64
    var messages: [MessageState] = []
    var indexOfMessage: [Int: Int] = [:]
    var groups: [GroupState] = []
    var indexOfGroup: [Int: Int] = [:]
    var requests: [Int: RequestState] = [:]
    /// How many requests were completely answered: marks the groups of one of them, without a set.
    var completions = 0
    var epoch = 0
    /// How often each worker ended: what it held before is not held any more.
    var lives: [Int: Int] = [:]
    var faultsStoppedAt: Timestamp?

    /// Whether an error that is not of an unknown outcome promises that nothing was stored.
    let refusalsAreFinal: Bool

    /// - Parameters:
    ///   - deduplicationMilliseconds: how long a deduplication id is remembered.
    ///   - refusalsAreFinal: whether a message whose every try was refused must not be handed.
    package init(deduplicationMilliseconds: Int64 = 300_000, refusalsAreFinal: Bool = false) {
        self.refusalsAreFinal = refusalsAreFinal
        self.deduplicationMilliseconds = deduplicationMilliseconds
    }

    /// A new topology is in force: a group may have another shard from here on.
    package mutating func epochChanged() { epoch += 1 }

    /// From here on nothing excuses what does not move.
    package mutating func faultsStopped(now: Timestamp) { faultsStoppedAt = now }

    /// Notes a promise that somebody else saw broken.
    /// - Parameter message: -1 for none.
    package mutating func broke(_ promise: Promise, message: Int, now: Timestamp, _ text: String) {
        if let index = indexOfMessage[message] {
            report(promise, at: index, now: now, text)
        } else {
            report(promise, message, group: -1, now: now, text)
        }
    }

    /// Notes a broken promise. The text is made only if it will be kept.
    mutating func report(
        _ promise: Promise, _ message: Int, group: Int, now: Timestamp, _ text: @autoclosure () -> String
    ) {
        broken[promise, default: 0] += 1
        guard violations.count < PromiseChecker.keptViolations else { return }
        violations.append(Violation(promise: promise, time: now, group: group, message: message, text: text()))
    }

    /// The same for a message that began.
    mutating func report(_ promise: Promise, at index: Int, now: Timestamp, _ text: @autoclosure () -> String) {
        report(promise, messages[index].number, group: groups[messages[index].group].number, now: now, text())
    }
}

/// What is known of one message.
struct MessageState: Sendable {
    let number: Int
    let group: Int
    let firstBegan: Timestamp
    let firstEpoch: Int
    /// How many messages its group had accepted when this one first began: they all come before it.
    var accepted: Int
    /// The nearest entry of its group before it, in every request that tried it; -1 if there is no such one.
    var predecessor: Int
    /// How often it was redriven from the dead-letter queue: each time it passes through its group anew.
    var passage = 0
    /// Tries that are not answered yet.
    var openTries = 1
    /// Whether a sender was told success.
    var isAccepted = false
    /// Whether a try ended in doubt.
    var isInDoubt = false
    /// Whether a try was alive when the deduplication interval was over: a second copy may have been stored.
    var mayHaveCopies = false
    /// Whether success was told that was no duplicate.
    var isStoredAnew = false
    /// The id that senders were told last, and between which times it was stored.
    var toldID: UInt64?
    var storedFrom = Timestamp.distantPast
    var storedTo = Timestamp.distantPast
    /// The id that it was handed under last.
    var handedID: UInt64?
    /// Its place among the messages of its group in the order of their first hands, from 1; 0 before.
    var handedAs = 0
    /// Who hands it over, in which of its lives; -1 if nobody does.
    var worker = -1
    var life = 0
    var isDeleted = false
    var isDead = false
    var isExpired = false
    /// A later message was handed before it, and that was reported.
    var isOvertaken = false

    /// Whether it came to an end that can be told.
    var isFinished: Bool { isDeleted || isDead || isExpired }
    /// Whether a message that comes after it may be handed.
    var isPassed: Bool { handedAs > 0 || isFinished || isOvertaken }
}

/// What is known of one group.
struct GroupState: Sendable {
    struct Waiting: Sendable {
        let message: Int
        let passage: Int
    }

    let number: Int
    /// Accepted messages in the order of acceptance, without the first `passed` ones.
    var waiting: Deque<Waiting> = []
    /// How many of the accepted messages were all handed, or finished without.
    var passed = 0
    /// How many of its messages were handed.
    var handed = 0
    /// The message that was handed and is not finished; -1 if there is none.
    var current = -1
    /// Its shard, and the epoch in which that was seen.
    var shard = -1
    var shardEpoch = -1
    /// The latest complete request in which an entry of it failed.
    var failedIn = 0

    var acceptedCount: Int { passed + waiting.count }
}

/// A request that is not completely answered.
struct RequestState: Sendable {
    enum Answer: Sendable { case none, accepted, refused }
    struct Entry: Sendable {
        let message: Int
        var answer = Answer.none
    }

    var entries: [Entry]
    var unanswered: Int
    let began: Timestamp
    let epoch: Int
}
