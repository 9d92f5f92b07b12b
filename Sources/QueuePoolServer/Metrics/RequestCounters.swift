// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Synchronization

/// Answers by class of status.
package final class RequestCounters: Sendable {
    private let success = Atomic(0)
    private let clientError = Atomic(0)
    private let serverError = Atomic(0)
    private let throttled = Atomic(0)
    private let unavailable = Atomic(0)

    package init() {}

    /// - Parameter error: value of the header `x-amzn-query-error`; SQS answers 403 to a request over its rate.
    func count(status: Int, error: String? = nil) {
        switch status {
        case 200..<300: success.wrappingAdd(1, ordering: .relaxed)
        case 429: throttled.wrappingAdd(1, ordering: .relaxed)
        case 403 where error?.hasPrefix("RequestThrottled") == true: throttled.wrappingAdd(1, ordering: .relaxed)
        case 503: unavailable.wrappingAdd(1, ordering: .relaxed)
        case 400..<500: clientError.wrappingAdd(1, ordering: .relaxed)
        default: serverError.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// Name of a class of answers, and how many there were.
    func rows() -> [(outcome: String, count: Int)] {
        [
            ("success", success.load(ordering: .relaxed)), ("throttled", throttled.load(ordering: .relaxed)),
            ("unavailable", unavailable.load(ordering: .relaxed)),
            ("client-error", clientError.load(ordering: .relaxed)),
            ("server-error", serverError.load(ordering: .relaxed)),
        ]
    }
}
