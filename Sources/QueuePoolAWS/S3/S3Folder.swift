// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// A bucket and the part of it that is ours: `s3://BUCKET[/PREFIX]`.
package struct S3Folder: Hashable, Sendable, CustomStringConvertible {
    package let bucket: String
    /// Without a slash at either end; never empty, because everything under it expires, and what else is in the bucket
    /// must not.
    package let prefix: String

    /// The prefix of who names none.
    package static let prefixOfItsOwn = "queuepool-bodies"

    /// Reads `s3://BUCKET[/PREFIX]`; `nil` if the bucket's name or the prefix is not one that is safe in a URL's path.
    package init?(_ text: String) {
        guard text.hasPrefix("s3://") else { return nil }
        let parts = text.dropFirst(5).split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let bucket = parts.first else { return nil }
        var prefix = parts.count > 1 ? parts[1] : ""
        if prefix.hasSuffix("/") { prefix = prefix.dropLast() }
        self.init(bucket: String(bucket), prefix: prefix.isEmpty ? S3Folder.prefixOfItsOwn : String(prefix))
    }

    /// `nil` if the bucket's name or the prefix cannot be used.
    package init?(bucket: String, prefix: String) {
        guard S3Folder.isBucket(bucket), prefix.utf8.count <= S3Folder.prefixBytesMax, S3Folder.isKey(prefix),
            prefix.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({ !$0.isEmpty }),
            prefix.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F })
        else { return nil }
        self.bucket = bucket
        self.prefix = prefix
    }

    package var description: String { "s3://\(bucket)/\(prefix)" }

    /// Whether a body of this key lies in the folder.
    package func holds(_ key: String) -> Bool { key.utf8.starts(with: (prefix + "/").utf8) && S3Folder.isKey(key) }

    /// S3 takes keys of 1,024 bytes; a rule's id, which holds the prefix, may have 255.
    static let prefixBytesMax = 200

    /// Whether a key may stand in a URL's path. Without it the path is the bucket's own, and dot segments, which S3 itself
    /// takes as they are, lead out of the bucket where a proxy before it resolves them.
    static func isKey(_ key: String) -> Bool {
        !key.isEmpty && key.utf8.count <= 1_024
            && key.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { $0 != "." && $0 != ".." }
    }

    /// 3 to 63 lower-case letters, digits, hyphens and dots, a letter or a digit at both ends, no two dots in a row.
    /// Source: docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
    static func isBucket(_ name: String) -> Bool {
        func isPlain(_ byte: UInt8?) -> Bool {
            guard let byte else { return false }
            return (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
        }
        return (3...63).contains(name.utf8.count) && isPlain(name.utf8.first) && isPlain(name.utf8.last)
            && name.utf8.allSatisfy { isPlain($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: ".") }
            && !name.split(separator: ".", omittingEmptySubsequences: false).contains("")
    }
}
