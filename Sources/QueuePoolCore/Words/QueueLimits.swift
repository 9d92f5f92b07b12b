// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Limits of an SQS FIFO queue, in one place. Source: SQS API reference and quotas page.
package enum QueueLimits {
    /// Largest message, and largest sum of a batch: body plus attributes, in bytes.
    package static let messageBytesMax = 1_048_576
    package static let batchEntriesMax = 10
    package static let attributesMax = 10
    package static let attributeNameBytesMax = 256
    package static let identifierBytesMax = 128
    package static let queueNameBytesMax = 80
    /// Messages that may be in flight in one FIFO queue.
    package static let inFlightMax = 120_000
    /// Seconds after which an accepted deduplication id may be used again.
    package static let deduplicationSeconds = 300
    package static let visibilitySecondsMax = 43_200
    package static let waitSecondsMax = 20
    package static let delaySecondsMax = 900
    package static let tagsMax = 50
}
