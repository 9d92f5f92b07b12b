// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

import Crypto
import CryptoExtras

/// A private key that signs mails: RSA (RFC 6376, 3.3.3) or Ed25519 (RFC 8463). It shows itself as its algorithm only.
package struct DKIMKey: Sendable, CustomStringConvertible, CustomReflectable {
    /// Verifiers must not take signatures of shorter keys (RFC 8301, 3.2).
    package static let rsaBitsMin = 1_024

    /// What the `a=` tag calls the ways to sign.
    package enum Algorithm: String, Sendable {
        case rsa = "rsa-sha256"
        case ed25519 = "ed25519-sha256"
    }

    private enum Secret {
        case rsa(_RSA.Signing.PrivateKey)
        case ed25519(Curve25519.Signing.PrivateKey)
    }

    private let secret: Secret

    package var algorithm: Algorithm {
        switch secret {
        case .rsa: .rsa
        case .ed25519: .ed25519
        }
    }

    package var description: String { algorithm.rawValue }
    package var customMirror: Mirror { Mirror(self, children: [:]) }

    /// - Parameter pem: RSA in PKCS#1 or PKCS#8, Ed25519 in PKCS#8; the first private key if there are more.
    package init(pem: String) throws(DKIMError) {
        let block = try PEMBlock.privateKey(in: pem)
        let head = block.der.prefix(DKIMKey.headBytes)
        switch block.label {
        case "RSA PRIVATE KEY":
            secret = try DKIMKey.rsa(block.der)
        case "PRIVATE KEY" where head.contains(DKIMKey.rsaIdentifier):
            secret = try DKIMKey.rsa(block.der)
        case "PRIVATE KEY" where head.contains(DKIMKey.ed25519Identifier):
            guard let key = try? Curve25519.Signing.PrivateKey(derRepresentation: block.der) else { throw .damaged }
            secret = .ed25519(key)
        case "ENCRYPTED PRIVATE KEY":
            throw .encrypted
        default:
            // PKCS#8 begins as a sequence; what does not is of no algorithm at all.
            throw block.label == "PRIVATE KEY" && block.der.first != 0x30 ? .damaged : .otherAlgorithm
        }
    }

    /// The object identifiers of PKCS#8's algorithms in DER. They stand before any byte of a key, in the first bytes.
    private static let rsaIdentifier: [UInt8] = [
        0x06, 0x09, 0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x01,
    ]
    private static let ed25519Identifier: [UInt8] = [0x06, 0x03, 0x2B, 0x65, 0x70]
    private static let headBytes = 24

    private static func rsa(_ der: [UInt8]) throws(DKIMError) -> Secret {
        do {
            // "Unsafe" allows keys from 1,024 bits on, as DKIM does.
            return .rsa(try _RSA.Signing.PrivateKey(unsafeDERRepresentation: der))
        } catch CryptoKitError.incorrectParameterSize {
            throw .tooShort
        } catch {
            throw .damaged
        }
    }

    /// The signature of some bytes. Both algorithms give the same one each time.
    func signature(of bytes: [UInt8]) throws(DKIMError) -> [UInt8] {
        let digest = SHA256.hash(data: bytes)
        do {
            switch secret {
            case .rsa(let key):
                return try key.signature(for: digest, padding: .insecurePKCS1v1_5).withUnsafeBytes { Array($0) }
            case .ed25519(let key):
                // RFC 8463, 3: what is signed is the digest.
                return Array(try key.signature(for: Array(digest)))
            }
        } catch {
            throw .signing
        }
    }
}

/// A block of PEM (RFC 7468).
private struct PEMBlock {
    let label: String
    let der: [UInt8]

    /// The first block with a private key.
    static func privateKey(in text: String) throws(DKIMError) -> PEMBlock {
        var label: String?
        var content: [Substring] = []
        var hasOther = false
        for line in text.split(whereSeparator: \.isNewline) {
            let line = trimmed(line)
            if let begun = label {
                guard line.hasPrefix("-----") else {
                    content.append(line)
                    continue
                }
                guard line == "-----END \(begun)-----" else { throw .damaged }
                guard begun.hasSuffix("PRIVATE KEY") else {
                    (label, hasOther) = (nil, true)
                    continue
                }
                // The older form of an encrypted key has headers.
                guard !content.contains(where: { $0.hasPrefix("Proc-Type:") && $0.hasSuffix("ENCRYPTED") }) else {
                    throw .encrypted
                }
                guard let der = Base64Text.decode(content.joined()), !der.isEmpty else { throw .damaged }
                return PEMBlock(label: begun, der: der)
            } else if line.hasPrefix("-----BEGIN "), line.hasSuffix("-----"), line.utf8.count > 16 {
                label = String(line.dropFirst("-----BEGIN ".count).dropLast("-----".count))
                content = []
            }
        }
        throw label != nil ? .damaged : hasOther ? .notPrivate : .noKey
    }

    private static func trimmed(_ line: Substring) -> Substring {
        var line = line.drop { $0 == " " || $0 == "\t" }
        while line.last == " " || line.last == "\t" { line.removeLast() }
        return line
    }
}
