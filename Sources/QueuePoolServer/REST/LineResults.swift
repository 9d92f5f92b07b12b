// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import Synchronization

// The answers of one NDJSON stream: they come in any order and leave in the order of the lines. Bounded on both sides:
// the reader waits while too many lines are under way or too many results are unread, so a stream of any length takes
// the same memory, and a sender that does not read its answers is held back instead of filling ours.

/// What became of one line.
enum LineResult: Sendable {
    case accepted(SendReceipt, shard: String)
    case refused(Problem)
}

final class LineResults: Sendable {
    /// Lines whose results are not written yet, done or not.
    static let linesMax = 65_536

    fileprivate struct State {
        var results: Deque<LineResult?> = []
        /// Number of the line whose result is first in `results`.
        var firstLine = 1
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
    /// - Returns: the line's number, from 1.
    func open() -> Int {
        state.withLock { state in
            state.results.append(nil)
            state.underWay += 1
            return state.firstLine + state.results.count - 1
        }
    }

    func fill(_ line: Int, _ result: LineResult) {
        let (writer, reader) = state.withLock { state in
            state.results[line - state.firstLine] = result
            state.underWay -= 1
            let writer = line == state.firstLine ? state.writer.take() : nil
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

    /// The results that are next in order, at least one, with the first one's line number; `nil` after the last.
    func next() async -> (firstLine: Int, results: [LineResult])? {
        await withCheckedContinuation { continuation in
            let mustWait = state.withLock { state in
                if state.results.first.flatMap({ $0 }) != nil { return false }
                if state.isEnded, state.results.isEmpty { return false }
                state.writer = continuation
                return true
            }
            if !mustWait { continuation.resume() }
        }
        let (taken, reader) = state.withLock { state in
            var ready: [LineResult] = []
            let firstLine = state.firstLine
            while let front = state.results.first, let result = front {
                ready.append(result)
                state.results.removeFirst()
            }
            state.firstLine += ready.count
            return ((firstLine, ready), state.takeReaderIfRoom())
        }
        reader?.resume()
        return taken.1.isEmpty ? nil : taken
    }
}

extension LineResults.State {
    fileprivate mutating func takeReaderIfRoom() -> CheckedContinuation<Void, Never>? {
        results.count < LineResults.linesMax ? reader.take() : nil
    }
}
