// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolChecking
import QueuePoolCore
import QueuePoolCurl
import QueuePoolSQS
import QueuePoolTestSupport

/// The way from one process to one queue of the service. A request takes a while to get there, and its answer to come
/// back; without an answer in time the outcome is unknown, as with libcurl.
final class SimulatedCaller: AWSCaller, @unchecked Sendable {
    private let host: Host
    private let service: SimulatedService
    private let place: Int
    private var random: SplitMix64
    private let pace: Pace
    private let receiveSlownessMax: Int64
    private let longestWay: Int

    init(_ host: Host, _ service: SimulatedService, place: Int, plan: WorldPlan, seed: UInt64) {
        self.host = host
        self.service = service
        self.place = place
        random = SplitMix64(seed: seed)
        pace = Pace(quota: service.quota, service)
        receiveSlownessMax = max(0, Int64(plan.visibilitySeconds) * 125 - 250)
        longestWay = plan.longestWay
    }

    func perform(
        _ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void
    ) {
        let time = service.time
        let action = SimulatedService.action(of: request)
        pace.left(action, now: time.now)
        let (pace, sentAt, life) = (pace, time.now, host.life)
        let call = Call { result in
            if action == .sendMessageBatch { pace.ended(result, sentAt: sentAt, now: time.now) }
            completion(result)
        }
        host.schedule(afterMilliseconds: Int64(request.timeoutMilliseconds)) {
            call.end(.failure(.unknownOutcome(code: "timeout")))
        }
        let (service, place, host, receiveSlownessMax) = (service, place, host, receiveSlownessMax)
        var there = delay()
        let back = delay()
        let lateness = service.weather[place].delayedSends
        // Within a minute, as the doubt of a sender and the deduplication interval leave it.
        if action == .sendMessageBatch, lateness > 0, random.chance(lateness) { there += Int64(random.below(55_000)) }
        time.schedule(after: there) {
            service.take(request, place: place, from: host, life: life) { response in
                // Who receives relies on an answer within half of a visibility timeout, and there are more ways to slow it.
                let most = action == .sendMessageBatch || action == .deleteMessageBatch ? .max : receiveSlownessMax
                let slowness = min(service.weather[place].slowness, most)
                time.schedule(after: back + slowness, on: host) { call.end(.success(response)) }
            }
        }
    }

    /// Nothing in a world suspends.
    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse { throw .cancelled }

    /// Mostly short, at times long.
    private func delay() -> Int64 { Int64(1 + random.below(random.chance(3) ? longestWay : 12)) }

    /// How fast the process asks.
    private final class Pace: @unchecked Sendable {
        private var pace: RequestPace
        private let service: SimulatedService

        init(quota: Int?, _ service: SimulatedService) {
            pace = RequestPace(quota: quota)
            self.service = service
        }

        func left(_ action: SQSAction?, now: Timestamp) {
            guard let action, let text = pace.left(action, now: now) else { return }
            service.onBroken?(.isolation, -1, text)
        }

        func ended(_ result: Result<HTTPResponse, AWSError>, sentAt: Timestamp, now: Timestamp) {
            let isFailure: Bool
            switch result {
            case .failure: isFailure = true
            case .success(let response): isFailure = response.status != 200
            }
            if let text = pace.ended(sentAt: sentAt, isFailure: isFailure, now: now) {
                service.onBroken?(.isolation, -1, text)
            }
        }
    }

    /// Ends once, whoever comes first.
    private final class Call: @unchecked Sendable {
        private var completion: (@Sendable (Result<HTTPResponse, AWSError>) -> Void)?

        init(_ completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void) {
            self.completion = completion
        }

        func end(_ result: Result<HTTPResponse, AWSError>) {
            let completion = completion
            self.completion = nil
            completion?(result)
        }
    }
}
