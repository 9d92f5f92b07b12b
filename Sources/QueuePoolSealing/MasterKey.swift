// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import FoundationEssentials

/// A key of our own that data keys are wrapped with. It never seals a row itself, so that another one can take its place without
/// a row being written again.
package struct MasterKey: KeyWrapping {
    /// Tells keys apart without telling anything of them.
    package let id: String
    private let key: SymmetricKey

    /// Bytes of a key.
    package static let byteCount = 32

    /// - Parameter text: 32 bytes in base64 or in hex, with white space around it or not.
    package init?(text: String) {
        let text = text.filter { !$0.isWhitespace }
        guard let bytes = MasterKey.hex(text) ?? Data(base64Encoded: text).map(Array.init),
            bytes.count == MasterKey.byteCount
        else { return nil }
        self.init(bytes: bytes)
    }

    private init(bytes: [UInt8]) {
        key = SymmetricKey(data: bytes)
        let code = HMAC<SHA256>.authenticationCode(for: Array("queuepool master key id".utf8), using: key)
        id = code.prefix(8).map { byte in
            let digits = String(byte, radix: 16)
            return digits.count == 1 ? "0" + digits : digits
        }.joined()
    }

    private static func hex(_ text: String) -> [UInt8]? {
        guard text.utf8.count == 2 * byteCount else { return nil }
        var bytes: [UInt8] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            let pair = rest.prefix(2)
            guard pair.allSatisfy(\.isHexDigit), let byte = UInt8(pair, radix: 16) else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    // MARK: - Wrapping

    package func wrap(_ dataKey: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8] {
        // A master key wraps a few keys in its life, far from where nonces drawn at random meet.
        do {
            let box = try AES.GCM.seal(dataKey, using: key, authenticating: context(purpose))
            return Array(box.nonce) + Array(box.ciphertext) + Array(box.tag)
        } catch { throw .refused(code: "AES-GCM") }
    }

    package func unwrap(_ wrapped: [UInt8], for purpose: KeyPurpose) throws(KeyWrappingFault) -> [UInt8] {
        guard let box = try? AES.GCM.SealedBox(combined: wrapped),
            let bytes = try? AES.GCM.open(box, using: key, authenticating: context(purpose))
        else { throw .notOpened }
        return Array(bytes)
    }

    private func context(_ purpose: KeyPurpose) -> [UInt8] {
        Array("queuepool data key\n\(id)\n\(purpose.text)".utf8)
    }
}
