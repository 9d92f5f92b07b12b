// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// The deduplication keys of the messages that one commit judges, and which of them it has taken in already. What a commit
/// took in is in the queue's window only once it is on stable storage.
public struct CommitKeys: Sendable {
    /// So few are looked through one by one.
    private static let scannedMax = 12

    private let keys: [Hash128]
    /// The message of each key that was taken in; 0 for the others.
    private var sequences: [Int64]
    private var judged = 0
    /// A number of a key and 1, by the key: open addressing, linear probing, at most half full; empty for few keys.
    private var places: [UInt32]

    init(_ keys: [Hash128]) {
        self.keys = keys
        sequences = Array(repeating: 0, count: keys.count)
        places = []
        guard keys.count > CommitKeys.scannedMax else { return }
        var size = 64
        while size < 2 * keys.count { size *= 2 }
        places = Array(repeating: 0, count: size)
    }

    /// The key of the next message to be judged; `nil` behind the last one.
    var current: Hash128? { judged < keys.count ? keys[judged] : nil }

    /// The message of this commit that brought the current key first.
    var earlier: SequenceNumber? {
        guard let key = current else { return nil }
        if places.isEmpty {
            for number in 0..<judged where sequences[number] != 0 && keys[number] == key {
                return SequenceNumber(rawValue: sequences[number])
            }
            return nil
        }
        var place = start(key)
        while places[place] != 0 {
            let number = Int(places[place]) - 1
            if keys[number] == key { return SequenceNumber(rawValue: sequences[number]) }
            place = (place + 1) & (places.count - 1)
        }
        return nil
    }

    /// The current message is taken in.
    mutating func take(_ sequence: SequenceNumber) {
        guard let key = current else { return }
        sequences[judged] = sequence.rawValue
        if places.isEmpty { return }
        var place = start(key)
        while places[place] != 0 { place = (place + 1) & (places.count - 1) }
        places[place] = UInt32(truncatingIfNeeded: judged + 1)
    }

    /// Goes on to the next message.
    mutating func advance() { judged += 1 }

    // A key is a digest under a secret: any bits of it are uniform, and nobody can choose them.
    private func start(_ key: Hash128) -> Int { Int(truncatingIfNeeded: key.high) & (places.count - 1) }
}
