// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolAWS
import QueuePoolCore
import QueuePoolCurl
import QueuePoolTestSupport

/// The way from one process to one queue of the service. A request takes a while to get there, and its answer to come
/// back; without an answer in time the outcome is unknown, as with libcurl.
final class SimulatedCaller: AWSCaller, @unchecked Sendable {
    private let host: Host
    private let service: SimulatedService
    private let place: Int
    private var random: SplitMix64

    init(_ host: Host, _ service: SimulatedService, place: Int, seed: UInt64) {
        self.host = host
        self.service = service
        self.place = place
        random = SplitMix64(seed: seed)
    }

    func perform(
        _ request: AWSRequest, completion: @escaping @Sendable (Result<HTTPResponse, AWSError>) -> Void
    ) {
        let call = Call(completion)
        let time = service.time
        host.schedule(afterMilliseconds: Int64(request.timeoutMilliseconds)) {
            call.end(.failure(.unknownOutcome(code: "timeout")))
        }
        let (service, place, host) = (service, place, host)
        let (there, back) = (delay(), delay())
        time.schedule(after: there) {
            service.take(request, place: place) { response in
                let slowness = service.weather[place].slowness
                time.schedule(after: back + slowness, on: host) { call.end(.success(response)) }
            }
        }
    }

    /// Nothing in a world suspends.
    func perform(_ request: AWSRequest) async throws(AWSError) -> HTTPResponse { throw .cancelled }

    /// Mostly short, at times long.
    private func delay() -> Int64 { Int64(1 + random.below(random.chance(3) ? 1_500 : 12)) }

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
