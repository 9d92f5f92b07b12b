// This source file is part of the queuepool project
// Licensed under the Apache License, Version 2.0
// SPDX-License-Identifier: Apache-2.0

/// Why mails cannot be signed. Says what is wrong with a key, never what is in it.
package enum DKIMError: Error, Hashable, Sendable, CustomStringConvertible {
    /// No block of PEM.
    case noKey
    /// A block of PEM with something else in it, e.g. a certificate.
    case notPrivate
    /// A key that needs a passphrase.
    case encrypted
    /// A key of another algorithm.
    case otherAlgorithm
    /// A block of PEM that cannot be read.
    case damaged
    /// RSA of fewer than `DKIMKey.rsaBitsMin`.
    case tooShort
    /// The signing domain.
    case domain
    /// The key's name in DNS.
    case selector
    /// A header to sign that is no header's name.
    case headerName
    /// An expiry that is not after the signing.
    case expiry
    /// The key did not sign.
    case signing

    package var description: String {
        switch self {
        case .noKey: "has no private key in PEM (a line of -----BEGIN PRIVATE KEY-----, to its END)"
        case .notPrivate: "has no private key, but something else in PEM"
        case .encrypted: "has an encrypted key; it must be without a passphrase"
        case .otherAlgorithm: "has a key that is neither RSA nor Ed25519"
        case .damaged: "has a key that cannot be read: it is damaged, or not PKCS#1 or PKCS#8"
        case .tooShort: "has an RSA key of fewer than 1,024 bits, which receivers do not accept"
        case .domain: "is not a domain name of ASCII letters, digits, hyphens and dots, e.g. example.com"
        case .selector: "is not a selector of ASCII letters, digits, hyphens, underscores and dots, e.g. s1"
        case .headerName: "is not the name of a header"
        case .expiry: "is not a time after the signing"
        case .signing: "has a key that does not sign"
        }
    }
}
