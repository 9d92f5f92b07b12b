// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import QueuePoolCore

extension ShardQuota {
    /// The fields of an answer to who is over the quota, whatever the protocol: RateLimit names the shard and says when
    /// the next request may come, RateLimit-Policy says what the quota is. A quota that only a remote queue's service
    /// knows has no policy, which must have a number. Shards are named in letters, digits, `-`, `_` and `.`, so a name
    /// needs no escape.
    /// Source: draft-ietf-httpapi-ratelimit-headers-09, sections 3 and 4.
    func fields(retryAfterSeconds seconds: Int) -> [(name: String, value: String)] {
        var fields = [(name: "RateLimit", value: "\"\(shard)\";r=0;t=\(seconds)")]
        if let requestsPerSecond {
            fields.append(("RateLimit-Policy", "\"\(shard)\";q=\(requestsPerSecond);w=1"))
        }
        return fields
    }

    /// Those and Retry-After, which says the same to clients that know nothing of them.
    func fields(retryAfterMilliseconds: Int) -> [(name: String, value: String)] {
        let seconds = Problem.seconds(retryAfterMilliseconds)
        return [("Retry-After", String(seconds))] + fields(retryAfterSeconds: seconds)
    }
}
