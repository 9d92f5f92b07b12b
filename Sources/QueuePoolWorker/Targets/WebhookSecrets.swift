// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import Glibc
import QueuePoolSQS

// Standard Webhooks (standardwebhooks.com): who gets a request can tell that it is ours and not an old one. A secret is in a
// file, and the file's name in the URL's fragment, which no client sends: the whole query stays the receiver's.

/// What requests to a webhook are signed with: one key, or the new and the old one while receivers change over.
struct WebhookSecrets: Sendable {
    private static let prefix = "whsec_"
    private static let keyBytes = 24...64
    private static let fileBytesMax = 4_096

    private let keys: [SymmetricKey]

    private static let filesMax = 2

    /// Reads the files; `nil` if there are none, and requests are not signed.
    init?(files: [String]) throws(DeliveryURLError) {
        guard !files.isEmpty else { return nil }
        guard files.count <= WebhookSecrets.filesMax else { throw .refused("A webhook has at most two secrets") }
        var keys: [[UInt8]] = []
        for file in files { keys.append(try WebhookSecrets.key(inFile: file)) }
        self.init(keys: keys)
    }

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

    private static func key(inFile path: String) throws(DeliveryURLError) -> [UInt8] {
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
