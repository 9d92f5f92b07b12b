// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Limits of an SQS FIFO queue, in one place. Source: SQS API reference and quotas page.
public enum QueueLimits {
    /// Largest message, and largest sum of a batch: body plus attributes, in bytes.
    public static let messageBytesMax = 1_048_576
    public static let batchEntriesMax = 10
    public static let attributesMax = 10
    public static let attributeNameBytesMax = 256
    public static let identifierBytesMax = 128
    public static let queueNameBytesMax = 80
    /// Messages that may be in flight in one FIFO queue.
    public static let inFlightMax = 120_000
    /// Seconds after which an accepted deduplication id may be used again.
    public static let deduplicationSeconds = 300
    public static let visibilitySecondsMax = 43_200
    public static let waitSecondsMax = 20
    public static let delaySecondsMax = 900
    public static let tagsMax = 50
}
