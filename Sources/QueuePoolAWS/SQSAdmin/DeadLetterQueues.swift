// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// The dead-letter queues of a pool: one for each place in which it has shards.
struct DeadLetterQueues {
    private var byPlace: [ShardPlace: (url: String, arn: String)] = [:]

    /// The ARN of a place's queue; `nil` if none is known.
    subscript(place: ShardPlace) -> String? { byPlace[place]?.arn }

    mutating func add(_ url: String, _ arn: String, in place: ShardPlace) { byPlace[place] = (url, arn) }

    /// Each queue once, in the order of the shards, whatever the order in which they were found or made: a repetition
    /// stores the same. Two roles of one account are two places and see one queue.
    func addresses(_ shards: [ShardPlace]) -> [ShardAddress] {
        var seen: Set<[String]> = []
        return shards.compactMap { place in
            guard let queue = byPlace[place] else { return nil }
            return seen.insert([place.endpoint ?? "", queue.arn]).inserted ? place.address(queue.url) : nil
        }
    }
}
