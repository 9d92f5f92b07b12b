// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Dispatch

/// Where stores with work stand in line for their turns, one turn of a store at a time.
///
/// `CommitPool` gives the turns on threads. A simulation gives them on its only thread, when its clock says so.
protocol CommitLine: AnyObject, Sendable {
    /// Counts the seconds. After each, every shard of a store that was taken in has a turn.
    var tickCount: Int { get }

    /// Takes a store in: from now on its shards get a turn at least every second, for what is due by time.
    func add(_ store: Store)
    func remove(_ store: Store)
    /// Puts a store in line; never gives it the turn within this call. The caller sees to it that it stands there once.
    func schedule(_ store: Store)

    /// The thread is about to wait for the disk, or for whoever has a store's file.
    func beginWaiting()
    func endWaiting()
    /// Waits for what a turn signals. Not to be called within a turn.
    func wait(until isDone: DispatchSemaphore)
}

extension CommitLine {
    /// Runs what waits for the disk; another thread may take the processor meanwhile.
    func waiting<E>(_ body: () throws(E) -> Void) throws(E) {
        beginWaiting()
        defer { endWaiting() }
        try body()
    }
}
