// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl

/// A function that takes events of Amazon SQS as AWS Lambda does, behind HTTP: up to ten messages a request, and the
/// answer says which of them failed.
///
/// The scheduler delivers one message of a group at a time, so that all messages of a request are of different groups: one
/// that failed holds up none of the others. What failed once is tried again by itself: a message on which the function
/// dies would take others down with it, time and again.
final class LambdaTarget: DeliveryTarget {
    private static let answerBytesMax = 1 << 20

    let kind = "lambda"
    private let gathering: DeliveryGathering

    /// - Parameters:
    ///   - concurrency: messages under way at one time, at most; a tenth as many requests of first attempts.
    ///   - timeoutMilliseconds: for each message of a request, as a function works on them one after another.
    init(
        url: String, engine: CurlEngine, concurrency: Int, timeoutMilliseconds: Int = 30_000, clock: any Clock
    ) {
        let function = LambdaFunction(
            url: url, timeoutMilliseconds: timeoutMilliseconds, engine: engine, clock: clock)
        gathering = DeliveryGathering(requestsMax: concurrency / DeliveryGathering.entriesMax) { entries in
            await function.call(entries)
        }
    }

    func deliver(_ message: WorkMessage, attempt: Int) async -> DeliveryOutcome {
        await deliver(message, attempt: attempt, mayBegin: { true })
    }

    func deliver(
        _ message: WorkMessage, attempt: Int, mayBegin: @escaping @Sendable () -> Bool
    ) async -> DeliveryOutcome {
        let entry = DeliveryGathering.Entry(message: message, mayBegin: mayBegin)
        return attempt > 1 ? await gathering.deliverAlone(entry) : await gathering.deliver(entry)
    }

    /// The function at its address.
    private struct LambdaFunction: Sendable {
        let url: String
        let timeoutMilliseconds: Int
        let engine: CurlEngine
        let clock: any Clock
        let pause = TargetPause()

        func call(_ entries: [DeliveryGathering.Entry]) async -> [DeliveryOutcome] {
            var outcomes = [DeliveryOutcome](repeating: .cancelled, count: entries.count)
            var places = entries.indices.filter { entries[$0].mayBegin() }
            while !places.isEmpty {
                let called = places
                switch await post(called.map { entries[$0] }) {
                case .success(let answers):
                    for (place, outcome) in zip(called, answers) { outcomes[place] = outcome }
                    return outcomes
                case .failure(let failure):
                    // One whose shard is not ours any more must not take others' turn from them.
                    places = called.filter { entries[$0].mayBegin() }
                    let isHeldBack = failure.error == .cancelled && !failure.wasSent && places.count < called.count
                    if isHeldBack, !Task.isCancelled { continue }
                    for place in called { outcomes[place] = LambdaFunction.outcome(failure) }
                    return outcomes
                }
            }
            return outcomes
        }

        private func post(_ entries: [DeliveryGathering.Entry]) async -> Result<[DeliveryOutcome], CurlFailure> {
            if let refusal = pause.refusal(now: clock.now()) { return .success(entries.map { _ in refusal }) }
            var request = HTTPRequest(
                method: "POST", url: url, headers: [("Content-Type", "application/json")],
                body: LambdaEvent.body(entries.map(\.message), now: clock.now(), wall: clock.wallTime()),
                timeoutMilliseconds: timeoutMilliseconds * entries.count, lane: .deliveries,
                answerBytesMax: answerBytesMax)
            request.mayBegin = { entries.allSatisfy { $0.mayBegin() } }
            return await engine.outcome(request).map { response in
                if (200..<300).contains(response.status) {
                    return LambdaAnswer.outcomes(response.body, of: entries.map(\.message.id))
                }
                let milliseconds = RetryAfterHeader.milliseconds(response, wall: clock.wallTime())
                pause.note(status: response.status, milliseconds: milliseconds, now: clock.now())
                // No status says that one of several messages can never be delivered.
                let outcome = DeliveryOutcome.failed(
                    errorClass: "http-\(response.status)", retryAfterMilliseconds: milliseconds)
                return entries.map { _ in outcome }
            }
        }

        /// No header is a message's own: a request that cannot be made says nothing of its messages.
        private static func outcome(_ failure: CurlFailure) -> DeliveryOutcome {
            let outcome = WebhookTarget.outcome(failure)
            guard case .refused(let errorClass) = outcome else { return outcome }
            return .unavailable(errorClass: errorClass)
        }
    }
}
