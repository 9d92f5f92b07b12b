// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// Watches I1-I3 over every message of a run. The producer asks it for each group's next sequence and tells it the
// outcome; the consumer tells it each delivery and delete. Guarantees: a message that was acknowledged and not
// delivered is reported lost, one delivered after a later one of its group is reported reordered, one delivered twice
// is reported duplicated unless the server itself says that it is a redelivery (receive count above 1) of a message not
// yet deleted. Compact: three 32-bit numbers a group; only exceptions (refused, unknown, missing, passed over by a
// delete) are kept one by one. It needs each group to have one sender with one request outstanding, for only then does
// the group have one order to check against.

/// What the checker found.
package struct CheckReport: Hashable, Sendable {
    /// Messages whose send was answered with success (or whose delivery proved that it had succeeded).
    package var acknowledged = 0
    /// Distinct messages delivered.
    package var delivered = 0
    /// Sends answered with an error.
    package var refused = 0
    /// Sends without an answer.
    package var outcomeUnknown = 0
    /// Acknowledged and never delivered (I1); `nil` when the run ended without a drain.
    package var lost: Int?
    /// Delivered after a later message of the same group (I2).
    package var reordered = 0
    /// Delivered again though deleted, or with a receive count of 1 (I3).
    package var duplicated = 0
    /// Delivered again after the visibility timeout; allowed, counted apart.
    package var redelivered = 0
    /// Body not as sent, or a sequence that nobody sent.
    package var corrupted = 0
    /// Messages of another run.
    package var foreign = 0
    /// Answered with an error, delivered all the same; allowed, counted apart.
    package var deliveredThoughRefused = 0
    /// Answered with another shard than the ring's (I4).
    package var misplaced = 0

    /// Whether no invariant was broken as far as this run could see.
    package var holds: Bool {
        (lost ?? 0) == 0 && reordered == 0 && duplicated == 0 && corrupted == 0 && misplaced == 0
    }
}

/// The state of the check.
package struct LoadChecker: Sendable {
    package private(set) var report = CheckReport()
    /// Sequences handed out, per group.
    private var sent: [UInt32]
    /// The lowest sequence not passed yet by deliveries, per group.
    private var expected: [UInt32]
    /// One above the highest deleted sequence, per group.
    private var deletedBelow: [UInt32]
    private var refusedKeys: Set<UInt64> = []
    private var unknownKeys: Set<UInt64> = []
    private var missingKeys: Set<UInt64> = []
    /// Below a deleted one of their group and not deleted themselves: each entry of a delete is answered for itself.
    private var undeletedKeys: Set<UInt64> = []

    package init(groups: Int) {
        sent = Array(repeating: 0, count: groups)
        expected = sent
        deletedBelow = sent
    }

    /// Acknowledged and not delivered yet. Exact once no send is in flight.
    package var outstanding: Int { report.acknowledged - report.delivered }

    /// The sequence for the group's next message.
    package mutating func nextSequence(group: Int) -> UInt32 {
        let sequence = sent[group]
        sent[group] = sequence + 1
        return sequence
    }

    package mutating func acknowledged(count: Int = 1) { report.acknowledged += count }

    package mutating func refused(group: Int, sequence: UInt32) {
        report.refused += 1
        settleNotStored(LoadChecker.key(group, sequence), into: \.refusedKeys, group: group, sequence: sequence)
    }

    package mutating func outcomeUnknown(group: Int, sequence: UInt32) {
        report.outcomeUnknown += 1
        settleNotStored(LoadChecker.key(group, sequence), into: \.unknownKeys, group: group, sequence: sequence)
    }

    /// - Parameter receiveCount: what the server says, 1 for a first delivery.
    package mutating func delivered(group: Int, sequence: UInt32, receiveCount: Int) {
        guard group < sent.count, sequence < sent[group] else {
            report.corrupted += 1
            return
        }
        let key = LoadChecker.key(group, sequence)
        if sequence >= expected[group] {
            for skipped in expected[group]..<sequence {
                let skippedKey = LoadChecker.key(group, skipped)
                if !isNotStored(skippedKey) { missingKeys.insert(skippedKey) }
            }
            expected[group] = sequence + 1
            proveStored(key)
            report.delivered += 1
        } else if missingKeys.remove(key) != nil || proveStored(key) {
            report.reordered += 1
            report.delivered += 1
        } else if receiveCount > 1, !isDeleted(group, sequence) {
            report.redelivered += 1
        } else {
            report.duplicated += 1
        }
    }

    /// The delete of a delivered message was answered with success.
    package mutating func deleted(group: Int, sequence: UInt32) {
        guard group < deletedBelow.count, sequence < sent[group] else { return }
        let below = deletedBelow[group]
        guard sequence >= below else {
            undeletedKeys.remove(LoadChecker.key(group, sequence))
            return
        }
        for passed in below..<sequence { undeletedKeys.insert(LoadChecker.key(group, passed)) }
        deletedBelow[group] = sequence + 1
    }

    package mutating func corruptedBody() { report.corrupted += 1 }
    package mutating func foreignMessage() { report.foreign += 1 }
    package mutating func misplacedMessage() { report.misplaced += 1 }

    /// The findings.
    /// - Parameter drained: whether the pool was read until nothing more came, so that what is missing is lost.
    package func finished(drained: Bool) -> CheckReport {
        var result = report
        guard drained else { return result }
        var lost = missingKeys.count
        for group in sent.indices where expected[group] < sent[group] {
            for sequence in expected[group]..<sent[group] where !isNotStored(LoadChecker.key(group, sequence)) {
                lost += 1
            }
        }
        result.lost = lost
        return result
    }

    /// An answer may come after the delivery of the same or a later message, when both sides run at once.
    private mutating func settleNotStored(
        _ key: UInt64, into keys: WritableKeyPath<LoadChecker, Set<UInt64>>, group: Int, sequence: UInt32
    ) {
        if sequence < expected[group], missingKeys.remove(key) == nil {
            report.acknowledged += 1
            report.deliveredThoughRefused += 1
        } else {
            self[keyPath: keys].insert(key)
        }
    }

    /// A delivery settles what the answer had left open.
    @discardableResult
    private mutating func proveStored(_ key: UInt64) -> Bool {
        guard !(refusedKeys.isEmpty && unknownKeys.isEmpty) else { return false }
        if unknownKeys.remove(key) != nil {
            report.acknowledged += 1
            return true
        }
        guard refusedKeys.remove(key) != nil else { return false }
        report.acknowledged += 1
        report.deliveredThoughRefused += 1
        return true
    }

    private func isDeleted(_ group: Int, _ sequence: UInt32) -> Bool {
        sequence < deletedBelow[group] && !undeletedKeys.contains(LoadChecker.key(group, sequence))
    }

    private func isNotStored(_ key: UInt64) -> Bool {
        !(refusedKeys.isEmpty && unknownKeys.isEmpty) && (refusedKeys.contains(key) || unknownKeys.contains(key))
    }

    private static func key(_ group: Int, _ sequence: UInt32) -> UInt64 { UInt64(group) << 32 | UInt64(sequence) }
}
