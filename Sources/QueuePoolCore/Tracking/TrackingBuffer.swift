// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

// Records on their way to the store. A message that is delivered soon after it began is told once and not twice: what is
// not final waits a moment for what is. One batch is under way at a time, so that records of a message are written in
// their order. Pure: the time is an argument.

/// What a process has to tell of its messages, and has not told yet.
public struct TrackingBuffer: Sendable {
    /// How long a record that is not final waits for a later one.
    public static let settleMilliseconds: Int64 = 1_000
    /// Records of one batch.
    public static let batchMax = 500
    /// Records that wait, of each kind; more are dropped and counted.
    public static let waitingMax = 50_000

    /// They are told in this order.
    private var finals: Deque<TrackingRecord> = []
    /// The latest of each message that is not final.
    private var open: [String: TrackingRecord] = [:]
    /// Oldest first; some may not be open any more.
    private var openOrder: Deque<(id: String, since: Timestamp)> = []
    private var underWay: [TrackingRecord] = []
    /// Records that found no room.
    public private(set) var droppedCount = 0

    public init() {}

    public var isBusy: Bool { !underWay.isEmpty }
    public var isEmpty: Bool { finals.isEmpty && open.isEmpty && underWay.isEmpty }

    /// Takes a record.
    public mutating func note(_ record: TrackingRecord, now: Timestamp) {
        if record.state.isFinal {
            let earlier = open.removeValue(forKey: record.id)
            guard finals.count < TrackingBuffer.waitingMax else {
                droppedCount += 1
                return
            }
            finals.append(earlier.flatMap { record.replacing($0) } ?? record)
        } else if let earlier = open[record.id] {
            open[record.id] = record.replacing(earlier) ?? earlier
        } else if openOrder.count < TrackingBuffer.waitingMax {
            open[record.id] = record
            openOrder.append((record.id, now))
        } else {
            droppedCount += 1
        }
    }

    /// What is not told yet of a message. It looks through all that waits.
    public func record(_ id: String) -> TrackingRecord? {
        let found = [underWay.last { $0.id == id }, finals.last { $0.id == id }, open[id]].compactMap(\.self)
        guard let first = found.first else { return nil }
        return found.dropFirst().reduce(first) { $0.joined(with: $1) }
    }

    /// The next batch, empty if there is none now; it ends with `told`.
    /// - Parameter takesAll: also what is not final and might be so soon, because the process ends.
    public mutating func next(takesAll: Bool = false, now: Timestamp) -> [TrackingRecord] {
        guard underWay.isEmpty else { return [] }
        while underWay.count < TrackingBuffer.batchMax, let record = finals.popFirst() { underWay.append(record) }
        while underWay.count < TrackingBuffer.batchMax, let oldest = openOrder.first {
            guard open[oldest.id] == nil || takesAll || oldest.since + TrackingBuffer.settleMilliseconds <= now
            else { break }
            openOrder.removeFirst()
            if let record = open.removeValue(forKey: oldest.id) { underWay.append(record) }
        }
        return underWay
    }

    /// The batch was written, or must be told again.
    public mutating func told(isSaved: Bool) {
        defer { underWay = [] }
        guard !isSaved else { return }
        // Before what came after them. There is room for one batch more.
        finals.prepend(contentsOf: underWay)
    }
}
