// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import Dispatch
package import QueuePoolCore
import Synchronization

// What became of messages, in the table of the control store.
//
// Items (`pk`, `sk` -> attributes):
//   TRACK#emails.fifo#id, RECORD -> state, at, acceptedAt?, attempt?, nextAttemptAt?, target?, reason?, errorClass?,
//       recipients? (L), tags?, until (times are milliseconds since 1970), expiresAt (seconds, the table's TTL attribute,
//       rounded up: the service removes an item some time after it, and `until` says when nobody finds it any more)
//
// Each message has a partition of its own, so that records spread over the table as messages do.
//
// A record is written by one conditional update, without a read: the condition names the states that it replaces, and the
// update leaves what the earlier record keeps. A condition that does not hold is no failure: a later record is there. An
// update that is repeated because its answer was lost finds its own record, which it replaces by the same. BatchWriteItem
// knows no conditions, so updates go side by side instead.
//
// Units: a write unit for each record (an item is smaller than 1 KB, but for long tags and reasons); a condition that does
// not hold costs the same. A look takes a read unit.

package final class DynamoDBTrackingStore: TrackingStore {
    /// Calls at one time, of all that use the store.
    package static let callsMax = 16

    private struct State: Sendable {
        /// Lanes on which no call is.
        var idle: [Int]
        var waiting: Deque<@Sendable () -> Void> = []
    }

    private let table: DynamoDBTable
    private let state: Mutex<State>
    /// Calls block the thread (see JSONService); each lane has one, and uses it while there are calls.
    private let lanes: [DispatchQueue]

    package init(table: DynamoDBTable) {
        self.table = table
        lanes = (0..<DynamoDBTrackingStore.callsMax).map { DispatchQueue(label: "queuepool.tracking.\($0)") }
        state = Mutex(State(idle: Array(lanes.indices.reversed())))
    }

    // MARK: - The port

    package func save(
        _ records: [TrackingRecord], ofPool pool: PoolName, expiresAt: Timestamp
    ) async throws(TrackingStoreError) {
        let updates = DynamoDBTrackingStore.merged(records).map {
            TrackingItem.update($0, of: pool, expiresAt: expiresAt)
        }
        guard !updates.isEmpty else { return }
        let failure = await withCheckedContinuation { (done: CheckedContinuation<TrackingStoreError?, Never>) in
            let saving = Saving(left: updates.count, done: done)
            for update in updates {
                perform { [table] in saving.end(saving.hasFailed ? nil : DynamoDBTrackingStore.write(update, to: table))
                }
            }
        }
        if let failure { throw failure }
    }

    package func record(
        _ id: String, ofPool pool: PoolName, now: Timestamp
    ) async throws(TrackingStoreError) -> TrackingRecord? {
        let result = await withCheckedContinuation {
            (done: CheckedContinuation<Result<Item?, TrackingStoreError>, Never>) in
            perform { [table] in
                do throws(AWSError) {
                    done.resume(returning: .success(try table.get(TrackingItem.key(id, of: pool))))
                } catch {
                    done.resume(returning: .failure(TrackingStoreError(code: error.code)))
                }
            }
        }
        return try result.get().flatMap { TrackingItem.record($0, id: id, now: now) }
    }

    /// Leaves them: they go by themselves.
    package func removeAll(ofPool pool: PoolName) async throws(TrackingStoreError) {}

    // MARK: - Writing

    /// Records of the same message as one, because updates that go side by side have no order.
    static func merged(_ records: [TrackingRecord]) -> [TrackingRecord] {
        // By their bytes: texts that look the same are equal to Swift.
        var places: [[UInt8]: Int] = [:]
        var merged: [TrackingRecord] = []
        for record in records {
            let key = Array(record.id.utf8)
            if let place = places[key] {
                merged[place] = record.replacing(merged[place]) ?? merged[place]
            } else {
                places[key] = merged.count
                merged.append(record)
            }
        }
        return merged
    }

    private static func write(_ update: ItemWrite, to table: DynamoDBTable) -> TrackingStoreError? {
        do throws(AWSError) { try table.write(update) } catch {
            if error.code != LeaseItem.refusal { return TrackingStoreError(code: error.code) }
        }
        return nil
    }

    /// What is left of one save.
    private final class Saving: Sendable {
        private let state: Mutex<(left: Int, failure: TrackingStoreError?)>
        private let done: CheckedContinuation<TrackingStoreError?, Never>

        init(left: Int, done: CheckedContinuation<TrackingStoreError?, Never>) {
            state = Mutex((left, nil))
            self.done = done
        }

        /// The rest need not be tried: the save fails as a whole, and is made again as a whole.
        var hasFailed: Bool { state.withLock { $0.failure != nil } }

        func end(_ failure: TrackingStoreError?) {
            let (left, first) = state.withLock { state in
                state.left -= 1
                state.failure = state.failure ?? failure
                return state
            }
            if left == 0 { done.resume(returning: first) }
        }
    }

    // MARK: - Lanes

    /// Runs a call that blocks, as soon as there is a lane for it.
    private func perform(_ call: @escaping @Sendable () -> Void) {
        let lane = state.withLock { state -> Int? in
            if let lane = state.idle.popLast() { return lane }
            state.waiting.append(call)
            return nil
        }
        guard let lane else { return }
        lanes[lane].async { [self] in
            call()
            while let next = next(lane) { next() }
        }
    }

    private func next(_ lane: Int) -> (@Sendable () -> Void)? {
        state.withLock { state in
            if let next = state.waiting.popFirst() { return next }
            state.idle.append(lane)
            return nil
        }
    }
}

/// How a record is written as an item.
enum TrackingItem {
    static func key(_ id: String, of pool: PoolName) -> ItemKey { ItemKey("TRACK#\(pool.text)#\(id)", "RECORD") }

    /// Sets what the record says, and removes what an earlier one says that it does not keep.
    static func update(_ record: TrackingRecord, of pool: PoolName, expiresAt: Timestamp) -> ItemWrite {
        var change = WriteCondition("")
        var (sets, removals): ([String], [String]) = ([], [])
        for (name, value) in attributes(record, expiresAt: expiresAt).sorted(by: { $0.key < $1.key }) {
            change.names["#" + name] = name
            change.values[":" + name] = value
            sets.append("#\(name) = :\(name)")
        }
        for name in notKept(by: record) where change.names["#" + name] == nil {
            change.names["#" + name] = name
            removals.append("#" + name)
        }
        change.expression = "SET " + sets.joined(separator: ", ")
        if !removals.isEmpty { change.expression += " REMOVE " + removals.joined(separator: ", ") }
        return .update(key(record.id, of: pool), change, if: condition(record))
    }

    private static func attributes(_ record: TrackingRecord, expiresAt: Timestamp) -> Item {
        func number(_ time: Timestamp) -> AttributeValue { .number(Int(time.milliseconds)) }
        var item: Item = ["state": .text(record.state.rawValue), "at": number(record.at), "until": number(expiresAt)]
        item["expiresAt"] = .number(Int((expiresAt.milliseconds &+ 999) / 1_000))
        item["acceptedAt"] = record.acceptedAt.map(number)
        item["attempt"] = record.attempt.map { .number($0) }
        item["nextAttemptAt"] = record.nextAttemptAt.map(number)
        item["target"] = record.target.map { .text($0) }
        item["reason"] = record.reason.map { .text($0) }
        item["errorClass"] = record.errorClass.map { .text($0) }
        item["recipients"] = record.recipients.map { .list($0.map { .number($0) }) }
        item["tags"] = record.tags.map { .text($0) }
        return item
    }

    /// Attributes that an earlier record's do not stay in, see `TrackingRecord.replacing`.
    private static func notKept(by record: TrackingRecord) -> [String] {
        var earlier = TrackingRecord(id: record.id, state: record.state, at: record.at)
        earlier.acceptedAt = record.at
        earlier.attempt = 1
        earlier.nextAttemptAt = record.at
        earlier.target = ""
        earlier.reason = ""
        earlier.errorClass = ""
        earlier.recipients = []
        earlier.tags = ""
        guard let kept = TrackingRecord(id: record.id, state: record.state, at: record.at).replacing(earlier) else {
            return []
        }
        let all = attributes(earlier, expiresAt: record.at)
        let left = attributes(kept, expiresAt: record.at)
        return all.keys.filter { left[$0] == nil }.sorted()
    }

    /// Holds where there is no record, or one that this one replaces.
    private static func condition(_ record: TrackingRecord) -> WriteCondition {
        var condition = WriteCondition("attribute_not_exists(pk)")
        var (lower, equal): ([String], [String]) = ([], [])
        for (number, state) in TrackingState.allCases.enumerated() {
            let other = TrackingRecord(id: record.id, state: state, at: record.at)
            let later = TrackingRecord(id: record.id, state: state, at: record.at + 1)
            guard record.replacing(other) != nil else { continue }
            let name = ":state\(number)"
            condition.values[name] = .text(state.rawValue)
            if record.replacing(later) != nil { lower.append(name) } else { equal.append(name) }
        }
        condition.names = ["#state": "state", "#at": "at"]
        if !lower.isEmpty { condition.expression += " OR #state IN (\(lower.joined(separator: ", ")))" }
        condition.expression += " OR (#state IN (\(equal.joined(separator: ", "))) AND #at <= :at)"
        condition.values[":at"] = .number(Int(record.at.milliseconds))
        return condition
    }

    /// What an item says, as long as its time is not over.
    /// - Returns: `nil` also for an item that is damaged, or whose state is not known.
    static func record(_ item: Item, id: String, now: Timestamp) -> TrackingRecord? {
        func time(_ name: String) -> Timestamp? { item[name]?.number.map { Timestamp(milliseconds: Int64($0)) } }
        guard let state = item["state"]?.text.flatMap(TrackingState.init(rawValue:)), let at = time("at"),
            let until = time("until"), until > now
        else { return nil }
        var record = TrackingRecord(id: id, state: state, at: at)
        record.acceptedAt = time("acceptedAt")
        record.attempt = item["attempt"]?.number
        record.nextAttemptAt = time("nextAttemptAt")
        record.target = item["target"]?.text
        record.reason = item["reason"]?.text
        record.errorClass = item["errorClass"]?.text
        record.recipients = item["recipients"]?.list?.compactMap(\.number)
        record.tags = item["tags"]?.text
        return record
    }
}
