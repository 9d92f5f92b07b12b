// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
import QueuePoolCore

/// What a worker writes on a message that it gives up.
enum DeadLetterAttributes {
    /// `emails.fifo` -> `emails-dlq.fifo`
    static func queue(ofPool pool: String) -> String {
        PoolName(pool)?.deadLetterQueueName ?? pool
    }

    /// The message's own attributes and, as far as there is room for it, the reason: one attribute each, or all of it in
    /// one, or what is left of it. The message's own are never left out for it (but for one of ten, if the mail's remaining
    /// recipients must be told: others would get the mail again).
    /// - Parameters:
    ///   - pool: where the message came from.
    ///   - failedAt: RFC 3339.
    static func attributes(
        _ message: WorkMessage, _ reason: DeadLetterReason, pool: String, failedAt: String = timestamp()
    ) -> [MessageAttribute] {
        var own = message.attributes.filter { !$0.name.hasPrefix(WorkerAttributes.prefix) }
        if let recipients = recipients(message) {
            if own.count >= QueueLimits.attributesMax, let last = own.lastIndex(where: { $0.name != "Content-Type" }) {
                own.remove(at: last)
            }
            own.append(recipients)
        }
        // In the order in which they are wanted.
        let why = [
            MessageAttribute(name: WorkerAttributes.reason, text: reason.reason),
            MessageAttribute(name: WorkerAttributes.errorClass, text: reason.errorClass),
            MessageAttribute(name: WorkerAttributes.attempts, text: String(reason.attempts), dataType: "Number"),
            MessageAttribute(name: WorkerAttributes.failedAt, text: failedAt),
            MessageAttribute(name: WorkerAttributes.pool, text: pool),
        ]
        let bytes = QueueLimits.messageBytesMax - message.body.count - own.reduce(0) { $0 + $1.byteCount }
        let places = QueueLimits.attributesMax - own.count
        if places >= why.count { return own + fitting(why, bytes) }
        guard places > 0 else { return own }
        let texts = why.map { attribute in
            attribute.name.dropFirst(WorkerAttributes.prefix.count) + "="
                + String(decoding: attribute.value, as: UTF8.self)
        }
        let summary = MessageAttribute(name: WorkerAttributes.summary, text: texts.joined(separator: " "))
        return own + fitting([summary], bytes)
    }

    private static func fitting(_ attributes: [MessageAttribute], _ bytes: Int) -> [MessageAttribute] {
        var left = bytes
        return attributes.filter { attribute in
            guard attribute.byteCount <= left else { return false }
            left -= attribute.byteCount
            return true
        }
    }

    private static func recipients(_ message: WorkMessage) -> MessageAttribute? {
        guard let places = message.recipients else {
            return message.attributes.first { $0.name == WorkerAttributes.recipients }
        }
        return MessageAttribute(
            name: WorkerAttributes.recipients, text: places.map(String.init).joined(separator: ","))
    }

    /// RFC 3339, in UTC.
    static func timestamp() -> String {
        var moment = time(nil)
        var parts = tm()
        gmtime_r(&moment, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
