// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

package import QueuePoolCore
package import QueuePoolJSON

/// Why a REST request failed, as RFC 9457 says it. Names fields, sizes and what is allowed; never a value.
package struct Problem: Error, Hashable, Sendable {
    package var kind: String
    package var status: Int
    package var title: String
    package var detail: String
    /// The member of the request that is wrong, e.g. `group` or `to[1]`.
    package var field: String?
    /// Seconds after which the same request may succeed.
    package var retryAfterSeconds: Int?
    /// The shard that refused.
    package var shard: String?
    /// The shard's quota, if that is what is spent.
    private var quota: ShardQuota?
    /// The limit that was exceeded.
    package var limit: Limit?

    /// A limit of a caller's.
    package struct Limit: Hashable, Sendable {
        let name: String
        let value: Int
        /// As the field RateLimit-Policy calls it.
        let policy: String
    }

    package init(
        _ kind: String, status: Int, title: String, detail: String, field: String? = nil, retryAfterSeconds: Int? = nil
    ) {
        self.kind = kind
        self.status = status
        self.title = title
        self.detail = detail
        self.field = field
        self.retryAfterSeconds = retryAfterSeconds
    }

    package static func invalidField(_ field: String, _ detail: String) -> Problem {
        Problem("invalid-field", status: 400, title: "A field is not valid", detail: detail, field: field)
    }

    package static func malformed(_ fault: JSONFault) -> Problem {
        Problem(
            "malformed-json", status: 400, title: "The request is not valid JSON",
            detail: "\(fault.reason.rawValue) at byte \(fault.offset)")
    }

    package static func noSuchPool() -> Problem {
        Problem(
            "no-such-pool", status: 404, title: "There is no such pool",
            detail: "GET /v1/pools lists the pools; POST /v1/pools makes one.")
    }

    /// The process holds as many bytes for its clients as it may.
    package static let noRoom = Problem(
        "no-room", status: 503, title: "The server holds as much for its clients as it may",
        detail: "Nothing was stored. Send the same request again after Retry-After.", retryAfterSeconds: 1)

    package static func tooLarge(limit: Int) -> Problem {
        Problem(
            "too-large", status: 413, title: "The request is too large",
            detail: "The request's body may have at most \(limit) bytes.")
    }

    /// What a shard's refusal means to a sender over HTTP: 429 is the quota, 503 is us.
    package init(_ error: ShardError) {
        switch error {
        case .quotaExceeded(let milliseconds, let quota):
            self.init(
                "quota-exceeded", status: 429, title: "The shard is over its quota",
                detail: "Nothing was stored. Send the same request again after Retry-After.",
                retryAfterSeconds: Problem.seconds(milliseconds))
            self.quota = quota
            shard = quota?.shard
        case .overloaded(let milliseconds):
            self.init(
                "overloaded", status: 503, title: "Too many messages wait for this shard",
                detail: "Nothing was stored. Send the same request again after Retry-After.",
                retryAfterSeconds: Problem.seconds(milliseconds))
        case .storageFull:
            self.init(
                "storage-full", status: 503, title: "The shard's disk is full",
                detail: "Nothing was stored. The same request succeeds once the disk has room.", retryAfterSeconds: 5)
        case .storageFailed(ShardError.codeOfMovedFile):
            self.init(
                "storage-moved", status: 503, title: "The shard's file was moved or removed",
                detail: "Nothing was acknowledged. The same request succeeds once the data directory is back and the "
                    + "server was started anew.", retryAfterSeconds: 5)
        case .storageFailed(let code):
            self.init(
                "storage-failed", status: 500, title: "The shard's file could not be written",
                detail: "Nothing was acknowledged. SQLite result code \(code).")
        case .closed:
            self.init(
                "closing", status: 503, title: "The server is stopping",
                detail: "Nothing was stored. Send the same request again.", retryAfterSeconds: 1)
        case .unavailable(let milliseconds):
            self.init(
                "unavailable", status: 503, title: "The shard did not take the message in time",
                detail: "Nothing was stored. Send the same request again after Retry-After.",
                retryAfterSeconds: Problem.seconds(milliseconds))
        case .unknownOutcome:
            self.init(
                "unknown-outcome", status: 503, title: "The shard did not say whether it stored the message",
                detail: "Send the same request with the same deduplication id: within five minutes nothing is "
                    + "stored twice.", retryAfterSeconds: 1)
        case .refused(let code):
            self.init(
                "refused", status: 502, title: "The shard refused the message",
                detail: "Nothing was stored. The shard's error code is \(code).")
        case .injected:
            self.init(
                "injected-error", status: 500, title: "An error was injected for a test", detail: "Nothing was stored.")
        case .invalid(let code):
            self.init(code, status: 400, title: "The message is not valid", detail: "Nothing was stored.")
        case .earlierEntryFailed(let reason):
            let earlier = Problem(reason)
            self.init(
                "earlier-entry-failed", status: 424, title: "An earlier message of the group failed",
                detail: "An earlier message of this group in the request failed (\(earlier.kind)), so this one was not "
                    + "sent. Send both again, in the same order.",
                retryAfterSeconds: earlier.retryAfterSeconds)
        }
    }

    /// The refusal of a shard that is known by its name.
    init(_ error: ShardError, of shard: String) {
        self.init(error.named(ShardQuota(shard: shard, requestsPerSecond: nil)))
        self.shard = shard
    }

    static func seconds(_ milliseconds: Int) -> Int { max(1, (milliseconds + 999) / 1_000) }

    /// Writes the members of the problem object.
    func writeMembers(to json: inout JSONWriter) {
        json.key("type")
        json.string("urn:queuepool:problem:" + kind)
        json.key("title")
        json.string(title)
        json.key("status")
        json.int(status)
        json.key("detail")
        json.string(detail)
        if let field {
            json.key("field")
            json.string(field)
        }
        if let shard {
            json.key("shard")
            json.string(shard)
        }
        guard let limit else { return }
        json.key("limit")
        json.string(limit.name)
        json.key("value")
        json.int(limit.value)
        json.key("violated-policies")
        json.beginArray()
        json.string(limit.policy)
        json.endArray()
    }

    package var answer: Answer {
        var json = JSONWriter(capacity: 256)
        json.beginObject()
        writeMembers(to: &json)
        json.endObject()
        var headers = retryAfterSeconds.map { [(name: "Retry-After", value: String($0))] } ?? []
        if let quota, let retryAfterSeconds { headers += quota.fields(retryAfterSeconds: retryAfterSeconds) }
        return Answer(status: status, contentType: "application/problem+json", headers: headers, body: json.take())
    }
}
