// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

// A renewal counts from when its beat left FIRST. Where the answer was lost and the beat is sent again, others may have
// seen it since the first time, and their term runs from there: counted from the repetition, the worker would go on
// after they had removed it.

/// One life of a worker, as the worker itself sees it: its beats, and until when they count.
struct WorkerLife: Sendable {
    let id: WorkerID
    let number: Int
    /// The last beat that was acknowledged; 0 before the first.
    private(set) var beat = 0
    /// When the beat after `beat` left first; `nil` if it has not left.
    private(set) var leftAt: Timestamp?
    /// Until when the acknowledged beats count; `nil` before the first.
    private(set) var validUntil: Timestamp?
    private(set) var acknowledgedFirstAt: Timestamp?
    /// When the next renewal is due.
    private(set) var renewAt: Timestamp

    /// - Parameter name: at most `WorkerLife.nameBytesMax` bytes; with it every number makes a valid id.
    init(name: WorkerID, number: Int, renewAt: Timestamp) {
        id = WorkerID("\(name).\(number)") ?? name
        self.number = number
        self.renewAt = renewAt
    }

    /// Leaves room for the dot and the digits of any number.
    static let nameBytesMax = WorkerID.bytesMax - 20

    /// The number of a life of the same worker; `nil` for other workers.
    static func number(of id: WorkerID, name: WorkerID) -> Int? {
        id.text.hasPrefix("\(name).") ? Int(id.text.dropFirst(name.text.count + 1)) : nil
    }

    /// Whether the worker owns what the table says it owns.
    func isValid(_ now: Timestamp) -> Bool { validUntil.map { now < $0 } ?? false }

    /// Whether nothing can come of this life any more: its beats count no longer, or its first one would not.
    func isOver(_ now: Timestamp, _ limits: LeaseLimits) -> Bool {
        guard let end = validUntil ?? leftAt.map({ $0 + limits.validMilliseconds }) else { return false }
        return now >= end
    }

    /// The last beat that may be stored.
    var latestBeat: Int { leftAt == nil ? beat : beat + 1 }

    mutating func leave(_ now: Timestamp) -> Int {
        leftAt = Mutation.beatCountsFromRepetition.isOn ? now : leftAt ?? now
        return beat + 1
    }

    mutating func acknowledged(now: Timestamp, _ limits: LeaseLimits) {
        guard let leftAt else { return }
        beat += 1
        validUntil = leftAt + limits.validMilliseconds
        renewAt = leftAt + limits.renewMilliseconds
        acknowledgedFirstAt = acknowledgedFirstAt ?? now
        self.leftAt = nil
    }

    mutating func renew(at time: Timestamp) { renewAt = time }
}
