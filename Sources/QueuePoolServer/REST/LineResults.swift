// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import QueuePoolJSON
import Synchronization

// The answers of one NDJSON stream: they come in any order and leave in the order of the lines. Bounded on both sides:
// the reader waits while too many lines are under way or too many results are unread, so a stream of any length takes
// the same memory, and a sender that does not read its answers is held back instead of filling ours.

/// What became of one line, or of one element of an array.
enum LineResult: Sendable {
    case accepted(SendReceipt, shard: String)
    case refused(Problem)

    /// Writes the members of an accepted message's answer, or its error.
    func writeMembers(to json: inout JSONWriter) {
        switch self {
        case .accepted(let receipt, let shard): MessageSender.write(receipt, shard, to: &json)
        case .refused(let problem):
            json.key("error")
            json.beginObject()
            problem.writeMembers(to: &json)
            json.endObject()
        }
    }
}

final class LineResults: Sendable {
    /// Lines whose results are not written yet, done or not.
    static let linesMax = 65_536

    /// A result and the number of its line in the stream, blank lines counted.
    typealias Numbered = (line: Int, result: LineResult)

    fileprivate struct State {
        var results: Deque<(line: Int, result: LineResult?)> = []
        /// Position of the first of `results` among all lines that got one.
        var firstPosition = 1
        var underWay = 0
        var isEnded = false
        /// Nobody reads the results any more.
        var isAbandoned = false
        var writer: CheckedContinuation<Void, Never>?
        var reader: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())
    private let underWayMax: Int

    /// - Parameter underWayMax: lines that may wait for their shards.
    init(underWayMax: Int) { self.underWayMax = underWayMax }

    /// Makes room for the next line's result.
    /// - Parameter line: its number in the stream.
    /// - Returns: the line's position among those that get a result, from 1.
    func open(line: Int) -> Int {
        state.withLock { state in
            state.results.append((line, nil))
            state.underWay += 1
            return state.firstPosition + state.results.count - 1
        }
    }

    /// - Parameter position: as `open` returned it.
    func fill(_ position: Int, _ result: LineResult) {
        let (writer, reader) = state.withLock { state in
            state.results[position - state.firstPosition].result = result
            state.underWay -= 1
            let writer = position == state.firstPosition ? state.writer.take() : nil
            let reader = state.underWay <= underWayMax / 2 ? state.takeReaderIfRoom() : nil
            return (writer, reader)
        }
        writer?.resume()
        reader?.resume()
    }

    /// No line follows.
    func end() {
        let writer = state.withLock { state in
            state.isEnded = true
            // Results that are still to come wake the writer themselves.
            return state.results.isEmpty ? state.writer.take() : nil
        }
        writer?.resume()
    }

    /// Nobody reads the results any more: the reader of lines is not to wait for room that never comes.
    func abandon() {
        let reader = state.withLock { state in
            state.isAbandoned = true
            return state.reader.take()
        }
        reader?.resume()
    }

    /// Waits until another line may be begun.
    /// - Returns: `false` if nobody reads the results any more.
    func waitForRoom() async -> Bool {
        await withCheckedContinuation { continuation in
            let mustWait = state.withLock { state in
                guard !state.isAbandoned,
                    state.underWay >= underWayMax || state.results.count >= LineResults.linesMax
                else { return false }
                state.reader = continuation
                return true
            }
            if !mustWait { continuation.resume() }
        }
        return state.withLock { !$0.isAbandoned }
    }

    /// The results that are next in order, at least one and at most `resultsMax`; `nil` after the last.
    func next(_ resultsMax: Int) async -> [Numbered]? {
        await withCheckedContinuation { continuation in
            let mustWait = state.withLock { state in
                if state.results.first?.result != nil { return false }
                if state.isEnded, state.results.isEmpty { return false }
                state.writer = continuation
                return true
            }
            if !mustWait { continuation.resume() }
        }
        let (taken, reader) = state.withLock { state in
            var ready: [Numbered] = []
            while ready.count < resultsMax, let (line, result) = state.results.first, let result {
                ready.append((line, result))
                state.results.removeFirst()
            }
            state.firstPosition += ready.count
            return (ready, state.takeReaderIfRoom())
        }
        reader?.resume()
        return taken.isEmpty ? nil : taken
    }
}

extension LineResults.State {
    fileprivate mutating func takeReaderIfRoom() -> CheckedContinuation<Void, Never>? {
        results.count < LineResults.linesMax ? reader.take() : nil
    }
}
