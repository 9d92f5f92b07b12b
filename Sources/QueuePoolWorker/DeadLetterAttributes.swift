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

    /// The message's own attributes and the reason. A message has at most ten: the reason has five of them, and what does
    /// not fit beside it is left out, Content-Type last of all: without it an email could not be delivered any more.
    /// - Parameter pool: where the message came from.
    static func attributes(_ message: WorkMessage, _ reason: DeadLetterReason, pool: String) -> [MessageAttribute] {
        let why = [
            MessageAttribute(name: WorkerAttributes.pool, text: pool),
            MessageAttribute(name: WorkerAttributes.reason, text: reason.reason),
            MessageAttribute(name: WorkerAttributes.errorClass, text: reason.errorClass),
            MessageAttribute(name: WorkerAttributes.attempts, text: String(reason.attempts), dataType: "Number"),
            MessageAttribute(name: WorkerAttributes.failedAt, text: timestamp()),
        ]
        let own = message.attributes.filter { !$0.name.hasPrefix(WorkerAttributes.prefix) }
            .sorted { ($0.name == "Content-Type" ? "" : $0.name) < ($1.name == "Content-Type" ? "" : $1.name) }
        return why + own.prefix(QueueLimits.attributesMax - why.count)
    }

    /// RFC 3339, in UTC.
    private static func timestamp() -> String {
        var moment = time(nil)
        var parts = tm()
        gmtime_r(&moment, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
