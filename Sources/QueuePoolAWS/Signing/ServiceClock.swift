// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
package import QueuePoolCurl
import QueuePoolSigning
import Synchronization

// Services refuse a signature whose time is off by more than some minutes, and say in `Date` what time it is. So a
// machine whose clock is wrong can still sign, once it has learned by how much; and what a service says to expire at
// some time expires by the service's clock, not by ours. One clock for all callers of a process: they have one machine's.

/// This machine's clock, put right by what services answered.
package final class ServiceClock: Sendable {
    private let local: any Clock
    /// Milliseconds by which the services' clock is ahead of ours.
    private let offset = Atomic<Int64>(0)

    /// - Parameter local: of which the wall time is taken: it is compared with what services show.
    package init(_ local: any Clock) { self.local = local }

    /// What time it is at the services.
    package func now() -> Timestamp { local.wallTime() + offset.load(ordering: .relaxed) }

    /// Learns from a refusal for the request's time.
    /// - Returns: the refusal's code, if the same request, signed anew, may be accepted now; `nil` if the answer is no
    ///   such refusal, or told nothing new.
    package func learn(from response: HTTPResponse) -> String? {
        guard response.status == 400 || response.status == 401 || response.status == 403,
            let code = AnswerCode.first(of: ServiceClock.refusals, in: response),
            let date = response.header("Date").flatMap(WallTime.parseHTTPDate)
        else { return nil }
        let ahead = Timestamp(milliseconds: date * 1_000) - local.wallTime()
        guard abs(ahead - offset.load(ordering: .relaxed)) > ServiceClock.skewMax else { return nil }
        offset.store(ahead, ordering: .relaxed)
        return code
    }

    /// Milliseconds; services allow 5 minutes.
    private static let skewMax: Int64 = 240_000
    private static let refusals = [
        "RequestTimeTooSkewed", "SignatureDoesNotMatch", "InvalidSignatureException", "RequestExpired",
        "RequestInTheFuture",
    ]
}

/// Codes in answers of every protocol that AWS speaks.
enum AnswerCode {
    /// The first of some codes that stands in the answer's code: `__type`, `<Code>` or the header of errors.
    static func first(of codes: [String], in response: HTTPResponse) -> String? {
        let start = String(decoding: response.body.prefix(1_024), as: UTF8.self)
        let header = response.header("x-amzn-errortype") ?? ""
        let query = response.header("x-amzn-query-error") ?? ""
        return codes.first { code in
            start.contains("<Code>\(code)</Code>") || start.contains("#\(code)\"") || start.contains("\"\(code)\"")
                || header.hasPrefix(code) || query.hasPrefix(code)
        }
    }
}
