// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import NIOCore
import Synchronization

// Answers come from the shards' writers, many at once. Waking an event loop costs a system call, so a loop is woken once
// for all that gathers until it runs: one wake-up a commit, not one a message.

/// Work handed to an event loop from other threads.
final class LoopMailbox: Sendable {
    private let eventLoop: any EventLoop
    private let waiting = Mutex<[@Sendable () -> Void]>([])

    init(eventLoop: any EventLoop) { self.eventLoop = eventLoop }

    func post(_ work: @escaping @Sendable () -> Void) {
        let isFirst = waiting.withLock { waiting in
            waiting.append(work)
            return waiting.count == 1
        }
        if isFirst { eventLoop.execute { self.drain() } }
    }

    private func drain() {
        let taken = waiting.withLock { waiting in
            var taken: [@Sendable () -> Void] = []
            taken.reserveCapacity(64)
            swap(&taken, &waiting)
            return taken
        }
        for work in taken { work() }
    }
}

/// The mailbox of each event loop.
final class LoopMailboxes: Sendable {
    private let boxes = Mutex<[ObjectIdentifier: LoopMailbox]>([:])

    func box(of eventLoop: any EventLoop) -> LoopMailbox {
        boxes.withLock { boxes in
            let key = ObjectIdentifier(eventLoop)
            if let box = boxes[key] { return box }
            let box = LoopMailbox(eventLoop: eventLoop)
            boxes[key] = box
            return box
        }
    }
}
