// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// How S3 encrypts what it stores.
package enum S3Encryption: Hashable, Sendable {
    /// With S3's own keys.
    case s3
    /// With a key of KMS; `nil`: the account's key for S3.
    case kms(key: String?)

    /// Reads `AES256`, `aws:kms` or `aws:kms:KEY`; `nil` for anything else.
    package init?(_ text: String) {
        switch text {
        case "AES256": self = .s3
        case "aws:kms": self = .kms(key: nil)
        default:
            let key = text.dropFirst("aws:kms:".count)
            // It becomes a header's value.
            guard text.hasPrefix("aws:kms:"), (1...2_048).contains(key.utf8.count),
                key.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
            else { return nil }
            self = .kms(key: String(key))
        }
    }

    var headers: [(name: String, value: String)] {
        let name = "x-amz-server-side-encryption"
        switch self {
        case .s3: return [(name, "AES256")]
        case .kms(nil): return [(name, "aws:kms")]
        case .kms(let key?): return [(name, "aws:kms"), (name + "-aws-kms-key-id", key)]
        }
    }
}
