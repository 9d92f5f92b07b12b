// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation

// One request's worth of lines, until each is acknowledged or refused for good. Only one request is under way at a
// time, because a line of a group must not be overtaken by a later one; what the server was too busy for is sent again
// after a pause, before any later line of the file.

/// One line of the server's answer.
struct LineResult: Decodable, Hashable, Sendable {
    /// Number within the request, from 1.
    var line: Int
    var duplicate: Bool?
    var error: Problem?
}

/// A line that the server refused for good.
struct RefusedLine: Hashable, Sendable {
    let number: Int
    let reason: String
}

/// The lines of one chunk and what is still to do with them.
struct ChunkDelivery: Sendable {
    /// What came back for a request.
    enum Reply: Sendable {
        case answer(ClientAnswer)
        case none(NoAnswer)
    }

    /// What to do after a reply.
    enum Step: Hashable, Sendable {
        case done
        /// Send the pending lines again after so many seconds.
        case again(afterSeconds: Double)
        /// The whole send ends.
        case stop(CommandFailure)
    }

    /// What a reply settled.
    struct Settled: Hashable, Sendable {
        var acknowledged: [Int] = []
        var duplicates = 0
        var refused: [RefusedLine] = []
        var step = Step.done
    }

    /// Requests in a row that may settle nothing before the send gives up.
    static let fruitlessRepliesMax = 12
    static let pauseSecondsMax = 10.0

    private(set) var pending: [OutgoingLine]
    private var fruitless = 0

    init(_ lines: [OutgoingLine]) { pending = lines }

    /// The pending lines as the body of a request.
    var body: [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(pending.reduce(0) { $0 + $1.bytes.count + 1 })
        for line in pending {
            bytes.append(contentsOf: line.bytes)
            bytes.append(UInt8(ascii: "\n"))
        }
        return bytes
    }

    /// - Parameter chance: uniform in 0..<1, for the jitter.
    mutating func handle(_ reply: Reply, chance: Double) -> Settled {
        switch reply {
        case .none(let noAnswer) where noAnswer.isUntrusted:
            return Settled(step: .stop(noAnswer.failure))
        case .none(let noAnswer):
            return repeatOrStop(Settled(), retryAfter: nil, chance: chance, failure: noAnswer.failure)
        case .answer(let answer) where answer.status == 200:
            return settle(answer, chance: chance)
        case .answer(let answer):
            let problem = Problem(of: answer)
            guard answer.status == 429 || answer.status >= 500 else {
                var settled = Settled()
                settled.step = .stop(
                    answer.accessFailure ?? CommandFailure("the server refused the request: \(problem.summary)"))
                return settled
            }
            return repeatOrStop(
                Settled(), retryAfter: answer.retryAfterSeconds, chance: chance,
                failure: CommandFailure(
                    "the server cannot take more: \(problem.summary)", status: ExitStatus.unavailable))
        }
    }

    private mutating func settle(_ answer: ClientAnswer, chance: Double) -> Settled {
        var settled = Settled()
        var busy: Problem?
        // A line without a readable result may or may not have been taken: it stays, and its id keeps it single.
        var left = Set(pending.indices)
        for line in answer.body.split(separator: UInt8(ascii: "\n")) {
            guard let result = try? JSONDecoder().decode(LineResult.self, from: Data(line)),
                pending.indices.contains(result.line - 1)
            else { continue }
            if let problem = result.error {
                let status = problem.status ?? 500
                // 424: an earlier line of its group failed, and it was not tried; it goes again, behind that one.
                if status == 429 || status == 424 || status >= 500 {
                    if busy == nil || status != 424 { busy = problem }
                    continue
                }
                settled.refused.append(
                    RefusedLine(number: pending[result.line - 1].number, reason: problem.summary))
            } else {
                settled.acknowledged.append(pending[result.line - 1].number)
                if result.duplicate == true { settled.duplicates += 1 }
            }
            left.remove(result.line - 1)
        }
        let progressed = left.count < pending.count
        pending = left.sorted().map { pending[$0] }
        guard !pending.isEmpty else { return settled }
        if progressed { fruitless = 0 }
        let why = busy?.summary ?? "its answer leaves lines out"
        return repeatOrStop(
            settled, retryAfter: answer.retryAfterSeconds, chance: chance,
            failure: CommandFailure("the server cannot take more: \(why)", status: ExitStatus.unavailable))
    }

    /// Full jitter over 0.2 s doubled for each fruitless reply, at most 10 s; never sooner than the server asks, up to a
    /// minute.
    private mutating func repeatOrStop(
        _ settled: Settled, retryAfter: Double?, chance: Double, failure: CommandFailure
    ) -> Settled {
        var settled = settled
        fruitless += 1
        guard fruitless <= ChunkDelivery.fruitlessRepliesMax else {
            settled.step = .stop(failure)
            return settled
        }
        let ceiling = min(ChunkDelivery.pauseSecondsMax, 0.2 * Double(1 << min(fruitless - 1, 10)))
        settled.step = .again(afterSeconds: min(60, retryAfter ?? 0) + chance * ceiling)
        return settled
    }
}
