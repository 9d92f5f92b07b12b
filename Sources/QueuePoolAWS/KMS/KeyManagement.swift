// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Foundation
package import QueuePoolCore

// The two actions of the Key Management Service that wrap a data key and open it. Encrypt, not GenerateDataKey: a key of KMS
// may take the place of another master key, and then the data keys are there already; so one action serves new ones and
// old ones, and a role needs the rights to two actions and no more. Doing either twice does no harm. Calls block (see
// JSONService). Source: AWS KMS API reference, version 2014-11-01.

/// The Key Management Service of a region.
package struct KeyManagement: Sendable {
    private let service: JSONService

    /// - Throws: `permanent` with the code `EndpointWithoutTLS` for an address off loopback that does not begin with
    ///   https: data keys go over the connection as they are.
    package init(
        caller: any AWSCaller, region: String, endpoint: String, clock: any Clock
    ) throws(AWSError) {
        let name = SplitURL(endpoint).host
        let host = name.hasPrefix("[") ? String(name.prefix { $0 != "]" }) + "]" : String(name.prefix { $0 != ":" })
        guard
            endpoint.hasPrefix("https://") || host == "localhost" || host == "[::1]" || SplitURL.isIPv4Loopback(host)
        else { throw .permanent(code: KeyManagement.withoutTLS, status: 0) }
        service = JSONService(
            caller: caller, service: "kms", targetPrefix: "TrentService", region: region, endpoint: endpoint,
            clock: clock, jsonVersion: "1.1", timeoutMilliseconds: 5_000)
    }

    /// The code of an endpoint that is refused.
    package static let withoutTLS = "EndpointWithoutTLS"

    /// Encrypts up to 4,096 bytes.
    /// - Parameters:
    ///   - key: id, ARN or alias.
    ///   - context: what must be said again to decrypt them. It is no secret: it stands in the logs of AWS.
    /// - Returns: the bytes, and the ARN of the key that encrypted them.
    package func encrypt(
        _ plaintext: [UInt8], key: String, context: [String: String]
    ) throws(AWSError) -> (ciphertext: [UInt8], key: String) {
        let answer = try service.call(
            "Encrypt",
            [
                "KeyId": .string(key), "Plaintext": .string(Data(plaintext).base64EncodedString()),
                "EncryptionContext": JSONTree(context),
            ])
        guard let key = answer["KeyId"]?.text, !key.isEmpty else { throw KeyManagement.unreadable }
        return (try bytes(answer["CiphertextBlob"]), key)
    }

    /// Decrypts what `encrypt` made.
    /// - Parameter key: that must have encrypted them.
    /// - Throws: `permanent` with the code `IncorrectKeyException` if it was another, and `InvalidCiphertextException` if
    ///   the bytes were changed or encrypted with another context.
    package func decrypt(
        _ ciphertext: [UInt8], key: String, context: [String: String]
    ) throws(AWSError) -> [UInt8] {
        let answer = try service.call(
            "Decrypt",
            [
                "KeyId": .string(key), "CiphertextBlob": .string(Data(ciphertext).base64EncodedString()),
                "EncryptionContext": JSONTree(context),
            ])
        return try bytes(answer["Plaintext"])
    }

    private func bytes(_ value: JSONTree?) throws(AWSError) -> [UInt8] {
        guard let data = value?.text.flatMap({ Data(base64Encoded: $0) }), !data.isEmpty else {
            throw KeyManagement.unreadable
        }
        return Array(data)
    }

    private static let unreadable = AWSError.unknownOutcome(code: "UnreadableAnswer")
}
