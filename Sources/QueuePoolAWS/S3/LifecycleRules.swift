// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Foundation

// S3 has one document of rules for a bucket, which is written as a whole: who adds a rule must send the others back. They
// are sent back as they were read, byte for byte, so that what we know nothing of is not lost. A document that is not
// understood is left alone.
// Source: docs.aws.amazon.com/AmazonS3/latest/API/API_PutBucketLifecycleConfiguration.html

/// A bucket's lifecycle rules.
struct LifecycleRules: Sendable {
    /// What is between each rule's tags.
    private var rules: [String]

    /// A bucket that has none.
    init() { rules = [] }

    /// `nil` for a document that is not understood.
    init?(_ document: [UInt8]) {
        let text = XMLText(document)
        rules = text.elements("Rule")
        // A rule that was not cut out would be lost.
        guard text.count(of: "<Rule") == rules.count, text.count(of: "<LifecycleConfiguration") > 0 else { return nil }
    }

    /// The id of a folder's rule.
    static func id(_ folder: S3Folder) -> String { "queuepool-bodies-\(folder.prefix)" }

    /// Adds the rule of a folder, or replaces it.
    ///
    /// A rule that keeps bodies longer stays as it is: another pool may have its bodies under the same prefix.
    /// - Parameter days: after which a body goes.
    /// - Returns: whether anything changed.
    mutating func expire(_ folder: S3Folder, afterDays days: Int) -> Bool {
        let id = XMLText.escaped(LifecycleRules.id(folder))
        let place = rules.firstIndex { XMLText($0.utf8).first("ID") == id }
        let prefix = "<Prefix>\(XMLText.escaped(folder.prefix))/</Prefix>"
        // A document has rules of the older form, without a filter, or of the newer; S3 refuses a mixture.
        let others = rules.indices.filter { $0 != place }.map { XMLText(rules[$0].utf8) }
        let isOlder = others.contains { $0.count(of: "<Filter") == 0 && $0.count(of: "<Prefix") > 0 }
        func rule(_ days: Int) -> String {
            "<ID>\(id)</ID>" + (isOlder ? prefix : "<Filter>\(prefix)</Filter>") + "<Status>Enabled</Status>"
                + "<Expiration><Days>\(days)</Days></Expiration>"
                // Where the bucket keeps versions, one that was removed is still there.
                + "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>"
        }
        guard let place else {
            rules.append(rule(days))
            return true
        }
        let held = XMLText(rules[place].utf8)
        if held.first("Status") == "Enabled", let expiration = held.first("Expiration"),
            let heldDays = XMLText(expiration.utf8).first("Days").flatMap({ Int($0) }), heldDays >= days
        {
            return false
        }
        rules[place] = rule(days)
        return true
    }

    /// The document.
    var bytes: [UInt8] {
        let rules = rules.map { "<Rule>\($0)</Rule>" }.joined()
        return Array(
            "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\(rules)</LifecycleConfiguration>"
                .utf8)
    }

    /// The `Content-MD5` that S3 requires with the document.
    static func digest(_ document: [UInt8]) -> String {
        Data(Insecure.MD5.hash(data: document)).base64EncodedString()
    }
}
