// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import CQueuePoolCurl
import QueuePoolCore
import QueuePoolCurl
import Synchronization

/// What a target says of when it wants to be asked again.
enum RetryAfterHeader {
    /// An hour: a mistyped date must not hold a group for days.
    static let millisecondsMax: Int64 = 3_600_000

    /// Milliseconds until then, at most an hour; `nil` if it does not say, or not as it must.
    /// - Parameter wall: what our clock shows. A date is compared with the answer's own `Date` where it has one, because
    ///   the two clocks may differ.
    static func milliseconds(_ response: HTTPResponse, wall: Timestamp) -> Int64? {
        guard let text = response.header("Retry-After")?.trimmed else { return nil }
        if !text.isEmpty, text.utf8.allSatisfy({ (48...57).contains($0) }) {
            // More digits than a number has are more than an hour as well.
            return min(Int64(text) ?? .max, millisecondsMax / 1_000) * 1_000
        }
        guard let date = seconds(ofDate: text) else { return nil }
        let here = response.header("Date").flatMap { seconds(ofDate: $0.trimmed) } ?? wall.milliseconds / 1_000
        return min(max(0, date - here), millisecondsMax / 1_000) * 1_000
    }

    /// Of a date of HTTP in any of its three forms (RFC 9110, 5.6.7).
    private static func seconds(ofDate text: String) -> Int64? {
        let seconds = curl_getdate(text, nil)
        return seconds < 0 ? nil : Int64(seconds)
    }
}

extension String {
    fileprivate var trimmed: String {
        let isSpace: (UInt8) -> Bool = { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        let start = utf8.drop(while: isSpace)
        let count = start.count - start.reversed().prefix(while: isSpace).count
        return String(decoding: start.prefix(count), as: UTF8.self)
    }
}

/// Until when a target wants nothing at all: 429 and 503 are about the target, and not about the message that they answer. A
/// delivery that is decided meanwhile is told that the target is unavailable, without asking it: that spends none of its
/// attempts, goes on to the next target where there is one, and lets the breaker open.
final class TargetPause: Sendable {
    private struct Pause {
        var until: Timestamp
        var errorClass: String
    }

    private let pause = Mutex<Pause?>(nil)

    /// Notes what an answer says.
    func note(status: Int, milliseconds: Int64?, now: Timestamp) {
        guard status == 429 || status == 503, let milliseconds, milliseconds > 0 else { return }
        let until = now + milliseconds
        pause.withLock { pause in
            // Answers that were on their way may say less.
            if let pause, pause.until >= until { return }
            pause = Pause(until: until, errorClass: "http-\(status)-retry-after")
        }
    }

    /// What a delivery that is to begin now comes to; `nil`: it may begin.
    func refusal(now: Timestamp) -> DeliveryOutcome? {
        pause.withLock { pause in
            guard let paused = pause else { return nil }
            guard paused.until <= now else { return .unavailable(errorClass: paused.errorClass) }
            pause = nil
            return nil
        }
    }
}
