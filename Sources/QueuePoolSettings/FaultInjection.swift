// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Faults put in on purpose, for tests; both 0 in normal use.
package struct FaultInjection: Hashable, Sendable {
    package var latencyMilliseconds: Int
    /// 0...1
    package var errorRate: Double

    package init(latencyMilliseconds: Int, errorRate: Double) {
        self.latencyMilliseconds = latencyMilliseconds
        self.errorRate = errorRate
    }
}

extension SettingsReader {
    mutating func faultInjection() -> FaultInjection? {
        let latency = integer(.injectLatency)
        let rate = decimal(.injectErrorRate)
        guard let latency, let rate else { return nil }
        return FaultInjection(latencyMilliseconds: latency, errorRate: rate)
    }
}
