// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

/// Tells what becomes of a worker's messages, beside their way: nothing waits for it.
final class OutcomeTelling: Sendable {
    let tracker: Tracker
    private let clock: any Clock

    init(clock: any Clock, save: @escaping Tracker.Save) {
        tracker = Tracker(clock: clock, save: save)
        self.clock = clock
    }

    /// An attempt begins.
    func begins(_ message: WorkMessage, attempt: Int, target: String) {
        var record = record(message, .inFlight)
        record.attempt = attempt
        record.target = target
        tracker.note(record)
    }

    /// An attempt ended.
    /// - Parameters:
    ///   - next: when the next one may begin, as far as that is known, by `Clock.now()`.
    func ended(_ message: WorkMessage, _ outcome: DeliveryOutcome, attempt: Int, target: String, next: Timestamp?) {
        var record = record(message, .retrying)
        record.attempt = attempt
        record.target = target
        record.nextAttemptAt = next.map { clock.wallTime() + max(0, $0 - clock.now()) }
        switch outcome {
        case .delivered: record.state = .sent
        case .failed(let errorClass, _), .unavailable(let errorClass), .unknown(let errorClass),
            .incomplete(let errorClass, _), .ended(let errorClass):
            record.errorClass = errorClass
        case .partial(let partial):
            record.errorClass = partial.errorClass
            record.recipients = partial.refused + partial.deferred
        // The dead letter tells it.
        case .refused: return
        case .cancelled: (record.state, record.attempt, record.target) = (.inFlight, nil, nil)
        }
        tracker.note(record)
    }

    /// The dead-letter queue stored it.
    func dead(_ message: WorkMessage, _ reason: DeadLetterReason) {
        var record = record(message, .dead)
        record.reason = reason.reason
        record.errorClass = reason.errorClass
        record.attempt = max(1, reason.attempts)
        record.recipients = message.recipients
        tracker.note(record)
    }

    private func record(_ message: WorkMessage, _ state: TrackingState) -> TrackingRecord {
        var record = TrackingRecord(id: message.id, state: state, at: clock.wallTime())
        if let tags = message.attributes.first(where: { $0.name == TagsText.attribute }) {
            record.tags = TagsText.text(tags.value)
        }
        return record
    }
}
