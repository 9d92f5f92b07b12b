// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import DequeModule
import QueuePoolCore
import Synchronization

// Messages that become ready while requests are under way go out together in the next one. Nothing waits for company: a
// request begins as soon as there is a message and room. Whose turn it is to begin a request performs it in its own task, for
// those behind it too, and passes its turn on when it has ended, so that there is no task here that nobody waits for.

/// Makes requests of deliveries.
final class DeliveryGathering: Sendable {
    /// A message that is to be delivered.
    struct Entry: Sendable {
        let message: WorkMessage
        /// To be asked as late as possible before the message is handed over.
        let mayBegin: @Sendable () -> Bool
    }

    /// Performs a request.
    /// - Returns: what became of each entry, in their order.
    typealias Perform = @Sendable ([Entry]) async -> [DeliveryOutcome]

    private enum Turn: Sendable {
        /// Begin a request, for these too.
        case begin([Waiting])
        case ended(DeliveryOutcome)
    }

    private struct Waiting: Sendable {
        let number: Int
        let entry: Entry
        let continuation: CheckedContinuation<Turn, Never>
    }

    private struct State {
        var underWay = 0
        var latestNumber = 0
        /// Empty unless as many requests as may be are under way.
        var waiting: Deque<Waiting> = []
    }

    static let entriesMax = 10
    /// Of bodies and attributes in one request; one message may be larger.
    static let bytesMax = 4 << 20
    private let requestsMax: Int
    private let perform: Perform
    private let state = Mutex(State())

    /// - Parameter requestsMax: under way at one time; at least 1.
    init(requestsMax: Int, perform: @escaping Perform) {
        self.requestsMax = max(1, requestsMax)
        self.perform = perform
    }

    /// Deliveries that wait for room.
    var waitingCount: Int { state.withLock { $0.waiting.count } }

    /// Delivers a message in a request with what else waits then.
    func deliver(_ entry: Entry) async -> DeliveryOutcome {
        switch await turn(entry) {
        case .ended(let outcome): return outcome
        case .begin(let others):
            let outcomes = await perform([entry] + others.map(\.entry))
            passOn()
            for (other, outcome) in zip(others, outcomes.dropFirst()) {
                other.continuation.resume(returning: .ended(outcome))
            }
            return outcomes.first ?? .cancelled
        }
    }

    /// Delivers a message in a request of its own, which takes no room from others.
    func deliverAlone(_ entry: Entry) async -> DeliveryOutcome { await perform([entry]).first ?? .cancelled }

    private func turn(_ entry: Entry) async -> Turn {
        let number = state.withLock { state in
            state.latestNumber += 1
            return state.latestNumber
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let turn = state.withLock { state -> Turn? in
                    // Cancelled before it was among those who wait, it would not be found there.
                    if Task.isCancelled { return .ended(.cancelled) }
                    if state.underWay < requestsMax {
                        state.underWay += 1
                        return .begin([])
                    }
                    state.waiting.append(Waiting(number: number, entry: entry, continuation: continuation))
                    return nil
                }
                if let turn { continuation.resume(returning: turn) }
            }
        } onCancel: {
            let waiting = state.withLock { state in
                state.waiting.firstIndex { $0.number == number }.map { state.waiting.remove(at: $0) }
            }
            waiting?.continuation.resume(returning: .ended(.cancelled))
        }
    }

    /// A request has ended: the first who waits begins the next.
    private func passOn() {
        let next = state.withLock { state -> (Waiting, others: [Waiting])? in
            guard let first = state.waiting.popFirst() else {
                state.underWay -= 1
                return nil
            }
            var others: [Waiting] = []
            var bytes = first.entry.message.byteCount
            while others.count + 1 < DeliveryGathering.entriesMax, let waiting = state.waiting.first {
                bytes += waiting.entry.message.byteCount
                guard bytes <= DeliveryGathering.bytesMax else { break }
                others.append(waiting)
                state.waiting.removeFirst()
            }
            return (first, others)
        }
        if let next { next.0.continuation.resume(returning: .begin(next.others)) }
    }
}
