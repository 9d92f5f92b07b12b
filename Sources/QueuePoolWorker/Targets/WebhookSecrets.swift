// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Glibc
import QueuePoolSQS

// Standard Webhooks (standardwebhooks.com): who gets a request can tell that it is ours and not an old one. A secret is in a
// file, and the file's name in the URL's fragment, which no client sends: the whole query stays the receiver's.

/// The address of a webhook, and what the worker is to know of it.
struct WebhookURL {
    private static let secretOption = "webhook-secret-file="
    private static let secretsMax = 2

    /// As it is asked: without a fragment.
    let url: String
    /// `nil`: requests are not signed.
    let secrets: WebhookSecrets?

    /// Reads `URL[#webhook-secret-file=PATH[#webhook-secret-file=PATH]]`, and the files.
    init(_ text: String) throws(DeliveryURLError) {
        let parts = text.split(separator: "#", omittingEmptySubsequences: false)
        url = String(parts[0])
        var keys: [[UInt8]] = []
        for part in parts.dropFirst() where part.hasPrefix("webhook-") {
            guard part.hasPrefix(WebhookURL.secretOption) else {
                throw .refused("The one option of a webhook is #webhook-secret-file=PATH")
            }
            keys.append(try WebhookSecrets.key(inFile: String(part.dropFirst(WebhookURL.secretOption.count))))
        }
        guard keys.count <= WebhookURL.secretsMax else { throw .refused("A webhook has at most two secrets") }
        secrets = keys.isEmpty ? nil : WebhookSecrets(keys: keys)
    }
}

/// What requests to a webhook are signed with: one key, or the new and the old one while receivers change over.
struct WebhookSecrets: Sendable {
    private static let prefix = "whsec_"
    private static let keyBytes = 24...64
    private static let fileBytesMax = 4_096

    private let keys: [SymmetricKey]

    init(keys: [[UInt8]]) { self.keys = keys.map { SymmetricKey(data: $0) } }

    /// The headers of a request: its id, which is the same at every attempt, when it was signed, and a signature by each key.
    func headers(id: String, seconds: Int64, body: [UInt8]) -> [(name: String, value: String)] {
        let text = Array("\(id).\(seconds).".utf8) + body
        let signatures = keys.map { key in
            var signature = Array("v1,".utf8)
            Base64.encode(Array(HMAC<SHA256>.authenticationCode(for: text, using: key)), to: &signature)
            return String(decoding: signature, as: UTF8.self)
        }
        return [
            ("webhook-id", id), ("webhook-timestamp", String(seconds)),
            ("webhook-signature", signatures.joined(separator: " ")),
        ]
    }

    /// The key of `whsec_BASE64`; `nil` if the text is none.
    static func key(_ text: String) -> [UInt8]? {
        guard text.hasPrefix(prefix) else { return nil }
        let key = Array(text.utf8.dropFirst(prefix.utf8.count)).withUnsafeBytes { Base64.decode($0) }
        return key.flatMap { keyBytes.contains($0.count) ? $0 : nil }
    }

    fileprivate static func key(inFile path: String) throws(DeliveryURLError) -> [UInt8] {
        guard let file = fopen(path, "re") else { throw .refused("The file of webhook-secret-file cannot be read") }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: fileBytesMax)
        let count = fread(&bytes, 1, bytes.count, file)
        guard ferror(file) == 0 else { throw .refused("The file of webhook-secret-file cannot be read") }
        let text = String(decoding: bytes[..<count], as: UTF8.self)
        let line = text.hasSuffix("\r\n") || text.hasSuffix("\n") ? String(text.dropLast()) : text
        guard let key = key(line) else {
            throw .refused("The file of webhook-secret-file has no whsec_BASE64 of 24 to 64 bytes")
        }
        return key
    }
}
