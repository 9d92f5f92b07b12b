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

    package init() {}

    func count(status: Int) {
        switch status {
        case 200..<300: success.wrappingAdd(1, ordering: .relaxed)
        case 429, 503: throttled.wrappingAdd(1, ordering: .relaxed)
        case 400..<500: clientError.wrappingAdd(1, ordering: .relaxed)
        default: serverError.wrappingAdd(1, ordering: .relaxed)
        }
    }

    /// Name of a class of answers, and how many there were.
    func rows() -> [(outcome: String, count: Int)] {
        [
            ("success", success.load(ordering: .relaxed)), ("throttled", throttled.load(ordering: .relaxed)),
            ("client-error", clientError.load(ordering: .relaxed)),
            ("server-error", serverError.load(ordering: .relaxed)),
        ]
    }
}
