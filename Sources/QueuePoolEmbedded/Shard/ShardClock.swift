// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

// A shard has one time: sequence numbers, deduplication, visibility and retention all run on it, and it never runs back,
// not over a restart either. It is the wall clock's, unless that was set back while the shard was closed: then the shard
// goes on from the newest time that its log knows, and stays ahead by that much until it is opened again.
//
// Limits. A shard cannot tell a wall clock that was set forward while it was closed from a long stop: timeouts and the
// retention period pass by the wall clock's word; only deduplication does not (see `FIFOQueue.reopen`), so an id is
// refused for up to five minutes of running after a stop, however long that was. After a crash the newest time known is
// that of the newest message: what passed between it and the crash counts for nothing. Two openings within five minutes,
// the second after new messages, forget ids from before a jump as if the jump were real time.

/// The time of an open shard.
struct ShardClock: Sendable {
    /// Never steps back while the process lives.
    let wall: any Clock
    /// Milliseconds by which the shard is ahead of it.
    let shift: Int64

    /// - Parameter newest: the newest sequence number that the log knows.
    init(wall: any Clock, newest: SequenceNumber) {
        self.wall = wall
        shift = Mutation.shardTimeRunsBack.isOn ? 0 : max(0, newest.sentAt - wall.now())
    }

    func now() -> Timestamp { wall.now() + shift }

    /// When the wall clock shows what the shard calls `time`.
    func wallTime(_ time: Timestamp) -> Timestamp { time + -shift }
}
