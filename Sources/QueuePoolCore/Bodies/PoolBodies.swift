// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Where the bodies of a pool lie that are too large for its queues.
public enum PoolBodies: Hashable, Sendable {
    /// In the data directory of the server that has the pool's shards.
    case embedded
    case s3(BodyBucket)
}

/// A part of a bucket that holds bodies.
public struct BodyBucket: Hashable, Sendable {
    public var bucket: String
    /// Without a slash at either end; never empty.
    public var prefix: String
    public var region: String
    /// Base URL without a slash at its end; `nil` is the region's own endpoint.
    public var endpoint: String?
    /// `AES256`, `aws:kms`, or `aws:kms:` and a key; `nil` is what the bucket itself says.
    public var encryption: String?

    public init(
        bucket: String, prefix: String, region: String, endpoint: String? = nil, encryption: String? = nil
    ) {
        self.bucket = bucket
        self.prefix = prefix
        self.region = region
        self.endpoint = endpoint
        self.encryption = encryption
    }
}

// One text, so that a control store needs one column for it. A member that is not known is refused: whoever wrote it
// puts bodies somewhere that this program does not know of.

extension PoolBodies {
    /// As a control store keeps it: `embedded`, or `s3`, followed by `NAME=VALUE` for each member, all apart by line feeds.
    public var text: String {
        switch self {
        case .embedded: return "embedded"
        case .s3(let place):
            let members = [
                ("bucket", place.bucket), ("prefix", place.prefix), ("region", place.region),
                ("endpoint", place.endpoint), ("encryption", place.encryption),
            ]
            return (["s3"] + members.compactMap { name, value in value.map { "\(name)=\($0)" } })
                .joined(separator: "\n")
        }
    }

    /// Reads what `text` wrote; `nil` for anything else.
    public init?(text: String) {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)[...]
        switch lines.popFirst() {
        case "embedded" where lines.isEmpty: self = .embedded
        case "s3":
            var members: [Substring: String] = [:]
            for line in lines {
                let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2, ["bucket", "prefix", "region", "endpoint", "encryption"].contains(parts[0]),
                    members.updateValue(String(parts[1]), forKey: parts[0]) == nil
                else { return nil }
            }
            guard let bucket = members["bucket"], let prefix = members["prefix"], let region = members["region"],
                !bucket.isEmpty, !prefix.isEmpty
            else { return nil }
            self = .s3(
                BodyBucket(
                    bucket: bucket, prefix: prefix, region: region, endpoint: members["endpoint"],
                    encryption: members["encryption"]))
        default: return nil
        }
    }
}
