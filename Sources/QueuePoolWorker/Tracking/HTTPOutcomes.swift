// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore
import QueuePoolCurl
import QueuePoolJSON
import QueuePoolRuntime

/// Tells a server what became of messages. The other end is TrackingService of the server.
struct HTTPOutcomes: Sendable {
    private static let timeoutMilliseconds = 5_000

    let engine: CurlEngine
    /// `http://HOST:PORT`, without a slash at its end.
    let endpoint: String
    /// Towards that server; `nil`: as usual.
    var tls: TransferTLS?

    /// - Returns: whether the server took the records, or never will: an older one has no such request.
    func save(_ records: [TrackingRecord], ofPool pool: String) async -> Bool {
        let request = HTTPRequest(
            method: "POST", url: "\(endpoint)/v1/pools/\(pool)/outcomes",
            headers: [("Content-Type", "application/json")], body: HTTPOutcomes.body(records),
            timeoutMilliseconds: HTTPOutcomes.timeoutMilliseconds, answerBytesMax: 64 << 10)
        guard case .success(let response) = await engine.outcome(request, at: tls) else { return false }
        return response.status < 500 && response.status != 429 && response.status != 401
    }

    static func body(_ records: [TrackingRecord]) -> [UInt8] {
        var json = JSONWriter(capacity: 64 + 192 * records.count)
        json.beginObject()
        json.key("outcomes")
        json.beginArray()
        for record in records { write(record, to: &json) }
        json.endArray()
        json.endObject()
        return json.take()
    }

    private static func write(_ record: TrackingRecord, to json: inout JSONWriter) {
        json.beginObject()
        json.key("id")
        json.string(record.id)
        json.key("state")
        json.string(record.state.rawValue)
        for (key, time) in [
            ("at", record.at), ("acceptedAt", record.acceptedAt), ("nextAttemptAt", record.nextAttemptAt),
        ] as [(StaticString, Timestamp?)] {
            guard let time else { continue }
            json.key(key)
            json.int(time.milliseconds)
        }
        clipped(record).writeDetails(to: &json)
        json.endObject()
    }

    /// A server refuses texts that are longer.
    private static func clipped(_ record: TrackingRecord) -> TrackingRecord {
        func clip(_ text: String?) -> String? {
            text.map { String(decoding: $0.utf8.prefix(TrackingRecord.textBytesMax), as: UTF8.self) }
        }
        var record = record
        record.target = clip(record.target)
        record.reason = clip(record.reason)
        record.errorClass = clip(record.errorClass)
        return record
    }
}
