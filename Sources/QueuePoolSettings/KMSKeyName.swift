// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// What a key of AWS KMS goes by: its id, `alias/NAME`, or the ARN of either.
package struct KMSKeyName: Hashable, Sendable {
    package let text: String
    /// The region that an ARN names; `nil` for the other forms.
    package let region: String?

    private static let bytesMax = 2_048

    /// - Returns: `nil` if the text is none of the forms.
    package init?(_ text: String) {
        guard text.utf8.count <= KMSKeyName.bytesMax else { return nil }
        var name = text[...]
        var region: String?
        if text.hasPrefix("arn:") {
            // arn:PARTITION:kms:REGION:ACCOUNT:RESOURCE
            let parts = text.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false)
            guard parts.count == 6, parts[2] == "kms", KMSKeyName.isWord(parts[1]), KMSKeyName.isWord(parts[3]),
                KMSKeyName.isWord(parts[4])
            else { return nil }
            region = String(parts[3])
            name = parts[5]
            guard name.hasPrefix("key/") || name.hasPrefix("alias/") else { return nil }
            if name.hasPrefix("key/") { name = name.dropFirst(4) }
        }
        if name.hasPrefix("alias/") {
            let parts = name.dropFirst(6).split(separator: "/", omittingEmptySubsequences: false)
            guard parts.allSatisfy(KMSKeyName.isName) else { return nil }
        } else {
            guard KMSKeyName.isWord(name) else { return nil }
        }
        self.text = text
        self.region = region
    }

    private static func isName(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy { isWordByte($0) || $0 == UInt8(ascii: "_") }
    }

    private static func isWord(_ text: Substring) -> Bool { !text.isEmpty && text.utf8.allSatisfy(isWordByte) }

    private static func isWordByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
