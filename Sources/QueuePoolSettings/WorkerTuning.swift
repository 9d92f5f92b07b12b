// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// How a worker treats messages.
package struct WorkerTuning: Hashable, Sendable {
    package var concurrency: Int
    package var visibilitySeconds: Int
    /// `nil`: not set.
    package var maxAttempts: Int?
    /// `nil`: not set.
    package var retrySeconds: Int?
    package var graceSeconds: Int

    package init(concurrency: Int, visibilitySeconds: Int, maxAttempts: Int?, retrySeconds: Int?, graceSeconds: Int) {
        self.concurrency = concurrency
        self.visibilitySeconds = visibilitySeconds
        self.maxAttempts = maxAttempts
        self.retrySeconds = retrySeconds
        self.graceSeconds = graceSeconds
    }
}

extension SettingsReader {
    mutating func workerTuning() -> WorkerTuning? {
        let concurrency = integer(.concurrency)
        let visibility = integer(.visibilitySeconds)
        let attempts = integer(.maxAttempts)
        let retry = integer(.retrySeconds)
        let grace = integer(.graceSeconds)
        guard let concurrency, let visibility, let grace else { return nil }
        return WorkerTuning(
            concurrency: concurrency, visibilitySeconds: visibility, maxAttempts: attempts, retrySeconds: retry,
            graceSeconds: grace)
    }
}
