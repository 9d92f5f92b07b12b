// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule

/// The messages of one group of one shard that a worker holds, and what is being done with the first of them.
struct HeldGroup: Sendable {
    enum Phase: Equatable, Sendable {
        /// In the queue of turns.
        case waiting
        /// Waits until it is its turn among those that may have killed workers.
        case suspected
        case delivering(target: Int)
        case backingOff(until: Timestamp)
        /// No target takes anything now; the message has spent nothing.
        case targetless
        /// In the line of a target that takes no more just now.
        /// - Parameter isFirst: whether others would have to wait as well, because this is where deliveries begin.
        case limited(target: Int, isFirst: Bool)
        /// On its way to the dead-letter queue.
        case moving
        /// The head is done with, and its delete is on its way: what follows waits, for a delete that comes too late means
        /// that the queue delivers the head again.
        case deleting
    }

    private(set) var messages: Deque<WorkMessage>
    private(set) var bytes: Int
    var phase = Phase.waiting
    /// When the queue may give the messages to somebody else.
    var visibleAt: Timestamp
    var isExtending = false
    /// No extension is tried before.
    var extendsFrom = Timestamp.distantPast
    /// The head is being worked on, but it is not ours any more: its outcome counts, its followers are gone.
    var isLost = false
    /// The head is being worked on and is gone from the queue: somebody else finished it, else what came behind it would not
    /// have come. Whatever its outcome, it is done with.
    var isHeadGone = false
    /// Messages came behind a head that was not ours any more: others may have tried them before.
    var mayFollowersBeTried = false
    var head = HeadState()

    /// Whether it can go on as soon as there is room, so that it takes up room for what is ready.
    var isReady: Bool {
        switch phase {
        case .waiting, .delivering, .deleting: true
        // What waits for a stand-in must not keep out what the first target would take.
        case .limited(_, let isFirst): isFirst
        case .suspected, .backingOff, .targetless, .moving: false
        }
    }
    /// Whether a delivery of it is under way, or is to begin as soon as there is room.
    var isWork: Bool { isReady && messages.count > (phase == .deleting ? 1 : 0) }
    var isDelivering: Bool { if case .delivering = phase { true } else { false } }

    init(_ message: WorkMessage, visibleAt: Timestamp) {
        messages = [message]
        bytes = message.byteCount
        self.visibleAt = visibleAt
    }

    mutating func append(_ message: WorkMessage) {
        messages.append(message)
        bytes += message.byteCount
    }

    /// Ends the head's story; the next message begins its own.
    mutating func removeHead() {
        if let first = messages.popFirst() { bytes -= first.byteCount }
        head = HeadState()
        head.isUntried = !mayFollowersBeTried
        phase = .waiting
        isHeadGone = false
    }

    mutating func removeFollowers() -> [WorkMessage] {
        let followers = Array(messages.dropFirst())
        messages.removeLast(followers.count)
        bytes -= followers.reduce(0) { $0 + $1.byteCount }
        return followers
    }

    /// What is being worked on is not ours any more.
    mutating func lose() {
        _ = removeFollowers()
        isLost = true
        // Nothing is left to be kept; its own delete will tell whether it is still ours.
        visibleAt = .distantFuture
    }

    /// The head came again: what was known of it stays, under the handle that is good now.
    mutating func adoptHandle(_ handle: String, visibleAt: Timestamp) {
        messages[0].handle = handle
        self.visibleAt = visibleAt
        isLost = false
        isHeadGone = false
        isExtending = false
        // Somebody else may have held it meanwhile.
        head.isUntried = false
    }

    mutating func narrow(toRecipients recipients: [Int]) { messages[0].recipients = recipients }
}

/// What is known of the head's delivery; begins anew with each message.
struct HeadState: Sendable {
    /// Attempts that were answered, or may have arrived.
    var attempts = 0
    /// It came behind another message of its group that was still to be delivered: the queue's deliveries of it so far
    /// were all behind that one, and no worker tried it.
    var isUntried = false
    /// The target to be tried next in this attempt.
    var nextTarget = 0
    /// The only target that may get it, because it may have arrived there.
    var pinnedTarget: Int?
    /// Attempts in a row in which no target could be reached.
    var unreached = 0
    /// The failure of this attempt is that there is no body.
    var isBodyMissing = false
    /// What only few heads have, in one place on the heap: a group is copied at every event.
    private var story: [HeadStory] = []

    /// Whether another try without this knowledge could deliver something twice.
    var isUnsettled: Bool { pinnedTarget != nil || !refusedRecipients.isEmpty || verdict != nil }

    /// The first answer "not now" of this attempt.
    var failure: (errorClass: String, retryAfterMilliseconds: Int64?)? {
        get { story.first?.failure }
        set { if newValue != nil || !story.isEmpty { write { $0.failure = newValue } } }
    }
    /// Recipients that were refused for good, and why the first was.
    var refusedRecipients: [Int] {
        get { story.first?.refusedRecipients ?? [] }
        set { if !newValue.isEmpty || !story.isEmpty { write { $0.refusedRecipients = newValue } } }
    }
    var refusal: String {
        get { story.first?.refusal ?? "" }
        set { write { $0.refusal = newValue } }
    }
    /// Why it is given up, once it is: it is not delivered again, however long the dead-letter queue is away.
    var verdict: (reason: String, errorClass: String)? {
        get { story.first?.verdict }
        set { write { $0.verdict = newValue } }
    }

    private mutating func write(_ change: (inout HeadStory) -> Void) {
        if story.isEmpty { story.append(HeadStory()) }
        change(&story[0])
    }

    /// Deliveries of the message by the queue before this one, each of which counts as an attempt.
    func earlierReceives(of message: WorkMessage) -> Int { isUntried ? 0 : message.receiveCount - 1 }
}

/// What is known of a head whose delivery did not go well.
private struct HeadStory: Sendable {
    var failure: (errorClass: String, retryAfterMilliseconds: Int64?)?
    var refusedRecipients: [Int] = []
    var refusal = ""
    var verdict: (reason: String, errorClass: String)?
}

struct GroupKey: Hashable, Sendable {
    let shard: Int
    let group: String
}

/// Messages that were delivered, or are in the dead-letter queue, but may still come again because their delete did not
/// succeed yet: they are deleted when they do, and not delivered twice.
struct FinishedMessages: Sendable {
    private struct Key: Hashable {
        let shard: Int
        let id: String
    }

    static let countMax = 100_000
    private var ids: Set<Key> = []
    /// Oldest first; those that were removed since are passed over.
    private var order: Deque<Key> = []

    mutating func insert(_ message: WorkMessage) {
        let key = Key(shard: message.shard, id: message.id)
        guard ids.insert(key).inserted else { return }
        order.append(key)
        while ids.count > FinishedMessages.countMax, let oldest = order.popFirst() { ids.remove(oldest) }
        if order.count > 2 * FinishedMessages.countMax { order.removeAll { !ids.contains($0) } }
    }

    mutating func remove(_ message: WorkMessage) {
        ids.remove(Key(shard: message.shard, id: message.id))
        // Most are deleted in the order in which they were finished.
        while let oldest = order.first, !ids.contains(oldest) { order.removeFirst() }
    }

    func contains(_ message: WorkMessage) -> Bool { ids.contains(Key(shard: message.shard, id: message.id)) }
}
