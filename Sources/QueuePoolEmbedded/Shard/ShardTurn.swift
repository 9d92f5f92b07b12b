// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

/// What one commit does: judged under the index's lock, written, published under the lock again, answered.
struct ShardTurn {
    var sends: [(messages: [OutgoingMessage], completion: @Sendable (EntryAnswers) -> Void)] = []
    var deletes: [(handles: [ReceiptHandle], completion: @Sendable ([DeleteOutcome]) -> Void)] = []
    /// Messages that are stored in the dead-letter queue; held.
    var moves: [ReceiptHandle] = []
    /// Handles of messages that retention drops; held.
    var expired: [ReceiptHandle] = []

    /// One log row each.
    private(set) var blocks: [BlockDraft] = []
    /// Sequence numbers whose deletion is to be written.
    private(set) var deletions: [SequenceNumber] = []
    private(set) var movedCount = 0
    /// The rows that were written, blocks first.
    var rows: [Int64] = []
    var deletionRow: Int64 = 0

    /// What sends are answered whatever becomes of the rest.
    private var sendFailure: ShardError?
    /// Of each send, for when it is stored.
    private var outcomes: [[EntryOutcome]] = []
    private var decisions: [[DeleteDecision]] = []

    var isEmpty: Bool { sends.isEmpty && deletes.isEmpty && moves.isEmpty && expired.isEmpty }
    var needsWrite: Bool { !blocks.isEmpty || !deletions.isEmpty }

    // MARK: - Judge

    mutating func judge(_ index: inout FIFOQueue, _ now: Timestamp, blockMessagesMax: Int, bytes blockBytesMax: Int) {
        // What is left to be drafted: room is made for it at once instead of by doubling and copying.
        var left = sends.reduce((count: 0, bytes: 0)) { left, send in
            send.messages.reduce(left) { ($0.count + 1, $0.bytes + $1.byteCount) }
        }
        func begun() -> BlockDraft {
            BlockDraft(count: min(left.count, blockMessagesMax), bytes: min(left.bytes, blockBytesMax))
        }
        var draft = begun()
        var keys = index.keys(of: sends.lazy.map(\.messages), count: left.count, now: now)
        for (messages, _) in sends {
            var answers: [EntryOutcome] = []
            answers.reserveCapacity(messages.count)
            for message in messages {
                if draft.directory.count >= blockMessagesMax
                    || draft.body.count + message.byteCount > blockBytesMax && !draft.isEmpty
                {
                    blocks.append(draft)
                    draft = begun()
                }
                left.count -= 1
                left.bytes -= message.byteCount
                answers.append(.stored(index.draft(message, into: &draft, keys: &keys, now: now)))
            }
            outcomes.append(answers)
        }
        if !draft.isEmpty { blocks.append(draft) }
        for (handles, _) in deletes {
            decisions.append(
                handles.map { handle in
                    let decision = index.beginDelete(handle)
                    if case .write(let sequence) = decision { deletions.append(sequence) }
                    return decision
                })
        }
        deletions.append(contentsOf: moves.map(\.sequence))
        movedCount += moves.count
        deletions.append(contentsOf: expired.map(\.sequence))
    }

    /// Leaves the sends out of what is written: there is no room for them.
    mutating func refuseSends() {
        guard !sends.isEmpty else { return }
        blocks = []
        sendFailure = Mutation.refusedForRoomIsSuccess.isOn ? nil : .storageFull
    }

    // MARK: - Publish

    func publish(_ index: inout FIFOQueue, isDurable: Bool, _ now: Timestamp) {
        if isDurable || Mutation.failedCommitIsPublished.isOn {
            for (block, row) in zip(blocks, rows) { index.publish(block, row: row, now: now) }
        }
        for (delete, answers) in zip(deletes, decisions) {
            for (handle, decision) in zip(delete.handles, answers) {
                if case .write = decision {
                    index.finishDelete(handle, isDurable: isDurable, deletionRow: deletionRow, now: now)
                }
            }
        }
        for handle in moves {
            index.finishDelete(
                handle, isDurable: isDurable, deletionRow: deletionRow, now: now,
                until: now + DeadLetterMoves.firstPause)
        }
        for handle in expired {
            index.finishDelete(handle, isDurable: isDurable, isExpiry: true, deletionRow: deletionRow, now: now)
        }
    }

    /// What of it operators should read in the log.
    func events(isDurable: Bool) -> [ShardEvent] {
        var events: [ShardEvent] = []
        if isDurable, !moves.isEmpty { events.append(.movedToDeadLetter(moves.map(ShardTurn.messageID))) }
        if isDurable, !expired.isEmpty { events.append(.expired(expired.map(ShardTurn.messageID))) }
        return events
    }

    static func messageID(_ handle: ReceiptHandle) -> MessageID {
        MessageID(shard: handle.shard, sequence: handle.sequence)
    }

    // MARK: - Answer

    func answer(_ failure: ShardError?) {
        for (send, answers) in zip(sends, outcomes) {
            send.completion((sendFailure ?? failure).map { .failed(.permanent($0)) } ?? .entries(answers))
        }
        for (delete, answers) in zip(deletes, decisions) {
            delete.completion(answers.map { ShardTurn.outcome($0, failure) })
        }
    }

    private static func outcome(_ decision: DeleteDecision, _ failure: ShardError?) -> DeleteOutcome {
        switch decision {
        case .alreadyDeleted: .deleted
        case .expired: .expired
        case .notOurs: .notOurs
        // A twin in this commit, or a move whose message is in the dead-letter queue: gone from here either way.
        case .underWay where Mutation.deleteUnderWayIsDone.isOn: .deleted
        case .write, .underWay: failure.map { .failed($0) } ?? .deleted
        }
    }
}
