// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Glibc
package import QueuePoolCore
import QueuePoolJSON
import QueuePoolRuntime

/// How what is known of a message is written.
package enum TrackingDocument {
    /// The answer for one message.
    static func one(_ record: TrackingRecord, pool: PoolName, shard: String?) -> [UInt8] {
        var json = JSONWriter(capacity: 512)
        json.beginObject()
        write(record, pool: pool, to: &json)
        if let shard {
            json.key("shard")
            json.string(shard)
        }
        json.endObject()
        return json.take()
    }

    /// An outcome as the message that goes to a pool of outcomes. Source: Standard Webhooks 1.0.0, "Payload structure".
    package static func outcome(_ record: TrackingRecord, pool: PoolName) -> [UInt8] {
        var json = JSONWriter(capacity: 512)
        json.beginObject()
        json.key("type")
        json.string("message." + record.state.rawValue)
        json.key("timestamp")
        json.string(time(record.at))
        json.key("data")
        json.beginObject()
        write(record, pool: pool, to: &json)
        json.endObject()
        json.endObject()
        return json.take()
    }

    private static func write(_ record: TrackingRecord, pool: PoolName, to json: inout JSONWriter) {
        json.key("id")
        json.string(record.id)
        json.key("pool")
        json.string(pool.text)
        json.key("state")
        json.string(record.state.rawValue)
        json.key("at")
        json.string(time(record.at))
        for (key, moment) in [
            ("acceptedAt", record.acceptedAt), ("nextAttemptAt", record.nextAttemptAt),
        ] as [(StaticString, Timestamp?)] {
            guard let moment else { continue }
            json.key(key)
            json.string(time(moment))
        }
        record.writeDetails(to: &json)
    }

    /// RFC 3339, in UTC, with milliseconds.
    static func time(_ time: Timestamp) -> String {
        let milliseconds = time.milliseconds % 1_000
        let digits = String(milliseconds)
        let text = DeadLetterFacts.timestamp(time)
        return text.dropLast() + "." + String(repeating: "0", count: max(0, 3 - digits.count)) + digits + "Z"
    }
}
