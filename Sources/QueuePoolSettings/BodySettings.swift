// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Bodies that are too large for a queue.
package struct BodySettings: Hashable, Sendable {
    /// Where those of queues of SQS go whose pools say nothing: `s3://BUCKET[/PREFIX]`; `nil`: nowhere.
    package var place: String?
    /// `nil`: as the kind of the queue needs it.
    package var thresholdBytes: Int?
    package var limitBytes: Int
}

extension SettingsReader {
    mutating func bodySettings() -> BodySettings? {
        let threshold = integer(.bodiesThreshold)
        let limit = integer(.bodiesLimit)
        let place = text(.bodies)
        if let place, !place.value.hasPrefix("s3://") {
            refuse(place.value, of: .bodies, from: place.source, "is not a place for bodies")
        }
        guard let limit else { return nil }
        return BodySettings(place: place?.value, thresholdBytes: threshold, limitBytes: limit)
    }
}
