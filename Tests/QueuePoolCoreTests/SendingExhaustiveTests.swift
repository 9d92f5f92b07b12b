// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import QueuePoolCore

// Every outcome of every entry, three rounds deep, for four entries in two groups. After the third round the shard
// stores everything, so each branch must end with every ticket told.

private enum Fate: CaseIterable {
    case stored, failed, unknownStored, unknownLost, refused

    func outcome(_ message: OutgoingMessage, in stage: inout SendStage) -> EntryOutcome {
        switch self {
        case .stored: return .stored(stage.queue.store(message, now: stage.now))
        case .failed: return .retryable
        case .unknownLost: return .unknown
        case .refused: return .permanent(.refused(code: "InvalidMessageContents"))
        case .unknownStored:
            _ = stage.queue.store(message, now: stage.now)
            return .unknown
        }
    }
}

private struct Exploration {
    private(set) var branches = 0
    private(set) var faults: [String] = []

    mutating func explore(_ stage: SendStage, round: Int, path: String) {
        var stage = stage
        // To the next moment at which something is under way, if there is one.
        while stage.underWay.isEmpty, stage.wake() {}
        guard let id = stage.underWay.keys.min(), let messages = stage.underWay[id] else { return end(stage, path) }
        guard round < 3 else {
            stage.answerStored(id)
            return explore(stage, round: round, path: path)
        }
        // The last round is only what leads to different ends.
        let fates: [Fate] = round < 2 ? Fate.allCases : [.failed, .unknownStored]
        for fates in combinations(fates, messages.count) {
            var branch = stage
            let outcomes = zip(messages, fates).map { $1.outcome($0, in: &branch) }
            branch.answer(id, .entries(outcomes))
            explore(branch, round: round + 1, path: "\(path) \(fates)")
        }
        guard round < 2 else { return }
        for (failure, stores) in [
            (RequestFailure.throttled, false), (.unknownOutcome, false), (.unknownOutcome, true),
            (.permanent(.refused(code: "AccessDenied")), false),
        ] {
            var branch = stage
            if stores { for message in messages { _ = branch.queue.store(message, now: branch.now) } }
            branch.answer(id, .failed(failure))
            explore(branch, round: round + 1, path: "\(path) \(failure) \(stores)")
        }
    }

    private mutating func end(_ stage: SendStage, _ path: String) {
        var stage = stage
        stage.checkEnd()
        branches += 1
        if let fault = stage.faults.first, faults.count < 5 { faults.append("\(fault):\(path)") }
    }

    private func combinations(_ fates: [Fate], _ count: Int) -> [[Fate]] {
        (0..<count).reduce([[]]) { all, _ in all.flatMap { some in fates.map { some + [$0] } } }
    }
}

@Suite struct `The request sender in every small case` {
    @Test(
        arguments: [[1, 1, 2, 2], [1, 2, 1, 2], [1, 2, 2, 1], [1, 1, 1, 2], [1, 1, 1, 1]] as [[UInt64]], [1, 10])
    func `keeps its guarantees`(groups: [UInt64], entriesMax: Int) {
        var limits = RequestLimits()
        limits.requestEntriesMax = entriesMax
        var stage = SendStage(limits: limits)
        stage.accept(groups)
        var exploration = Exploration()
        exploration.explore(stage, round: 0, path: "")
        #expect(exploration.faults.isEmpty)
        #expect(exploration.branches > 100)
    }
}
